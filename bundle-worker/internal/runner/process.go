//go:build unix

package runner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/guard"
)

// Supervisor starts processes. One serves a whole program.
type Supervisor struct {
	// Program is an executable that links this package, which becomes the guards.
	Program string
	// Grace is how long a process that is asked to end has before it is killed.
	Grace time.Duration

	mu     sync.Mutex
	guards map[int]bool
	blamed uint64 // kills by the kernel for memory that processes have been told
}

// Grace is what a program gives the processes that it asks to end.
const Grace = 5 * time.Second

// NewSupervisor makes this process the reaper of what it starts. program is the
// executable that handles [guard.Argument].
func NewSupervisor(program string, grace time.Duration) *Supervisor {
	guard.BecomeReaper()
	return &Supervisor{Program: program, Grace: grace, guards: map[int]bool{}}
}

// Spec is a process to be started.
type Spec struct {
	Path  string   // of the program, absolute
	Args  []string // argv without the program's name
	Env   []string // the whole environment
	Dir   string   // working directory
	Stdin *os.File // nil for nothing
	// StdinFile is a file to read instead.
	StdinFile string
	// Stdout and Stderr are captured together when they are nil.
	Stdout, Stderr *os.File
	// Files become descriptors 3, 4 and on.
	Files []*os.File
	// SameGroup leaves the process in the worker's process group: for one that uses the
	// terminal.
	SameGroup bool
	// Scratch is a directory that is the process's own. It is removed if the worker dies,
	// and with Remove whenever the process and all that it started are gone.
	Scratch string
	Remove  bool
	// Prepare makes what has to be there, in Scratch above all, while the guard starts; it
	// may fill in what it knows only then, but for Files and the streams. nil for nothing.
	Prepare func(*Spec) error
	// Guard is the guard, if there is one already, whose descriptors are the process's; the
	// streams, Files and SameGroup are for nothing then. nil for one to be started.
	Guard *guard.Early
	// Memory is how many bytes the process and all that it starts may use together. More,
	// and all are killed. 0 is no limit.
	Memory int64
}

// Process is a running process and everything that it started.
type Process struct {
	// Pid is the process's number.
	Pid int
	// Output is what it writes to the streams that were not given away.
	Output *Capture

	supervisor *Supervisor
	guard      int // its process
	orders     *os.File
	kills      uint64 // by the kernel for memory, when the process started
	blamed     uint64 // of the supervisor, likewise
	excess     atomic.Pointer[Excess]
	done       chan struct{}
	exit       Exit
}

// StartError is a program that could not be started.
type StartError struct {
	Path  string
	cause error
}

// Error says which and why.
func (e *StartError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.cause) }

// Unwrap is the reason.
func (e *StartError) Unwrap() error { return e.cause }

const guardWithin = 10 * time.Second // beyond the grace period, for a guard to answer

// Start starts a process. The caller still owns spec.Files and closes its copies. The
// error is a [StartError] when the program cannot be started.
func (s *Supervisor) Start(spec Spec) (*Process, error) {
	if spec.Guard != nil {
		return s.adopt(spec)
	}
	out, output, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer output.Close()
	capture := newCapture(out)
	ordersR, ordersW, err := os.Pipe()
	if err != nil {
		capture.close()
		return nil, err
	}
	defer ordersR.Close()
	reportsR, reportsW, err := os.Pipe()
	if err != nil {
		capture.close()
		_ = ordersW.Close()
		return nil, err
	}
	defer reportsW.Close()
	p := &Process{Output: capture, supervisor: s, orders: ordersW, done: make(chan struct{})}
	files := append(append([]*os.File{spec.Stdin, or(spec.Stdout, output), or(spec.Stderr, output)}, spec.Files...), ordersR, reportsW)
	if err := s.launch(p, spec, files, reportsR); err != nil {
		capture.close()
		_, _ = ordersW.Close(), reportsR.Close()
		return nil, err
	}
	return p, nil
}

// adopt is Start with a guard that there is.
func (s *Supervisor) adopt(spec Spec) (*Process, error) {
	p := &Process{Output: newCapture(spec.Guard.Output), supervisor: s, guard: spec.Guard.Pid, orders: spec.Guard.Orders, done: make(chan struct{})}
	s.mu.Lock()
	s.guards[p.guard] = true
	s.mu.Unlock()
	if err := s.direct(p, spec, spec.Guard.Reports); err != nil {
		p.Output.close()
		_, _ = p.orders.Close(), spec.Guard.Reports.Close()
		return nil, err
	}
	return p, nil
}

func or(f, fallback *os.File) *os.File {
	if f != nil {
		return f
	}
	return fallback
}

