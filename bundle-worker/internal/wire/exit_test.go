//go:build unix

package wire

import (
	"strings"
	"syscall"
	"testing"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

func TestExitError(t *testing.T) {
	const mib = 1 << 20
	for name, test := range map[string]struct {
		exit  runner.Exit
		code  contracts.Code // "" for no error
		says  string
		retry bool
	}{
		"ended":             {},
		"code":              {runner.Exit{Code: 7}, contracts.CodeExit, "the model ended with exit code 7", false},
		"code of no signal": {runner.Exit{Code: 137}, contracts.CodeExit, "exit code 137", false},
		"fault":             {runner.Exit{Signal: syscall.SIGSEGV}, contracts.CodeSignal, "killed by SIGSEGV (segmentation fault)", false},
		"memory dump":       {runner.Exit{Signal: syscall.SIGABRT, Core: true}, contracts.CodeSignal, "and left a memory dump", false},
		"killed":            {runner.Exit{Signal: syscall.SIGKILL}, contracts.CodeSignal, "killed by SIGKILL", true},
		"guard killed":      {runner.Exit{Lost: true}, contracts.CodeSignal, "was lost", true},
		"kernel":            {runner.Exit{Signal: syscall.SIGKILL, OutOfMemory: true}, contracts.CodeOutOfMemory, "by the kernel", false},
		"limit": {
			runner.Exit{Signal: syscall.SIGKILL, Excess: runner.Excess{Used: 300 * mib, Limit: 100 * mib, Processes: 1}},
			contracts.CodeOutOfMemory, "the model used 300 MiB of memory; the task's limit is 100 MiB", false,
		},
		"limit together": {
			runner.Exit{Signal: syscall.SIGKILL, Excess: runner.Excess{Used: 300 * mib, Limit: 100 * mib, Processes: 3}},
			contracts.CodeOutOfMemory, "the model and 2 more that it started used together 300 MiB", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := exitError(test.exit, "the model")
			if err == nil || test.code == "" {
				if err != nil || test.code != "" {
					t.Errorf("got %v", err)
				}
				return
			}
			if err.Code != test.code || err.Retryable != test.retry || !strings.Contains(err.Message, test.says) {
				t.Errorf("got %+v", err)
			}
			if err.Code == contracts.CodeOutOfMemory && err.Hint == "" {
				t.Errorf("no hint: %+v", err)
			}
		})
	}
}
