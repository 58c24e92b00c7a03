//go:build unix

package guard

import (
	"os"
	"syscall"
)

// Early is a guard that exec starts before most of the program is initialised, for the
// process that it most likely runs: one with nothing to read, whose output goes to a pipe,
// and which has two descriptors more.
type Early struct {
	Pid      int
	Orders   *os.File // to the guard
	Reports  *os.File // of the guard
	Output   *os.File // of the process
	Requests *os.File // to the process, by its descriptor 3
	Answers  *os.File // of the process, by its descriptor 4
}

// early is what init begins; nil for nothing.
var early <-chan *Early

// TakeEarly is the guard that exec started, for the caller to use or drop; nil when there is
// none.
func TakeEarly() *Early {
	if early == nil {
		return nil
	}
	return <-early // nil, too, when it was taken
}

// begin starts a guard of this very program. What fails here fails again when a guard is
// needed, and is told then.
func begin() <-chan *Early {
	begun := make(chan *Early, 1)
	go func() {
		defer close(begun)
		if e, err := startEarly(); err == nil {
			begun <- e
		}
	}()
	return begun
}

func startEarly() (e *Early, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	e = &Early{}
	theirs := []*os.File{null}
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			e.close()
		}
	}()
	var output, requests, answers, orders, reports *os.File
	for _, pipe := range []struct{ read, write **os.File }{
		{&e.Output, &output}, {&requests, &e.Requests}, {&e.Answers, &answers}, {&orders, &e.Orders}, {&e.Reports, &reports},
	} {
		if *pipe.read, *pipe.write, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	theirs = append(theirs, output, requests, answers, orders, reports)
	e.Pid, err = Start(program, []*os.File{null, output, output, requests, answers, orders, reports}, true)
	return e, err
}

// Drop ends a guard that was given no orders.
func (e *Early) Drop() {
	e.close()
	_, _ = syscall.Wait4(e.Pid, nil, 0, nil)
}

func (e *Early) close() {
	for _, f := range []*os.File{e.Orders, e.Reports, e.Output, e.Requests, e.Answers} {
		_ = f.Close() // which nil bears
	}
}

// Start starts a guard of a program that links this package. files are the descriptors of
// its process from 0 on, and two that are the guard's own: where orders come from, and where
// reports go to. os/exec would start a process of its own before the first one, to see how
// this kernel waits for them.
func Start(program string, files []*os.File, ownGroup bool) (pid int, err error) {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	return syscall.ForkExec(program, []string{"bundle-worker", Argument, number(len(files) - firstExtra - 2)}, &syscall.ProcAttr{
		Dir: "/", Files: fds, Env: []string{"GORACE=atexit_sleep_ms=0"}, // tests with the race detector are not to wait for it here
		Sys: &syscall.SysProcAttr{Setpgid: ownGroup},
	})
}
