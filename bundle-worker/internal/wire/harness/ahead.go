//go:build unix

package harness

import (
	"os"
	"os/exec"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/guard"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
)

// Ahead is an interpreter that starts before it is known what runs in it: the one that most
// bundles run on, python3 with the variables that a task of no particular resources has. It
// is taken if it is what is wanted then, and dropped if not.
type Ahead struct {
	// Supervisor is what started it. It is the whole program's.
	Supervisor *runner.Supervisor

	begun   chan struct{} // closed when process is there, or nil because none could be started
	process *Process
}

// ofExec is what init began; nil for nothing.
var ofExec *Ahead

// init has exec start its interpreter beside the initialisation of this program, which
// takes half as long as a bare interpreter's start.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "exec" {
		ofExec = Begin()
	}
}

// OfExec is what exec began when the program started, to be taken or dropped; nil if it did
// not.
func OfExec() *Ahead { return ofExec }

// Begin starts the interpreter, to be taken or dropped, with the guard that exec has already
// if it has.
func Begin() *Ahead {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	a := &Ahead{Supervisor: runner.NewSupervisor(program, runner.Grace), begun: make(chan struct{})}
	go func() {
		defer close(a.begun)
		early := guard.TakeEarly()
		if python := interpreter(); python != "" {
			a.process, _ = start(a.Supervisor, early, Launch{Interpreter: python, Environ: os.Environ()}) // what fails here fails again, and is told then
		} else if early != nil {
			early.Drop()
		}
	}()
	return a
}

// interpreter is python3, or "" where it is a script: which one that chooses takes time to
// find out.
func interpreter() string {
	python, err := exec.LookPath("python3")
	if err != nil {
		return ""
	}
	if script, err := Script(python); err != nil || script {
		return ""
	}
	return python
}

// Take is the interpreter, for the caller to end, if it is what l starts; else nil.
func (a *Ahead) Take(l Launch) *Process {
	<-a.begun
	if a.process == nil || !a.process.is(l) {
		return nil
	}
	p := a.process
	a.process = nil
	return p
}

// Drop ends what was not taken.
func (a *Ahead) Drop() {
	<-a.begun
	if a.process != nil {
		a.process.discard()
		a.process = nil
	}
}
