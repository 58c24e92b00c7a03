package program

import (
	"errors"
	"os"
	"os/exec"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

// Become runs a program in the place of this one, which waits for it: it has the same
// terminal, and the error carries its exit code.
func Become(path string, args, environ []string) error {
	cmd := exec.Command(path, args...) // an interrupt reaches it by the console
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err == nil || ended {
		return &command.Exited{Code: cmd.ProcessState.ExitCode()}
	}
	return (&contracts.Error{Code: contracts.CodeFailed, Message: "cannot run " + contracts.Quote(path) + ": " + err.Error()}).Because(err)
}
