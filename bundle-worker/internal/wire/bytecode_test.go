//go:build unix

package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keptIn is the one file that is kept.
func keptIn(t *testing.T, root string) (path string, data []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "*", "harness.*.pyc.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %q", err, files)
	}
	if data, err = os.ReadFile(files[0]); err != nil {
		t.Fatal(err)
	}
	return files[0], data
}

// TestBytecode has one process compile the harness and the others take what it compiled,
// as long as it is what was kept and fits.
func TestBytecode(t *testing.T) {
	root := filepath.Join(t.TempDir(), "harness")
	dir := bundle(t, "def wire(entrypoint, params, seed): return {'x': str(seed)}\n")
	launch := Launch{Supervisor: supervisor(t), Interpreter: python(t), Bundle: dir, Environ: os.Environ(), Cores: 1, Bytecode: root}
	// says is what a new process answers to a method that there is not.
	says := func() string {
		t.Helper()
		s, err := Start(t.Context(), launch)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Load(t.Context(), "wire.py:wire"); err != nil {
			t.Fatal(err)
		}
		if outputs, err := run(t, s, task(t, `{}`, 7)); err != nil || string(outputs["x"].Inline) != "7" {
			t.Fatalf("%v %v", err, outputs)
		}
		return s.call(t.Context(), "none", struct{}{}, nil).Error()
	}
	if text := says(); !strings.Contains(text, "no method none") {
		t.Fatal(text)
	}
	path, compiled := keptIn(t, root)

	// It is used: what it says is what is said.
	changed := bytes.Replace(compiled, []byte("no method "), []byte("NO METHOD "), 1)
	if err := os.Rename(path, strings.TrimSuffix(path, digestOf(compiled))+digestOf(changed)); err != nil {
		t.Fatal(err)
	}
	path, _ = keptIn(t, root)
	replace(t, path, changed)
	if text := says(); !strings.Contains(text, "NO METHOD none") {
		t.Error(text)
	}

	// What is not what was kept is not, and compiled anew.
	replace(t, path, append(changed, 'x'))
	for range 2 {
		if text := says(); !strings.Contains(text, "no method none") {
			t.Error(text)
		}
	}

	// What this Python cannot read, it compiles itself.
	path, compiled = keptIn(t, root)
	foreign := append([]byte("????"), compiled[4:]...)
	if err := os.Rename(path, strings.TrimSuffix(path, digestOf(compiled))+digestOf(foreign)); err != nil {
		t.Fatal(err)
	}
	path, _ = keptIn(t, root)
	replace(t, path, foreign)
	if text := says(); !strings.Contains(text, "no method none") {
		t.Error(text)
	}
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o400); err != nil {
		t.Fatal(err)
	}
}

// A bundle may have modules with the names of the harness's own files.
func TestModulesNamedAsTheHarness(t *testing.T) {
	dir := bundle(t, "import harness, start\ndef wire(entrypoint, params, seed): return {'x': harness.MINE + start.MINE}\n")
	for _, name := range []string{"harness", "start"} {
		write(t, filepath.Join(dir, name+".py"), "MINE = '"+name+"'\n")
	}
	s := open(t, dir)
	if err := s.Load(t.Context(), "wire.py:wire"); err != nil {
		t.Fatal(err)
	}
	if outputs, err := run(t, s, task(t, `{}`, 1)); err != nil || string(outputs["x"].Inline) != "harnessstart" {
		t.Errorf("%v %v", err, outputs)
	}
}
