package cli

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

func bundleCommand() *cli.Command {
	return &cli.Command{
		Name:            "bundle",
		Usage:           "run modelops-bundle: pack, push and pull projects",
		ArgsUsage:       "ARGUMENTS...",
		Description:     "Everything after the command's name is given to modelops-bundle.",
		UsageText:       "mops bundle push",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			env := command.EnvOf(c)
			path, err := program.Find(env.Getenv, program.Bundle)
			if err != nil {
				return err
			}
			cmd := exec.Command(path, c.Args().Slice()...)
			cmd.Dir, cmd.Env = env.Dir, env.Environ
			cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr
			return runVisibly(c, cmd)
		},
	}
}

// runVisibly runs a program in the user's sight, and ends as it ends.
func runVisibly(c *cli.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return &contracts.Error{Code: contracts.CodeFailed, Message: "start " + contracts.Quote(cmd.Path) + ": " + err.Error()}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case <-c.Context.Done():
		forward(c, cmd.Process)
		err = <-ended
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return &contracts.Error{Code: contracts.CodeFailed, Message: "run " + contracts.Quote(cmd.Path) + ": " + err.Error()}
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &command.Exited{Code: 128 + int(status.Signal())}
	}
	return &command.Exited{Code: exit.ExitCode()}
}

// forward passes on the signal that this program got. A terminal has sent its own to
// the other one too, which would take a second one for impatience.
func forward(c *cli.Context, process *os.Process) {
	signalled, ok := errors.AsType[*command.Signalled](contextCause(c))
	if !ok || signalled.Signal == os.Interrupt && command.Interactive(c) {
		return
	}
	_ = process.Signal(signalled.Signal) // it may have ended
}
