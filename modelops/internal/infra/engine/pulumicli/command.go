package pulumicli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
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
	cmd := exec.Command(c.path, args...)
	cmd.Dir, cmd.Stdin = workdir, stdin
	cmd.Env = append(append(slices.Clone(c.environ), environ...), "PULUMI_AUTOMATION_API=true")
	cmd.WaitDelay = waitDelay
	session(cmd)
	interrupt, receive := c.Interrupt, pipes
	switch args[1] { // after --non-interactive
	case "up", "preview", "refresh", "destroy":
		receive = files
	default:
		interrupt = nil
	}
	output, err := receive(cmd)
	if err != nil {
		return "", "", -2, err
	}
	code := -2
	if err = cmd.Start(); err == nil {
		err = c.wait(ctx, cmd, interrupt)
		code = cmd.ProcessState.ExitCode()
	}
	stdout, stderr := output()
	c.stderr = string(stderr)
	for _, w := range stdouts {
		_, _ = w.Write(stdout)
	}
	for _, w := range stderrs {
		_, _ = w.Write(stderr)
	}
	return string(stdout), string(stderr), code, err
}

// pipes and files receive a program's output; read is for after its end. Into a pipe it
// writes with its life: when this process is killed, so is the program, at its next word.
// An update must go on then, and what it prints holds no secrets, so that it gets files.
func pipes(cmd *exec.Cmd) (read func() (stdout, stderr []byte), err error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return func() ([]byte, []byte) { return stdout.Bytes(), stderr.Bytes() }, nil
}

func files(cmd *exec.Cmd) (read func() (stdout, stderr []byte), err error) {
	stdout, err := nameless()
	if err != nil {
		return nil, err
	}
	stderr, err := nameless()
	if err != nil {
		drain(stdout)
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return func() ([]byte, []byte) { return drain(stdout), drain(stderr) }, nil
}

// nameless is a file that goes with its last descriptor, where the system can.
func nameless() (*os.File, error) {
	f, err := os.CreateTemp("", "pulumi-output-")
	if err == nil {
		_ = os.Remove(f.Name()) // not while it is open, on Windows; then drain does
	}
	return f, err
}

// drain is what was written to a file, which it removes.
func drain(f *os.File) []byte {
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil
	}
	data, _ := io.ReadAll(f) // what was read is of use
	return data
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
