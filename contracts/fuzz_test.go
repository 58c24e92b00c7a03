package contracts_test

import (
	"bytes"
	"encoding/json"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

// isSafe is what an accepted reference can be relied on for: it is a path that leads
// nowhere else, and can be printed as it is.
func isSafe(s string) bool {
	return len(s) <= 512 && isPrintableASCII(s) && !strings.Contains(s, "..") && path.Clean(s) == s && !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "-")
}

func FuzzParseBundleRef(f *testing.F) {
	for _, c := range readCorpus(f, "testdata/bundle_refs.json") {
		f.Add(c.Input)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := contracts.ParseBundleRef(s)
		if err != nil {
			if !isPrintableASCII(err.Error()) {
				t.Errorf("message is not printable ASCII: %q", err)
			}
			return
		}
		if ref.String() != s || !isSafe(s) || !isSafe(ref.Repository) {
			t.Errorf("accepted: %q", s)
		}
		location, err := contracts.Join("ghcr.io/org", ref.Repository)
		if err == nil && location.String() != "ghcr.io/org/"+ref.Repository {
			t.Errorf("Join = %s", location)
		}
	})
}

func FuzzParseReference(f *testing.F) {
	for _, c := range readCorpus(f, "testdata/bundle_refs.json") {
		f.Add(c.Input)
		f.Add("localhost:5555/" + c.Input)
	}
	for _, s := range []string{"a/b:c", "latest", "[::1]:5000/a:b", "sha256:" + hexA} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := contracts.ParseReference(s)
		if err != nil {
			return
		}
		if !isSafe(ref.Repository) && ref.Repository != "" || !isPrintableASCII(s) || ref.Tag != "" && ref.Digest != "" {
			t.Errorf("accepted: %q as %+v", s, ref)
		}
		written := ref.Repository
		if ref.Registry != "" {
			written = ref.Registry + "/" + written
		}
		switch {
		case ref.Repository == "":
			written = ref.Tag + string(ref.Digest)
		case ref.Tag != "":
			written += ":" + ref.Tag
		case ref.Digest != "":
			written += "@" + string(ref.Digest)
		}
		if written != s {
			t.Errorf("%q is read as %+v", s, ref)
		}
	})
}

func FuzzNearestRepository(f *testing.F) {
	for _, s := range []string{"My Model", "my.proj/x", "a___b", "../x", "localhost/x", "SHA256", "é", strings.Repeat("a-", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		nearest := contracts.NearestRepository(s)
		if nearest == "" {
			return
		}
		if err := contracts.ValidateRepository(nearest); err != nil {
			t.Errorf("nearest to %q: %v", s, err)
		}
		if contracts.ValidateRepository(s) == nil && nearest != s {
			t.Errorf("%q is valid and becomes %q", s, nearest)
		}
	})
}

func FuzzParseLoginServer(f *testing.F) {
	for _, s := range []string{"localhost:5555", "ghcr.io/org", "[::1]:5000/a", "https://x", "user@x", "x..y", "x:0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, nested, err := contracts.ParseLoginServer(s)
		if err != nil {
			return
		}
		written := host
		if nested != "" {
			written += "/" + nested
		}
		if written != s || !isPrintableASCII(s) || strings.ContainsAny(s, "@?#% ") || strings.Contains(s, "..") {
			t.Errorf("accepted: %q as %q and %q", s, host, nested)
		}
	})
}

