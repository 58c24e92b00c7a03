//go:build unix

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

// TestUpKilledAnywhere kills "mops infra up" at many moments of its life: the environment
// file is always the old one or the new one, and the next "up" takes it for its own.
func TestUpKilledAnywhere(t *testing.T) {
	base := t.TempDir()
	home := filepath.Join(base, "home")
	t.Cleanup(func() { stopAll(t, base) })
	mops := func(args ...string) *exec.Cmd {
		path, err := exec.LookPath("mops")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, args...)
		cmd.Env = []string{"MODELOPS_HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + base, "GORACE=" + quickExit}
		return cmd
	}
	must := func(args ...string) {
		t.Helper()
		if out, err := mops(args...).CombinedOutput(); err != nil {
			t.Fatalf("mops %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	must("infra", "up")
	began := time.Now()
	must("infra", "up")
	const moments = 40
	step := 2 * time.Since(began) / moments
	for moment := range moments {
		must("infra", "down", "--destroy-storage", "--confirm", "local")
		up := mops("infra", "up")
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		killer := time.AfterFunc(time.Duration(moment)*step, func() { _ = up.Process.Kill() })
		_ = up.Wait() // killed, or done before
		killer.Stop()
		loaded, err := environment.Open(home).Load("local")
		if err != nil {
			t.Fatalf("killed at moment %d: %v", moment, err)
		}
		if s := loaded.Env.Storage; s != nil && s.Container != filepath.Join(home, "local", "storage") {
			t.Errorf("killed at moment %d: %+v", moment, s)
		}
		must("infra", "up")
	}
	left, err := filepath.Glob(filepath.Join(home, "*", "*.destroyed.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}
