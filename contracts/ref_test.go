package contracts_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

const hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// corpusCase is one line of testdata/bundle_refs.json or testdata/env_files.json.
type corpusCase struct{ ID, Input, File, Content, Verdict, Why string }

func readCorpus(t testing.TB, name string) []corpusCase {
	t.Helper()
	var cases []corpusCase
	if err := json.Unmarshal(readFile(t, name), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return cases
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantCode fails unless err is an Error with the code and all of the parts in its
// message or hint.
func wantCode(t *testing.T, err error, code contracts.Code, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*contracts.Error](err)
	if !ok {
		t.Fatalf("err = %v, want an Error with code %s", err, code)
	}
	if e.Code != code {
		t.Errorf("code = %s, want %s (%v)", e.Code, code, err)
	}
	text := e.Message + "\n" + e.Hint
	for _, p := range e.Problems {
		text += "\n" + p.String() + "\n" + p.Hint
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("error does not say %q:\n%s", part, text)
		}
	}
}

func TestParseBundleRefCorpus(t *testing.T) {
	for _, c := range readCorpus(t, "testdata/bundle_refs.json") {
		t.Run(c.ID, func(t *testing.T) {
			ref, err := contracts.ParseBundleRef(c.Input)
			switch {
			case c.Verdict == "accept" && err != nil:
				t.Errorf("%s: %v", c.Why, err)
			case c.Verdict == "accept" && ref.String() != c.Input:
				t.Errorf("String = %q", ref)
			case c.Verdict == "reject" && err == nil:
				t.Errorf("accepted: %s", c.Why)
			case c.Verdict == "reject":
				wantCode(t, err, contracts.CodeInvalidReference)
				if !isPrintableASCII(err.Error()) {
					t.Errorf("message is not printable ASCII: %q", err)
				}
			}
		})
	}
}

func isPrintableASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return (r < ' ' || r > '~') && r != '…' }) < 0
}