func addExamples(f *testing.F, kind string) {
	for _, verdict := range []string{"valid", "invalid"} {
		files, err := filepath.Glob(filepath.Join("testdata", verdict, kind, "*.[jy]*"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			f.Add(readFile(f, file))
		}
	}
}

func FuzzParseEnvironment(f *testing.F) {
	for _, c := range readCorpus(f, "testdata/env_files.json") {
		f.Add([]byte(c.Content))
	}
	addExamples(f, "environment")
	f.Fuzz(func(t *testing.T, data []byte) {
		env, _, err := contracts.ParseEnvironment("dev.yaml", data)
		if err != nil {
			if problems := contracts.AsError(err).Problems; len(problems) == 0 || !isPrintableASCII(err.Error()) {
				t.Errorf("error without problems, or not printable: %q", err)
			}
			return
		}
		if contracts.ValidateEnvironmentName(env.Environment) != nil || !isSafe(env.Environment) || !isPrintableASCII(env.Registry.LoginServer) {
			t.Errorf("accepted: %+v", env)
		}
		out, err := env.Marshal()
		if err != nil {
			if len(data) > 32<<10 { // what is written may be longer than what was read
				return
			}
			t.Fatalf("read but not written: %v\n%s", err, data)
		}
		back, _, err := contracts.ParseEnvironment("dev.yaml", out)
		if err != nil {
			t.Fatalf("written but not read: %v\n%s", err, out)
		}
		again, err := back.Marshal()
		if err != nil || !bytes.Equal(out, again) {
			t.Errorf("written twice, it differs: %v\n%s\n%s", err, out, again)
		}
		if _, err := env.Redacted().Marshal(); err != nil {
			t.Errorf("no listing: %v", err)
		}
	})
}

func FuzzParseProjectConfig(f *testing.F) {
	addExamples(f, "project")
	f.Fuzz(func(t *testing.T, data []byte) {
		config, _, err := contracts.ParseProjectConfig("config.yaml", data)
		if err != nil {
			return
		}
		out, err := config.Marshal()
		if err != nil {
			if len(data) > 32<<10 {
				return
			}
			t.Fatalf("read but not written: %v\n%s", err, data)
		}
		back, _, err := contracts.ParseProjectConfig("config.yaml", out)
		if err != nil || !back.Equal(config) {
			t.Errorf("written and read, it differs: %v\n%s", err, out)
		}
	})
}

func FuzzParseStudy(f *testing.F) {
	addExamples(f, "study")
	f.Fuzz(func(t *testing.T, data []byte) {
		study, err := contracts.ParseStudy("study.json", data)
		if err != nil {
			return
		}
		out, err := study.Marshal()
		if err != nil {
			t.Fatalf("read but not written: %v\n%s", err, data)
		}
		back, err := contracts.ParseStudy("study.json", out)
		if err != nil {
			t.Fatal(err)
		}
		study.Warnings = nil
		if diff := cmp.Diff(study, back, cmp.Transformer("list", func(s []string) string { return strings.Join(s, "\x00") })); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
	})
}

func FuzzParseTask(f *testing.F) {
	addExamples(f, "task")
	f.Fuzz(func(t *testing.T, data []byte) {
		task, err := contracts.ParseTask(data)
		if err != nil {
			return
		}
		if task.Params.ID != task.Params.Values.ID() || !isSafe(task.Bundle.String()) {
			t.Errorf("accepted: %s", data)
		}
		out, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		back, err := contracts.ParseTask(out)
		if err != nil {
			t.Fatalf("written but not read: %v\n%s", err, out)
		}
		if back.Key("") != task.Key("") {
			t.Errorf("the key differs: %s", out)
		}
	})
}

func FuzzParseReturn(f *testing.F) {
	addExamples(f, "return")
	f.Fuzz(func(t *testing.T, data []byte) {
		result, err := contracts.ParseReturn(data)
		if err != nil {
			return
		}
		out, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := contracts.ParseReturn(out); err != nil {
			t.Errorf("written but not read: %v\n%s", err, out)
		}
	})
}

func FuzzParseRunManifest(f *testing.F) {
	f.Add([]byte(`{"wire":"wire.py:wire"}`))
	f.Add([]byte(`{"command":["Rscript","run.R"],"resources":{"memory":"1Gi","cores":2,"timeout":90,"commands":["Rscript"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		manifest, err := contracts.ParseRunManifest("manifest.json", data)
		if err != nil {
			return
		}
		if file, _, _ := strings.Cut(manifest.Wire, ":"); manifest.Wire != "" && !isSafe(file) && !strings.HasPrefix(file, "-") {
			t.Errorf("accepted: %q", manifest.Wire)
		}
		out, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := contracts.ParseRunManifest("manifest.json", out); err != nil {
			t.Errorf("written but not read: %v\n%s", err, out)
		}
	})
}

func FuzzParseEntrypoint(f *testing.F) {
	for _, s := range []string{"a.b/c", "a.b:c", "a.b:c:d", "a.b/c\n", "é.b/c", "a..b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := contracts.ParseEntrypoint(s)
		if err == nil && (e.String() != s || !isPrintableASCII(s) || strings.Contains(e.Module, "..")) {
			t.Errorf("accepted: %q as %+v", s, e)
		}
	})
}

func FuzzValue(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[1.50,-0,-0.0,1e5],"c":"\ud83d\ude00\u2028<"}`, `1e400`, `{"a":1,"a":2}`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v contracts.Value
		if v.UnmarshalJSON(data) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted, and is not JSON: %q", data)
		}
		out, err := v.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back contracts.Value
		if err := back.UnmarshalJSON(out); err != nil || !back.Equal(v) {
			t.Errorf("written and read, it differs: %v %s", err, out)
		}
	})
}
