//go:build unix

package wire

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

// CommandLaunch is what a command runs with.
type CommandLaunch struct {
	Supervisor *runner.Supervisor
	Command    []string
	Bundle     string   // the bundle's directory
	Environ    []string // the worker's own; the process gets what it may see of it
	Cores      int      // threads, see [runner.Environ]
	Memory     int64    // bytes, see [runner.Spec]
}

// RunCommand runs a bundle's command for one task and hands the files that it wrote to
// collect. It answers with what the command printed.
func RunCommand(ctx context.Context, l CommandLaunch, task *contracts.SimTask, collect *Collector) (output string, err error) {
	scratch, err := runner.NewScratch()
	if err != nil {
		return "", cannotPrepare(err)
	}
	defer func() { _ = scratch.Remove() }() // a temporary directory that cannot be removed harms nothing
	var dirs *runner.Task
	process, err := l.Supervisor.Start(runner.Spec{
		Args: l.Command[1:], Dir: l.Bundle, Scratch: scratch.Dir, Memory: l.Memory,
		Prepare: func(spec *runner.Spec) (err error) {
			dirs, err = l.prepare(spec, scratch, task)
			return err
		},
	})
	if e, ok := errors.AsType[*contracts.Error](err); ok {
		return "", e
	}
	if err != nil {
		return "", CannotStart(l.Command[0], err)
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); process.Stop() })
	exit := process.Wait()
	output = process.Output.Text()
	if !stop() {
		<-stopped
		err = context.Cause(ctx)
	} else if failed := exitError(exit, "the command"); failed != nil {
		err = failed
	} else {
		err = collect.Directory(dirs.Output)
	}
	if e, ok := errors.AsType[*contracts.Error](err); ok {
		with := *e
		with.StderrTail = output
		err = (&with).Because(e)
	}
	return output, err
}

// prepare makes the task's directories, with the task, and finds the program.
func (l CommandLaunch) prepare(spec *runner.Spec, scratch *runner.Scratch, task *contracts.SimTask) (*runner.Task, error) {
	if err := scratch.Make(); err != nil {
		return nil, cannotPrepare(err)
	}
	dirs, err := scratch.Task()
	if err != nil {
		return nil, cannotPrepare(err)
	}
	if spec.StdinFile, err = WriteTask(dirs, task); err != nil {
		return nil, cannotPrepare(err)
	}
	spec.Env = runner.Environ(l.Environ, l.Cores, dirs.Environment())
	spec.Path, err = Program(l.Command[0], l.Bundle, spec.Env)
	return dirs, err
}

// WriteTask writes the task as JSON on a line into a file of its directories, and returns
// the file's path. It is a command's standard input, and not a pipe: a command need not
// read it.
func WriteTask(dirs *runner.Task, task *contracts.SimTask) (string, error) {
	data, err := json.Marshal(task)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dirs.Dir, "task.json")
	return file, os.WriteFile(file, append(data, '\n'), 0o600)
}

// Program finds a program: in the bundle when its name has a slash, else on the PATH of the
// environment that the process will have. The error is a [contracts.Error] of
// [contracts.CodeDependencies].
func Program(name, bundle string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(bundle, name)
		}
		return name, nil
	}
	for _, variable := range env {
		list, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", &contracts.Error{
		Code: contracts.CodeDependencies, Stage: contracts.StagePrepare,
		Message: "command " + contracts.Quote(name) + " is not on this worker's PATH",
		Hint:    "install it where the worker runs, or name a file of the bundle with a slash, as in ./run.sh",
	}
}

// CannotStart explains why a program did not start.
func CannotStart(name string, err error) *contracts.Error {
	e := &contracts.Error{
		Code: contracts.CodeDependencies, Stage: contracts.StagePrepare,
		Message: "command " + contracts.Quote(name) + " cannot be started: " + contracts.Quote(err.Error()),
	}
	switch {
	case errors.Is(err, syscall.EACCES):
		e.Hint = "the file needs its executable bit (chmod +x) and a first line such as #!/bin/sh; then push again"
	case errors.Is(err, syscall.ENOEXEC):
		e.Hint = "the file needs a first line such as #!/bin/sh, or must be a program for this machine"
	case errors.Is(err, syscall.ENOENT):
		e.Hint = "the file, or the interpreter in its first line, is not there"
	}
	return e.Because(err)
}

// CheckCommands is nil when all the programs that a task asks for are there. The error is
// a [contracts.Error] of [contracts.CodeDependencies] that names those that are not.
func CheckCommands(names, environ []string) error {
	env := runner.Environ(environ, 1, nil)
	var missing []string
	for _, name := range names {
		if _, err := Program(name, "", env); err != nil {
			missing = append(missing, contracts.Quote(name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	message := "command " + missing[0] + " is"
	if len(missing) > 1 {
		message = "commands " + strings.Join(missing, ", ") + " are"
	}
	i := slices.IndexFunc(env, func(variable string) bool { return strings.HasPrefix(variable, "PATH=") }) // always there
	return &contracts.Error{
		Code: contracts.CodeDependencies, Stage: contracts.StagePrepare,
		Message: message + " not on the worker's PATH: " + contracts.Lines(strings.TrimPrefix(env[i], "PATH=")),
		Hint:    "install it where the worker runs; resources.commands of the study or of the bundle's .modelops/manifest.json asks for it",
	}
}
