package bundle

import (
	"encoding/json"
	"os"
	"testing"
)

func readCases(t *testing.T, name string, cases any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, cases); err != nil {
		t.Fatal(err)
	}
}

func TestCheckPath(t *testing.T) {
	var cases []struct {
		ID, Input, Verdict, Why string
		Bytes                   []byte `json:"input_b64"`
	}
	readCases(t, "paths_single.json", &cases)
	for _, c := range cases {
		input := c.Input
		if c.Bytes != nil {
			input = string(c.Bytes)
		}
		problem := CheckPath(input)
		if refused := problem != ""; refused != (c.Verdict == "reject") {
			t.Errorf("%s %q: %q, want %s (%s)", c.ID, input, problem, c.Verdict, c.Why)
		}
	}
	for _, ok := range []string{RegistryFile, "o'brien.csv", "数据（1）.csv", "a~b.txt", "notes.txt~1", ".modelops/manifest.json", "x/.gitignore"} {
		if problem := CheckPath(ok); problem != "" {
			t.Errorf("%q refused: %s", ok, problem)
		}
	}
	for _, bad := range []string{"x/.git/config", ".GIT/config", "PROGRA~1", "x/progra~1/y", ".modelops-bundle", ".Modelops-Bundle/state.json", "CONIN$"} {
		if CheckPath(bad) == "" {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestCheckPaths(t *testing.T) {
	var cases []struct {
		ID      string
		Paths   []string
		Verdict string
		Why     string
	}
	readCases(t, "paths_sets.json", &cases)
	for _, c := range cases {
		problems := CheckPaths(c.Paths)
		if refused := len(problems) > 0; refused != (c.Verdict == "reject") {
			t.Errorf("%s %q: %v, want %s (%s)", c.ID, c.Paths, problems, c.Verdict, c.Why)
		}
	}
	for _, set := range [][]string{{"a", "a/b"}, {"a/b", "A"}, {"a/b/c", "a/B/d"}, {"a/b/c", "a/b"}} {
		if len(CheckPaths(set)) == 0 {
			t.Errorf("%q accepted together", set)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, seed := range []string{"a/b", "..", "a\\b", "con", "é", "é", "a//b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if CheckPath(p) != "" {
			return
		}
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if _, err := root.Lstat(p); err != nil && !os.IsNotExist(err) && len(p) < 200 {
			t.Errorf("%q is accepted and not usable: %v", p, err)
		}
	})
}
