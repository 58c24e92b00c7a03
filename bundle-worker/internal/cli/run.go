//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// The exit codes of run for failures of its own; the rest is the command's, or 128 and
// the signal that ended it.
const (
	exitFailed        = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

func runCommand() command {
	return command{
		name: "run", usage: "run a command in a bundle, with its streams and exit code", args: []string{"REF", "COMMAND..."},
		example: "bundle-worker run my-model@sha256:… -- python3 wire.py",
		flags: func(set *flag.FlagSet, f *flags) {
			set.StringVar(&f.task, "task", "", "run it with what the task in `FILE` has, in a writable copy of the bundle, and say how to run the task there")
			set.StringVar(&f.report, "report", "", "write how it ended to `FILE`, as JSON")
		},
		run: runRun,
	}
}

// childStatus is an exit code that is somebody else's to explain.
type childStatus struct{ code int }

func (s *childStatus) Error() string { return fmt.Sprintf("exit code %d", s.code) }

// report is the document of --report.
type report struct {
	Ref    string           `json:"ref"`
	Path   string           `json:"path,omitempty"`
	Code   int              `json:"exit_code"`
	Signal string           `json:"signal,omitempty"`
	Error  *contracts.Error `json:"error,omitempty"` // of bundle-worker itself
}

func runRun(ctx context.Context, p *program, args []string) error {
	if p.flags.json {
		return wrongUsage("run has no --json: its streams are the command's", "bundle-worker run REF --report FILE -- COMMAND")
	}
	r := report{Ref: args[0]}
	err := p.runIn(ctx, &r, args)
	if err != nil {
		r.Error = contracts.AsError(err)
		if r.Code == 0 {
			r.Code = exitFailed
		}
		_, _ = p.env.Stderr.Write([]byte(r.Error.Text()))
	}
	if p.flags.report != "" {
		data, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = atomicfile.Write(p.flags.report, append(data, '\n'), 0o644)
		}
		if err != nil {
			fmt.Fprintf(p.env.Stderr, "error: the report cannot be written: %v\n", err)
			return &childStatus{exitFailed}
		}
	}
	if r.Code != 0 {
		return &childStatus{r.Code}
	}
	return nil
}

func (p *program) runIn(ctx context.Context, r *report, args []string) error {
	ref, err := contracts.ParseBundleRef(args[0])
	if err != nil {
		return err
	}
	if p.flags.task != "" {
		return p.runWithTask(ctx, r, ref, args)
	}
	c, e, err := p.ensure(ctx, ref)
	if err != nil {
		return err
	}
	defer e.Release()
	r.Path = e.Path
	opts := pyenv.Options{
		Bundle: e.Path, Root: c.VenvsDir, Environ: p.env.Environ, Log: p.env.Stderr,
		Supervisor: p.supervisor(), PullOnly: c.Environments == config.Pull,
	}
	if c.Environments != config.Off {
		if opts.Shared, err = p.repository(c, ref.Repository); err != nil {
			return err
		}
	}
	python, err := pyenv.Ensure(ctx, opts)
	if wants, wantErr := pyenv.Wants(e.Path); err != nil && (wants || wantErr != nil) {
		return err
	}
	defer python.Release()
	scratch, err := runner.NewScratch()
	if err == nil {
		err = scratch.Make()
	}
	if err != nil {
		return err
	}
	defer func() { _ = scratch.Remove() }() // a temporary directory that cannot be removed harms nothing
	dirs, err := scratch.Task()
	if err != nil {
		return err
	}
	own := p.env.Environ
	if python != nil && python.Built() {
		own = append(own[:len(own):len(own)], "PATH="+python.Bin()+string(filepath.ListSeparator)+p.env.Getenv("PATH"))
	}
	set := dirs.Environment()
	set["PYTHONPATH"] = e.Path + string(filepath.ListSeparator) + filepath.Join(e.Path, "src") // as a wire has it
	return p.start(ctx, r, runner.Spec{
		Args: args[2:], Dir: e.Path, Scratch: scratch.Dir, Env: runner.Environ(own, 1, set),
	}, args[1])
}

// start runs the command and notes how it ended.
func (p *program) start(ctx context.Context, r *report, spec runner.Spec, name string) error {
	path, err := wire.Program(name, spec.Dir, spec.Env)
	if err != nil {
		r.Code = exitNotFound
		return err
	}
	spec.Path = path
	spec.Stdin, _ = p.env.Stdin.(*os.File)
	spec.Stdout, _ = p.env.Stdout.(*os.File)
	spec.Stderr, _ = p.env.Stderr.(*os.File)
	spec.SameGroup = isTerminal(spec.Stdin)
	process, err := p.supervisor().Start(spec)
	if err != nil {
		r.Code = exitNotExecutable
		if errors.Is(err, fs.ErrNotExist) {
			r.Code = exitNotFound
		}
		return wire.CannotStart(name, err)
	}
	stop := ctx.Done()
	ended := make(chan os.Signal, 1)
	if spec.SameGroup { // an interrupt from the terminal reached the command itself, whose affair it is
		stop = nil
		signal.Notify(ended, syscall.SIGTERM, syscall.SIGHUP)
		defer signal.Stop(ended)
	}
	select {
	case <-process.Done():
	case <-stop:
		process.Stop()
	case <-ended:
		process.Stop()
	}
	exit := process.Wait()
	r.Code = exit.Code
	if exit.Signal != 0 {
		r.Code, r.Signal = 128+int(exit.Signal), unix.SignalName(exit.Signal)
	}
	return nil
}

// isTerminal says whether a file is the terminal of this process: then the command must
// share its process group, or it could not read from it.
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	_, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil
}
