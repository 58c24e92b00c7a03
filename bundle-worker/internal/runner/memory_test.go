//go:build unix

package runner_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
)

const mib = 1 << 20

// python starts a program in Python with a limit of 100 MiB.
func python(t *testing.T, program string) *runner.Process {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	p, err := supervisor(time.Second).Start(runner.Spec{
		Path: path, Args: []string{"-c", program}, Dir: t.TempDir(), Env: os.Environ(), Memory: 100 * mib,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	return p
}

// hold keeps so much memory until somebody ends the process.
const hold = `
import os, signal, sys
def hold(mib):
    kept = bytearray(b"x") * (mib << 20) # not twice that for a moment
    signal.pause()
`

func TestMemory(t *testing.T) {
	for name, test := range map[string]struct {
		program string
		least   int // processes that are over the limit together
	}{
		"alone":    {"hold(300)", 1},
		"together": {"for _ in range(3): os.fork() or hold(45)\nsignal.pause()", 3},
		"a daemon": {"if os.fork(): signal.pause()\nos.setsid(); os.fork() and os._exit(0); hold(300)", 1},
	} {
		t.Run(name, func(t *testing.T) {
			exit := python(t, hold+test.program).Wait()
			if exit.Signal != syscall.SIGKILL || exit.OutOfMemory || exit.Excess.Limit != 100*mib || exit.Excess.Used <= 100*mib || exit.Excess.Processes < test.least {
				t.Fatalf("got %+v", exit)
			}
		})
	}
}

func TestMemoryBelowTheLimit(t *testing.T) {
	exit := python(t, `
import time
kept = bytearray(b"x") * (30 << 20)
for _ in range(20):
    time.sleep(0.01)
`).Wait()
	if exit != (runner.Exit{}) {
		t.Errorf("got %+v", exit)
	}
}

// A SIGKILL of somebody else's is not taken for one for memory.
func TestMemoryLimitAndAnotherKill(t *testing.T) {
	p := python(t, hold+"hold(20)")
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); exit != (runner.Exit{Signal: syscall.SIGKILL}) {
		t.Errorf("got %+v", exit)
	}
}