// The truth table of the Python suite's parser (facts, bundle 4.4), with our answers.
func TestParseBundleRefTable(t *testing.T) {
	digest := "sha256:" + hexA
	for _, s := range []string{"repo@" + digest, "org/repo@" + digest, "seir.v2@" + digest, "a__b/c--d@" + digest} {
		ref, err := contracts.ParseBundleRef(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if ref.Digest.Short() != hexA[:12] || ref.Digest.Hex() != hexA {
			t.Errorf("%s: digest %s", s, ref.Digest)
		}
	}
	refused := []struct{ s, says string }{
		{digest, "names no repository"},
		{"host:5000/org/repo@" + digest, "names a registry"},
		{"localhost/repo@" + digest, "names a registry"},
		{"", "is empty"},
		{"@" + digest, "invalid repository"},
		{"repo@" + hexA, "no valid digest"},
		{hexA, "names no"},
		{"repo:tag", "names no digest"},
		{"a@b@" + digest, "no valid digest"},
		{"SHA256:" + hexA, ""},
		{"repo@SHA256:" + hexA, "no valid digest"},
		{"sha512:" + hexA + hexA, "a digest"},
		{"repo@sha256:" + hexA[1:], "no valid digest"},
		{"repo@sha256:" + strings.Repeat("g", 64), "no valid digest"},
		{"repo@sha256:" + strings.ToUpper(hexA), "lower-case"},
		{"local://dev", "scheme"}, {"file:///x", "scheme"}, {"oci://r/x@" + digest, "scheme"},
		{digest + "\n", ""}, {" repo@" + digest, "invalid repository"}, {"../x@" + digest, ""},
		{"repo:latest@" + digest, "leave out the tag"},
		{"Repo@" + digest, "lower-case"},
		{strings.Repeat("a", 256) + "@" + digest, "too long"},
	}
	for _, c := range refused {
		_, err := contracts.ParseBundleRef(c.s)
		if err == nil {
			t.Errorf("%q is accepted", c.s)
			continue
		}
		wantCode(t, err, contracts.CodeInvalidReference, c.says)
	}
}

func TestParseReference(t *testing.T) {
	digest := contracts.Digest("sha256:" + hexA)
	cases := map[string]contracts.Reference{
		"my-model@" + string(digest):             {Repository: "my-model", Digest: digest},
		"ghcr.io/org/my-model@" + string(digest): {Registry: "ghcr.io", Repository: "org/my-model", Digest: digest},
		"my-model:latest":                        {Repository: "my-model", Tag: "latest"},
		"localhost:5555/my-model:v1":             {Registry: "localhost:5555", Repository: "my-model", Tag: "v1"},
		"[::1]:5555/my-model:v1":                 {Registry: "[::1]:5555", Repository: "my-model", Tag: "v1"},
		"localhost/my-model":                     {Registry: "localhost", Repository: "my-model"},
		"team/seir":                              {Repository: "team/seir"},
		"my.proj/x":                              {Registry: "my.proj", Repository: "x"},
		"seir.v2":                                {Tag: "seir.v2"},
		"latest":                                 {Tag: "latest"},
		"_x":                                     {Tag: "_x"},
		string(digest):                           {Digest: digest},
		"x.azurecr.io/a/b:" + strings.Repeat("t", 128): {Registry: "x.azurecr.io", Repository: "a/b", Tag: strings.Repeat("t", 128)},
	}
	for s, want := range cases {
		got, err := contracts.ParseReference(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s, diff)
		}
	}
	for _, s := range []string{
		"", "a/", "/a", "a b", "-x", ".x", "Host.io/x", "host.io:0/x", "host.io:99999/x", "host.io:/x", "host.io:080/x", "[::g]/x:y",
		"[127.0.0.1]/x", "a:b:c", "repo:", "repo:-x", "repo:" + strings.Repeat("t", 129), "sha256:abc", "sha256:" + strings.ToUpper(hexA),
		"sha512:" + hexA + hexA, "md5:" + hexA[:32], "https://ghcr.io/org/x:y", "a/b\n", "a/B", "host.io/", "x.io/a@sha256:", "a//b:c",
		"a.b/" + strings.Repeat("c", 255),
	} {
		if got, err := contracts.ParseReference(s); err == nil {
			t.Errorf("%q is accepted as %+v", s, got)
		} else {
			wantCode(t, err, contracts.CodeInvalidReference)
		}
	}
}

func TestJoin(t *testing.T) {
	for _, c := range []struct{ server, repository, want string }{
		{"ghcr.io/org", "my-model", "ghcr.io/org/my-model"},
		{"localhost:5555", "my-model", "localhost:5555/my-model"},
		{"x.azurecr.io", "team/seir", "x.azurecr.io/team/seir"},
		{"[::1]:5000/a/b", "c", "[::1]:5000/a/b/c"},
	} {
		got, err := contracts.Join(c.server, c.repository)
		if err != nil || got.String() != c.want {
			t.Errorf("Join(%s, %s) = %s, %v, want %s", c.server, c.repository, got, err, c.want)
		}
		// What was joined comes apart again.
		ref, inside := contracts.Reference{Registry: got.Host, Repository: got.Path, Tag: "t"}.Within(c.server)
		if !inside || ref != (contracts.Reference{Repository: c.repository, Tag: "t"}) {
			t.Errorf("Within(%s) of %s = %+v, %v", c.server, got, ref, inside)
		}
	}
	for _, c := range [][2]string{
		{"", "x"}, {"https://x.io", "y"}, {"x.io/", "y"}, {"x.io/A", "y"}, {"x.io", ""}, {"x.io", "Y"}, {"x.io", "../y"},
		{"x.io:", "y"}, {"user@x.io", "y"}, {"x.io?a", "y"}, {"x..io", "y"}, {"x.io", strings.Repeat("y", 251)},
	} {
		if got, err := contracts.Join(c[0], c[1]); err == nil {
			t.Errorf("Join(%q, %q) = %s", c[0], c[1], got)
		}
	}
}