// launch starts the guard, and has it start the process.
func (s *Supervisor) launch(p *Process, spec Spec, files []*os.File, reports *os.File) (err error) {
	s.mu.Lock()
	p.guard, err = s.startGuard(spec, files)
	if err == nil {
		s.guards[p.guard] = true
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.direct(p, spec, reports)
}

// direct hands the guard the order and waits until the process runs.
func (s *Supervisor) direct(p *Process, spec Spec, reports *os.File) error {
	s.count(p)
	prepareErr, err := s.order(p, &spec)
	var first guard.Report
	if err == nil {
		first, err = guard.ReadReport(reports)
	}
	if err != nil || first.Pid == 0 {
		_ = p.orders.Close()
		s.bury(p)
		if prepareErr != nil {
			return prepareErr
		}
		if first.Errno != 0 {
			return &StartError{spec.Path, syscall.Errno(first.Errno)}
		}
		return fmt.Errorf("the guard of %s did not start it: %w", spec.Path, err)
	}
	p.Pid = first.Pid
	go p.await(reports)
	p.Limit(spec.Memory)
	return nil
}

// startGuard starts a guard with these descriptors; nil is nothing to read.
func (s *Supervisor) startGuard(spec Spec, files []*os.File) (pid int, err error) {
	if files[0] == nil {
		if files[0], err = os.Open(os.DevNull); err != nil {
			return 0, err
		}
		defer func() { _ = files[0].Close() }()
	}
	return guard.Start(s.Program, files, !spec.SameGroup)
}

// order tells the guard first what it is to remove if the worker dies, and only then has
// that made; and then what to run. Both errors are of what came before the guard's answer.
func (s *Supervisor) order(p *Process, spec *Spec) (prepareErr, err error) {
	if err := p.tell(guard.Order{Scratch: spec.Scratch}); err != nil {
		return nil, err
	}
	if spec.Prepare != nil {
		if err := spec.Prepare(spec); err != nil {
			return err, err
		}
	}
	return nil, p.tell(guard.Order{
		Path: spec.Path, Args: append([]string{spec.Path}, spec.Args...), Env: spec.Env, Dir: spec.Dir, Stdin: spec.StdinFile,
		Grace: s.Grace, SameGroup: spec.SameGroup, Scratch: spec.Scratch, Remove: spec.Remove,
	})
}

func (p *Process) tell(o guard.Order) error {
	_, err := p.orders.Write(o.Message())
	return err
}

// await follows the process to its end and until nothing of it is left.
func (p *Process) await(reports *os.File) {
	last, err := guard.ReadReport(reports)
	_, _ = io.Copy(io.Discard, reports)
	p.supervisor.bury(p)
	lost := err != nil || !last.Ended
	if lost {
		p.supervisor.sweep()
	}
	p.exit = Exit{Code: last.Code, Signal: syscall.Signal(last.Signal), Core: last.Core, Lost: lost}
	if excess := p.excess.Load(); excess != nil && p.exit.Signal == syscall.SIGKILL {
		p.exit.Excess = *excess
	} else if p.exit.Signal == syscall.SIGKILL {
		p.exit.OutOfMemory = p.supervisor.blame(p)
	}
	_, _ = reports.Close(), p.orders.Close()
	select {
	case <-p.Output.done:
	case <-time.After(time.Second): // somebody beyond our reach holds the pipe
	}
	p.Output.close()
	close(p.done)
}

// count notes how many kills for memory there were before the process is there: the guard
// still waits for its order.
func (s *Supervisor) count(p *Process) {
	p.kills = outOfMemoryKills()
	s.mu.Lock()
	defer s.mu.Unlock()
	p.blamed = s.blamed
}

// blame says whether the kernel killed the process for memory: whether it killed more since
// the process started than others are known to have died of.
func (s *Supervisor) blame(p *Process) bool {
	kills := outOfMemoryKills()
	s.mu.Lock()
	defer s.mu.Unlock()
	if kills-p.kills <= s.blamed-p.blamed {
		return false
	}
	s.blamed++
	return true
}

// bury waits for a guard's end.
func (s *Supervisor) bury(p *Process) {
	for {
		if _, err := syscall.Wait4(p.guard, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guards, p.guard)
}

// sweep kills what a guard that was killed itself left behind. By now these are below this
// process: in other process groups, and below no guard.
func (s *Supervisor) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	ticker := time.NewTicker(guard.KillEvery)
	defer ticker.Stop()
	for deadline := time.After(guard.KillWithin); ; {
		left := s.orphans()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
		select {
		case <-deadline:
			return
		case <-ticker.C:
		}
	}
}

func (s *Supervisor) orphans() []int {
	own := syscall.Getpgrp()
	return slices.DeleteFunc(guard.Descendants(os.Getpid(), s.guards), func(pid int) bool {
		group, err := syscall.Getpgid(pid)
		return err != nil || group == own
	})
}

// Done is closed when the process and everything it started are gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the process and everything it started are gone.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Stop asks the process and its descendants to end, kills them after the grace period,
// and waits until they are gone.
func (p *Process) Stop() Exit { return p.end(guard.Stop, p.supervisor.Grace) }

// Kill kills the process and its descendants and waits until they are gone.
func (p *Process) Kill() Exit { return p.end(guard.Kill, 0) }

func (p *Process) end(how string, grace time.Duration) Exit {
	_, _ = p.orders.Write(guard.Message(how)) // it fails when the guard is gone, which is as good
	timer := time.NewTimer(grace + guardWithin)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		// The guard does not answer: somebody stopped it. Its end kills the process, and
		// what the process leaves becomes ours.
		_ = syscall.Kill(p.guard, syscall.SIGKILL)
	}
	return p.Wait()
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error {
	err := syscall.Kill(p.Pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
