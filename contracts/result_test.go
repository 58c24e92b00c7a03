package contracts_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

func TestArtifact(t *testing.T) {
	empty := contracts.NewArtifact("text/csv", nil)
	data, err := json.Marshal(empty)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"content_type":"text/csv","size":0,"inline":"","checksum":"0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"}`
	if string(data) != want {
		t.Errorf("an empty artifact is %s", data)
	}
	for _, a := range []contracts.Artifact{
		empty,
		contracts.NewArtifact("application/vnd.apache.arrow.stream", []byte("abc\x00\xff")),
		contracts.NewArtifact("text/csv", make([]byte, contracts.InlineCap)),
		{ContentType: "text/csv", Size: 7, Ref: "file:" + hexA, Checksum: hexA},
	} {
		if err := a.Validate(); err != nil {
			t.Error(err)
		}
		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back contracts.Artifact
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, back); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
	}
	// The Python suite's table (facts, bundle 9.12).
	good := contracts.NewArtifact("text/csv", []byte("abc"))
	for name, change := range map[string]func(*contracts.Artifact){
		"one byte over the cap": func(a *contracts.Artifact) { *a = contracts.NewArtifact("x/y", make([]byte, contracts.InlineCap+1)) },
		"both":                  func(a *contracts.Artifact) { a.Ref = "file:x" },
		"neither":               func(a *contracts.Artifact) { a.Inline = nil },
		"size":                  func(a *contracts.Artifact) { a.Size++ },
		"negative size":         func(a *contracts.Artifact) { a.Size = -1 },
		"blank ref":             func(a *contracts.Artifact) { a.Inline, a.Ref = nil, " " },
		"63 digits":             func(a *contracts.Artifact) { a.Checksum = a.Checksum[1:] },
		"upper case":            func(a *contracts.Artifact) { a.Checksum = strings.ToUpper(a.Checksum) },
		"no hex":                func(a *contracts.Artifact) { a.Checksum = strings.Repeat("g", 64) },
		"other bytes":           func(a *contracts.Artifact) { a.Inline = []byte("abd") },
		"no content type":       func(a *contracts.Artifact) { a.ContentType = "" },
	} {
		a := good
		change(&a)
		if err := a.Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		} else {
			wantCode(t, err, contracts.CodeProtocol)
		}
	}
}

func TestParseReturn(t *testing.T) {
	result := contracts.SimReturn{
		TaskID:            hexA,
		Outputs:           map[string]contracts.Artifact{"incidence": contracts.NewArtifact("text/csv", []byte("a,b\n1,2\n")), "empty": contracts.NewArtifact("text/csv", nil)},
		Bundle:            "my-model@sha256:" + hexA,
		ContentDigest:     contracts.DigestOf(nil),
		EnvironmentDigest: hexA,
		Environment:       &contracts.EnvironmentRecord{Python: "3.12.1", Platform: "linux-x86_64", Packages: map[string]string{"numpy": "2.0"}},
		Seconds:           0.25,
		StderrTail:        "warning: \x1b[1mx\n",
		Cached:            true,
	}
	failed := contracts.SimReturn{TaskID: hexA, Outputs: map[string]contracts.Artifact{}, Error: &contracts.Error{
		Code: contracts.CodeModel, Stage: contracts.StageRun, Type: "KeyError", Message: "'incidence'", Traceback: "Traceback …\n  File \"x\"\n", StderrTail: "x\n",
		Hint: "h", Retryable: true, Problems: []contracts.Problem{{Field: "a", Message: "b", Hint: "c"}},
	}}
	large := contracts.SimReturn{TaskID: hexA, Outputs: map[string]contracts.Artifact{"x": contracts.NewArtifact("x/y", make([]byte, contracts.InlineCap+1))}}
	for _, want := range []contracts.SimReturn{result, failed, large} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var back contracts.SimReturn
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if diff := cmp.Diff(want, back, cmp.Comparer(func(a, b *contracts.Error) bool {
			x, y := string(contracts.MarshalEnvelope(a)), string(contracts.MarshalEnvelope(b))
			return (a == nil) == (b == nil) && (a == nil || x == y)
		})); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
	}
}

func TestParseReturnRefused(t *testing.T) {
	artifact := `{"content_type":"text/csv","size":3,"inline":"YWJj","checksum":"bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"}`
	good := `{"task_id":"` + hexA + `","outputs":{"a":` + artifact + `},"seconds":1}`
	if _, err := contracts.ParseReturn([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, field, says string }{
		{"nothing", `{}`, "task_id", "is missing"},
		{"neither outputs nor error", `{"task_id":"` + hexA + `","outputs":{}}`, "outputs", "there is no error"},
		{"task id", strings.Replace(good, hexA, "x", 1), "task_id", "not a task key"},
		{"checksum", strings.Replace(good, "YWJj", "YWJk", 1), "outputs.a.checksum", "not that of inline"},
		{"size", strings.Replace(good, `"size":3`, `"size":4`, 1), "outputs.a.size", "inline has 3 bytes"},
		{"no size", strings.Replace(good, `"size":3,`, ``, 1), "outputs.a.size", "is missing"},
		{"base64", strings.Replace(good, "YWJj", "%", 1), "outputs.a.inline", "not base64"},
		{"artifact", strings.Replace(good, artifact, "5", 1), "outputs.a", "not a mapping"},
		{"error without code", `{"task_id":"` + hexA + `","error":{"message":"x"}}`, "error.code", "is missing"},
		{"seconds", strings.Replace(good, `:1}`, `:"1"}`, 1), "seconds", "not a number"},
		{"content digest", strings.Replace(good, `"seconds"`, `"content_digest":"x","seconds"`, 1), "content_digest", "not a digest"},
		{"environment digest", strings.Replace(good, `"seconds"`, `"environment_digest":"x","seconds"`, 1), "environment_digest", "64"},
		{"name with escape", strings.Replace(strings.Replace(good, `"a"`, `"\u001b[2J"`, 1), `"size":3`, `"size":4`, 1), `outputs."\x1b[2J".size`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := contracts.ParseReturn([]byte(c.text))
			if err == nil {
				t.Fatal("accepted")
			}
			wantCode(t, err, contracts.CodeProtocol, c.says)
			problems := contracts.AsError(err).Problems
			if !slices.ContainsFunc(problems, func(p contracts.Problem) bool { return p.Field == c.field }) {
				t.Errorf("no problem of %s: %+v", c.field, problems)
			}
		})
	}
}

// Golden values of the Python suite's EnvironmentDigest (facts, bundle 9.4).
func TestEnvironmentRecord(t *testing.T) {
	for want, record := range map[string]contracts.EnvironmentRecord{
		"f04897f5548706db22204af726448e02ca072762a191aee7b2b11f19d1861108": {Python: "3.11.5", Platform: "linux-x86_64", Packages: map[string]string{"scipy": "1.10.0", "numpy": "1.24.0"}},
		"990f3d76ef914fe337abe12bc9223220acd6075c21419cdd285780c8fcd9cb49": {Python: "3.12.1", Platform: "linux-x86_64"},
	} {
		if got := record.Digest(); got != want {
			t.Errorf("Digest of %+v = %s, want %s", record, got, want)
		}
	}
}
