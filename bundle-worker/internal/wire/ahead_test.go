//go:build unix

package wire

import (
	"errors"
	"os"
	"testing"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
)

// TestAhead has a session that was begun become a bundle's, or end with nothing left of it:
// when nothing is run, and when what is to be run cannot be.
func TestAhead(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	interpreter := python(t)
	dir := bundle(t, "def wire(entrypoint, params, seed): return {'seed': str(seed)}")
	for name, c := range map[string]struct {
		supervisor  *runner.Supervisor
		interpreter string // "" for nothing to be run
		fails       bool
	}{
		"started":        {supervisor(t), interpreter, false},
		"dropped":        {supervisor(t), "", true},
		"no interpreter": {supervisor(t), "/nonexistent/python3", true},
		"no guard":       {runner.NewSupervisor("/nonexistent/bundle-worker", 0), interpreter, true},
	} {
		t.Run(name, func(t *testing.T) {
			ahead := Begin(c.supervisor)
			err := errNotNeeded
			if c.interpreter == "" {
				ahead.Drop()
			} else {
				var s *Session
				s, err = ahead.Start(t.Context(), Launch{Supervisor: c.supervisor, Interpreter: c.interpreter, Bundle: dir, Environ: os.Environ(), Cores: 1})
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
			if (err != nil) != c.fails || c.interpreter != "" && errors.Is(err, errNotNeeded) {
				t.Errorf("%v", err)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
