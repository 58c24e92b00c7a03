package pulumicli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"time"

	"github.com/blang/semver"
)

const (
	lockPoll  = 100 * time.Millisecond // how often a lock that somebody holds is tried
	waitDelay = 5 * time.Second        // how long output is awaited after the program's end
)

// Command runs the program. It is an auto.PulumiCommand that differs from the SDK's in
// what happens at an interrupt and at an end:
//
//   - The program gets a session of its own, so that an interrupt at the terminal reaches
//     this process alone.
//   - When Interrupt closes during an update, the program gets one SIGINT: it finishes the
//     resources at hand, writes its state and ends, however long that takes. (The SDK
//     kills it after 10 seconds, which loses what a provider was making.) What comes after
//     an update, such as reading its outputs, is short and goes on.
//   - When Kill closes, or the context ends, it is killed.
//   - However it ended, what is left of its session is killed: Pulumi gives each plugin a
//     process group of its own, which outlives a killed engine.
//   - Of the environment nothing that begins with PULUMI_ is inherited.
type Command struct {
	path    string
	version semver.Version
	environ []string

	Interrupt <-chan struct{} // may be nil
	Kill      <-chan struct{} // may be nil

	stderr string // of the last run
}

// Path is where the program is.
func (c *Command) Path() string { return c.path }

// Version is the program's.
func (c *Command) Version() semver.Version { return c.version }

// Stderr is what the program wrote to its standard error when it last ran.
func (c *Command) Stderr() string { return c.stderr }

// Until is the same program with other channels, for one operation.
func (c *Command) Until(interrupt, kill <-chan struct{}) *Command {
	return &Command{path: c.path, version: c.version, environ: c.environ, Interrupt: interrupt, Kill: kill}
}

// Run runs the program to its end. The exit code is -2 when it has none.
func (c *Command) Run(ctx context.Context, workdir string, stdin io.Reader, stdouts, stderrs []io.Writer,
	environ []string, args ...string,
) (string, string, int, error) {
	args = append([]string{"--non-interactive"}, args...)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(c.path, args...)
	cmd.Dir, cmd.Stdin = workdir, stdin
	cmd.Env = append(append(slices.Clone(c.environ), environ...), "PULUMI_AUTOMATION_API=true")
	cmd.Stdout = io.MultiWriter(append(slices.Clone(stdouts), &stdout)...)
	cmd.Stderr = io.MultiWriter(append(slices.Clone(stderrs), &stderr)...)
	cmd.WaitDelay = waitDelay
	session(cmd)
	code, err := -2, cmd.Start()
	if err == nil {
		interrupt := c.Interrupt
		switch args[1] { // after --non-interactive
		case "up", "preview", "refresh", "destroy":
		default:
			interrupt = nil
		}
		err = c.wait(ctx, cmd, interrupt)
		code = cmd.ProcessState.ExitCode()
	}
	c.stderr = stderr.String()
	return stdout.String(), stderr.String(), code, err
}

// wait returns when the program has ended, and its session with it.
func (c *Command) wait(ctx context.Context, cmd *exec.Cmd, interrupt <-chan struct{}) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer endSession(cmd.Process.Pid)
	for kill, done := c.Kill, ctx.Done(); ; {
		select {
		case err := <-ended:
			if errors.Is(err, exec.ErrWaitDelay) { // it ended well; something it started holds its output
				err = nil
			}
			return err
		case <-interrupt:
			interrupt = nil
			_ = interruptProcess(cmd.Process) // it may have ended by now
		case <-kill:
			kill = nil
			endSession(cmd.Process.Pid)
		case <-done:
			done = nil
			endSession(cmd.Process.Pid)
		}
	}
}
