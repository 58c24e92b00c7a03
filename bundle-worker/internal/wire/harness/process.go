//go:build unix

package harness

import (
	"io"
	"os"
	"path/filepath"
	"slices"

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
// directory before; nil for nothing. The caller ends it, closes its pipes and removes its
// directory.
func Start(supervisor *runner.Supervisor, l Launch, prepare func(dir string)) (*Process, error) {
	scratch, err := runner.NewScratch()
	if err != nil {
		return nil, err
	}
	p := &Process{Scratch: scratch}
	if err := p.start(supervisor, l, prepare); err != nil {
		_ = scratch.Remove()
		return nil, err
	}
	_ = scratch.Foresee() // while the interpreter starts; what fails here fails again, and is told then
	return p, nil
}

func (p *Process) start(supervisor *runner.Supervisor, l Launch, prepare func(dir string)) error {
	requests, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer requests.Close()
	in, answers, err := os.Pipe()
	if err != nil {
		_ = out.Close()
		return err
	}
	defer answers.Close()
	p.Requests, p.Answers = out, in
	p.Process, err = supervisor.Start(runner.Spec{
		Dir: "/", Files: []*os.File{requests, answers}, Scratch: p.Scratch.Dir, Remove: true,
		Prepare: func(spec *runner.Spec) error {
			if err := p.Scratch.Make(); err != nil {
				return err
			}
			if _, err := Write(p.Scratch.Dir); err != nil {
				return err
			}
			if p.idle, err = p.Scratch.Idle(); err != nil { // for what the model does while it is imported
				return err
			}
			if prepare != nil {
				prepare(p.Scratch.Dir)
			}
			p.interpreter, p.environ = l.Interpreter, p.sees(l)
			spec.Path, spec.Args, spec.Env = p.interpreter, []string{filepath.Join(p.Scratch.Dir, startFile)}, p.environ
			return nil
		},
	})
	if err != nil {
		_, _ = out.Close(), in.Close()
	}
	return err
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
