//go:build unix

package harness

import (
	"io"
	"os"
	"slices"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/guard"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
)

// Launch is what an interpreter starts with.
type Launch struct {
	Interpreter string   // python, absolute
	Environ     []string // the worker's own; the process gets what it may see of it
	Cores       int      // threads, see [runner.Environ]
}

// Process is an interpreter that serves requests, and is no bundle's yet.
type Process struct {
	*runner.Process
	Scratch  *runner.Scratch // its own, with the harness in it
	Requests *os.File        // to it
	Answers  *os.File        // of it

	interpreter string
	environ     []string // all that it sees
}

// Start starts an interpreter, which serves no request before [Process.Proceed]. The caller
// ends it, closes its pipes and removes its directory.
func Start(supervisor *runner.Supervisor, l Launch) (*Process, error) {
	return start(supervisor, nil, l)
}

// start is Start with a guard that there is, if it is not nil. What the interpreter needs is
// written while it starts, which takes longer.
func start(supervisor *runner.Supervisor, early *guard.Early, l Launch) (*Process, error) {
	scratch, err := runner.NewScratch()
	if err != nil {
		if early != nil {
			early.Drop()
		}
		return nil, err
	}
	p := &Process{Scratch: scratch, interpreter: l.Interpreter, environ: l.seen(scratch)}
	err = p.start(supervisor, runner.Spec{
		Guard: early, Path: p.interpreter, Args: []string{"-c", startSource, scratch.Dir}, Env: p.environ, Dir: "/",
		Scratch: scratch.Dir, Remove: true,
	})
	if err != nil {
		return nil, err
	}
	if err := p.fill(); err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// start starts the process with pipes, its guard's own if there is one.
func (p *Process) start(supervisor *runner.Supervisor, spec runner.Spec) (err error) {
	if spec.Guard != nil {
		p.Requests, p.Answers = spec.Guard.Requests, spec.Guard.Answers
	} else {
		var requests, answers *os.File
		if requests, p.Requests, err = os.Pipe(); err != nil {
			return err
		}
		defer requests.Close()
		if p.Answers, answers, err = os.Pipe(); err != nil {
			_ = p.Requests.Close()
			return err
		}
		defer answers.Close()
		spec.Files = []*os.File{requests, answers}
	}
	if p.Process, err = supervisor.Start(spec); err != nil {
		_, _ = p.Requests.Close(), p.Answers.Close()
	}
	return err
}

// fill makes the process's directory, with the harness and what its first task needs.
func (p *Process) fill() error {
	if err := p.Scratch.Make(); err != nil {
		return err
	}
	if _, err := Write(p.Scratch.Dir); err != nil {
		return err
	}
	_ = p.Scratch.Foresee() // what fails here fails again, and is told then
	return nil
}

// Proceed has the process load the harness, and serve.
func (p *Process) Proceed() error {
	_, err := p.Requests.Write([]byte{'\n'})
	return err
}

// seen is all that a process sees of its environment, with directories for what the model
// does while it is imported.
func (l Launch) seen(scratch *runner.Scratch) []string {
	return runner.Environ(l.Environ, l.Cores, scratch.Idle().Environment())
}

// is says whether the process is one that was started with l.
func (p *Process) is(l Launch) bool {
	return p.interpreter == l.Interpreter && slices.Equal(p.environ, l.seen(p.Scratch))
}

// discard ends a process that nobody has spoken to.
func (p *Process) discard() {
	p.Kill()
	_, _ = p.Requests.Close(), p.Answers.Close()
	_ = p.Scratch.Remove()
}

// Script says whether a program is a script, such as those of pyenv or asdf, which choose an
// interpreter.
func Script(program string) (bool, error) {
	f, err := os.Open(program)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var begin [2]byte
	_, err = io.ReadFull(f, begin[:])
	return err == nil && string(begin[:]) == "#!", nil
}
