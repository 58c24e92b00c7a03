package registration_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/registration"
)

// project writes files and scans them.
func project(t *testing.T, files map[string]string) (*os.Root, []bundle.Source) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	sources, err := bundle.Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, sources
}

func TestAnalyze(t *testing.T) {
	root, sources := project(t, map[string]string{
		"p/__init__.py": "from .a import A\n",
		"p/a.py":        "from calabaria import BaseModel as B, model_output\nclass A(B):\n    @model_output()\n    def one(self): ...\n",
		"p/b.py": "raise SystemExit('imported')\nimport pydantic\nfrom p import A\nimport p.a as mod\n" +
			"class NotBaseModelAtAll: ...\nclass MyBaseModelMixin(NotBaseModelAtAll): ...\nclass Schema(pydantic.BaseModel): ...\n" +
			"class Loop(Loop): ...\nclass C(A):\n    @model_output(name='two')\n    def x(self): ...\nclass D(mod.A[int]): ...\n",
		"p/latin.py":  "# -*- coding: latin-1 -*-\nx = '\xe9'\n",
		"p/broken.py": "x = 1\ndef f(:\n",
		"p/zero.py":   "x = '\x00'\n",
	})
	snapshot := registration.SnapshotOf(sources)
	found, err := registration.Analyze(t.Context(), root.Name(), snapshot.Paths(), []string{"p/b.py", "p/latin.py", "p/broken.py", "p/zero.py"})
	if err != nil {
		t.Fatal(err)
	}
	models := map[string][]string{}
	for name, class := range found["p/b.py"].Classes {
		if class.Model {
			models[name] = class.Outputs
		}
	}
	if diff := cmp.Diff(map[string][]string{"C": {"one", "two"}, "D": {"one"}}, models); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"p/__init__.py", "p/a.py"}, found["p/b.py"].Imports); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}
	if e := found["p/latin.py"].Error; e != nil {
		t.Errorf("a file in Latin-1: %v", e)
	}
	if e := found["p/broken.py"].Error; e == nil || e.Line != 2 {
		t.Errorf("a broken file: %v, want line 2", e)
	}
	if e := found["p/zero.py"].Error; e == nil {
		t.Error("a file with a NUL is no error")
	}
}

// Where there is no Python, or only an old one, registering says so, and a push still
// looks for the files.
func TestWithoutPython(t *testing.T) {
	root, sources := project(t, map[string]string{
		"p/__init__.py": "", "p/a.py": "", "wire.py": "",
		bundle.RegistryFile: "models:\n  a: {entrypoint: 'p.a:A', path: p/a.py, class_name: A, outputs: [x], data: [gone.csv]}\n",
	})
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	registry, err := registration.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := registration.SnapshotOf(sources)
	_, err = registration.Analyze(t.Context(), root.Name(), snapshot.Paths(), []string{"p/a.py"})
	if !errors.Is(err, registration.ErrNoPython) || contracts.AsError(err).Hint == "" {
		t.Errorf("no Python: %v", err)
	}
	warnings, err := registration.Preflight(t.Context(), root, registry, snapshot)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "was not checked") {
		t.Errorf("warnings %q", warnings)
	}
	if e := contracts.AsError(err); e == nil || len(e.Problems) != 1 || !strings.Contains(e.Problems[0].Message, `"gone.csv" does not exist`) {
		t.Errorf("preflight: %v", err)
	}

	if sh, lookErr := exec.LookPath("/bin/sh"); lookErr == nil {
		if err := os.WriteFile(filepath.Join(bin, "python3"), []byte("#!"+sh+"\necho 3.8\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err = registration.Analyze(t.Context(), root.Name(), snapshot.Paths(), []string{"p/a.py"})
		if !errors.Is(err, registration.ErrNoPython) || !strings.Contains(err.Error(), "(3.8)") {
			t.Errorf("an old Python: %v", err)
		}
	}
}

// A file that changes between the scan and its digest stops the push.
func TestRefreshNoticesChange(t *testing.T) {
	root, sources := project(t, map[string]string{
		"p/a.py": "1", bundle.RegistryFile: "models:\n  a: {entrypoint: 'p.a:A', path: p/a.py, class_name: A}\n",
	})
	registry, err := registration.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := root.WriteFile("p/a.py", []byte("22"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Refresh(root, sources); err == nil || contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("Refresh: %v, want a conflict", err)
	}
}
