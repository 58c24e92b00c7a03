//go:build unix

package wire

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

// exitError is how a process ended as the error of a task, or nil for exit code 0. what names
// the process.
func exitError(e runner.Exit, what string) *contracts.Error {
	switch {
	case e.Lost:
		return &contracts.Error{
			Code: contracts.CodeSignal, Stage: contracts.StageRun, Retryable: true,
			Message: what + " was lost: the process that watches it was killed",
		}
	case e.Excess.Used > 0:
		who := what + " used"
		if others := e.Excess.Processes - 1; others > 0 {
			who = fmt.Sprintf("%s and %d more that it started used together", what, others)
		}
		return &contracts.Error{
			Code: contracts.CodeOutOfMemory, Stage: contracts.StageRun,
			Message: fmt.Sprintf("%s %s of memory; the task's limit is %s", who, contracts.FormatMemory(e.Excess.Used), contracts.FormatMemory(e.Excess.Limit)),
			Hint:    "another try ends alike: raise the limit, which is resources.memory of the study or of the bundle's .modelops/manifest.json, or have the model use less",
		}
	case e.OutOfMemory:
		return &contracts.Error{
			Code: contracts.CodeOutOfMemory, Stage: contracts.StageRun,
			Message: what + " was killed by the kernel: out of memory",
			Hint:    "give the task more memory (resources.memory), or run fewer tasks at a time on the machine",
		}
	case e.Signal == syscall.SIGKILL:
		return &contracts.Error{
			Code: contracts.CodeSignal, Stage: contracts.StageRun, Retryable: true,
			Message: what + " was killed by SIGKILL, and neither the worker nor the kernel did that for its memory: somebody else killed it",
		}
	case e.Signal != 0:
		message := fmt.Sprintf("%s was killed by %s", what, signalName(e.Signal))
		if e.Core {
			message += " and left a memory dump"
		}
		return &contracts.Error{
			Code: contracts.CodeSignal, Stage: contracts.StageRun, Message: message,
			Hint: "the end of its output (stderr_tail) shows where it was",
		}
	case e.Code != 0:
		return &contracts.Error{
			Code: contracts.CodeExit, Stage: contracts.StageRun,
			Message: fmt.Sprintf("%s ended with exit code %d", what, e.Code),
		}
	}
	return nil
}

// signalName is as in "SIGSEGV (segmentation fault)".
func signalName(s syscall.Signal) string {
	name := unix.SignalName(s)
	if name == "" {
		return fmt.Sprintf("signal %d", int(s))
	}
	return fmt.Sprintf("%s (%s)", name, s)
}
