//go:build unix

package wire

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
)

// TestAhead has an interpreter that was started ahead become a bundle's session, or end with
// nothing left of it: when it is not what is to be run, and when nothing is.
func TestAhead(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	interpreter := python(t)
	t.Setenv("PATH", filepath.Dir(interpreter)+":"+os.Getenv("PATH")) // the interpreter itself, and no script that looks for one
	interpreter = filepath.Join(filepath.Dir(interpreter), "python3")
	dir := bundle(t, "def wire(entrypoint, params, seed): return {'seed': str(seed)}")
	for name, c := range map[string]struct {
		launch Launch
		taken  bool
	}{
		"started":           {Launch{Interpreter: interpreter, Bundle: dir, Environ: os.Environ()}, true},
		"its variables":     {Launch{Interpreter: interpreter, Bundle: dir, Environ: os.Environ(), Cores: 1}, os.Getenv("OMP_NUM_THREADS") == ""},
		"other variables":   {Launch{Interpreter: interpreter, Bundle: dir, Environ: append(os.Environ(), "PATH=/bin")}, false},
		"other cores":       {Launch{Interpreter: interpreter, Bundle: dir, Environ: os.Environ(), Cores: 2}, false},
		"other interpreter": {Launch{Interpreter: "/nonexistent/python3", Bundle: dir, Environ: os.Environ()}, false},
		"dropped":           {},
	} {
		t.Run(name, func(t *testing.T) {
			ahead := harness.Begin()
			if c.launch.Interpreter == "" {
				ahead.Drop()
			} else {
				s, err := StartAhead(t.Context(), ahead, c.launch)
				ahead.Drop() // what was not taken
				if err != nil && c.taken || err == nil && !c.taken || !c.taken && !errors.Is(err, errOther) {
					t.Errorf("%v", err)
				}
				if err == nil {
					if err := s.Load(t.Context(), "wire.py:wire"); err != nil {
						t.Error(err)
					}
					if outputs, failed := run(t, s, task(t, "{}", 7)); failed != nil || string(outputs["seed"].Inline) != "7" {
						t.Errorf("%v, %v", outputs, failed)
					}
					s.Close()
				}
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// Where python3 is not the interpreter itself, or is not there, nothing is started ahead.
func TestAheadOfNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	nothing := func() {
		t.Helper()
		ahead := harness.Begin()
		if _, err := StartAhead(t.Context(), ahead, Launch{Interpreter: filepath.Join(dir, "python3")}); !errors.Is(err, errOther) {
			t.Errorf("something was begun: %v", err)
		}
		ahead.Drop()
	}
	nothing()
	write(t, filepath.Join(dir, "python3"), "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(dir, "python3"), 0o700); err != nil {
		t.Fatal(err)
	}
	nothing()
}
