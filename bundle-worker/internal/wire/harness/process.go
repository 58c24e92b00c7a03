//go:build unix

package harness

import (
	"io"
	"os"
	"path/filepath"
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
	idle        *runner.Task
}

// Start starts an interpreter, without waiting for it. prepare may put more into its
// directory before. The caller ends it, closes its pipes and removes its
// directory.
func Start(supervisor *runner.Supervisor, l Launch, prepare func(dir string)) (*Process, error) {
	return start(supervisor, nil, l, prepare)
}

// start is Start with a guard that there is, if it is not nil.
func start(supervisor *runner.Supervisor, early *guard.Early, l Launch, prepare func(dir string)) (*Process, error) {
	scratch, err := runner.NewScratch()
	if err != nil {
		return nil, err
	}
	p := &Process{Scratch: scratch}
	spec := runner.Spec{
		Guard: early, Dir: "/", Scratch: scratch.Dir, Remove: true,
		Prepare: func(spec *runner.Spec) error { return p.prepare(spec, l, prepare) },
	}
	if err := p.start(supervisor, spec); err != nil {
		_ = scratch.Remove()
		return nil, err
	}
	_ = scratch.Foresee() // while the interpreter starts; what fails here fails again, and is told then
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

// prepare fills the process's directory, and says what is to be run.
func (p *Process) prepare(spec *runner.Spec, l Launch, more func(dir string)) (err error) {
	if err := p.Scratch.Make(); err != nil {
		return err
	}
	if _, err := Write(p.Scratch.Dir); err != nil {
		return err
	}
	if p.idle, err = p.Scratch.Idle(); err != nil { // for what the model does while it is imported
		return err
	}
	more(p.Scratch.Dir)
	p.interpreter, p.environ = l.Interpreter, p.sees(l)
	spec.Path, spec.Args, spec.Env = p.interpreter, []string{filepath.Join(p.Scratch.Dir, startFile)}, p.environ
	return nil
}

// sees is the environment that the process has, or had if it were started with l.
func (p *Process) sees(l Launch) []string {
	return runner.Environ(l.Environ, l.Cores, p.idle.Environment())
}

// is says whether the process is one that was started with l.
func (p *Process) is(l Launch) bool {
	return p.interpreter == l.Interpreter && slices.Equal(p.environ, p.sees(l))
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