func TestWithin(t *testing.T) {
	tagged := contracts.Reference{Registry: "ghcr.io", Repository: "org/seir", Tag: "v1"}
	for _, c := range []struct {
		server string
		want   string
		inside bool
	}{
		{"ghcr.io", "org/seir", true}, {"ghcr.io/org", "seir", true},
		{"ghcr.io/or", "", false}, {"ghcr.io/org/seir", "", false}, {"ghcr.io:443", "", false}, {"quay.io/org", "", false}, {"https://ghcr.io", "", false},
	} {
		got, inside := tagged.Within(c.server)
		if inside != c.inside || got.Repository != c.want {
			t.Errorf("Within(%s) = %+v, %v", c.server, got, inside)
		}
		if inside && (got.Registry != "" || got.Tag != "v1") {
			t.Errorf("Within(%s) = %+v", c.server, got)
		}
	}
	local := contracts.Reference{Repository: "seir", Tag: "v1"}
	if got, inside := local.Within("ghcr.io/org"); !inside || got != local {
		t.Errorf("a reference without a registry is changed to %+v, %v", got, inside)
	}
}

func TestValidateRepository(t *testing.T) {
	for _, name := range []string{"my-model", "team/seir", "seir.v2", "a", "0", "a_b", "a__b", "a-----b", "sir/mod.el_2"} {
		if err := contracts.ValidateRepository(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := contracts.NearestRepository(name); got != name {
			t.Errorf("NearestRepository(%s) = %s", name, got)
		}
	}
	for name, nearest := range map[string]string{
		"My-Model":               "my-model",
		"my model":               "my-model",
		"my.proj/x":              "my-proj/x",
		"localhost/x":            "localhost-x",
		"a:b/c":                  "a-b/c",
		"Seir.V2":                "seir.v2",
		"a___b":                  "a-b",
		"a..b":                   "a-b",
		"_x_":                    "x",
		"/a//b/":                 "a/b",
		"../../etc":              "etc",
		"caf\u00e9":              "caf",
		"\u00fc":                 "",
		"":                       "",
		"-":                      "",
		"sha256":                 "",
		strings.Repeat("a", 250): strings.Repeat("a", 200),
		strings.Repeat("a", 199) + "-b" + strings.Repeat("c", 50): strings.Repeat("a", 199),
	} {
		err := contracts.ValidateRepository(name)
		if err == nil {
			t.Errorf("%q is accepted", name)
			continue
		}
		wantCode(t, err, contracts.CodeInvalidName)
		if got := contracts.NearestRepository(name); got != nearest {
			t.Errorf("NearestRepository(%q) = %q, want %q", name, got, nearest)
		}
		if nearest != "" {
			wantCode(t, err, contracts.CodeInvalidName, "use "+nearest)
			if err := contracts.ValidateRepository(nearest); err != nil {
				t.Errorf("the hint for %q is not valid: %v", name, err)
			}
		}
	}
}

func TestDigest(t *testing.T) {
	d := contracts.DigestOf([]byte("abc"))
	if want := "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; d.String() != want {
		t.Errorf("DigestOf = %s", d)
	}
	for _, s := range []string{"", "sha256:", hexA, "sha256:" + hexA + "a", "sha256:" + strings.ToUpper(hexA), "sha256:" + hexA[1:] + "\n"} {
		if _, err := contracts.ParseDigest(s); err == nil {
			t.Errorf("ParseDigest(%q) succeeds", s)
		}
		var got contracts.Digest
		if err := got.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("UnmarshalText(%q) succeeds", s)
		}
	}
	var doc struct {
		Ref contracts.BundleRef `json:"ref"`
	}
	data := `{"ref":"a/b@` + d.String() + `"}`
	if err := json.Unmarshal([]byte(data), &doc); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(doc); err != nil || string(out) != data {
		t.Errorf("%s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"ref":"a:b"}`), &doc); err == nil {
		t.Error("a tag is read as a bundle reference")
	}
}
