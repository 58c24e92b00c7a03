//go:build unix

package guard

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// Argument is the first argument that makes a program which links this package a guard. The
// one after it says how many descriptors from 3 on are the process's. The two after those
// are the worker's: the one that orders come from, and the one that reports go to.
const Argument = "__guard"

// init makes the program a guard before most of what it links is initialised, which takes
// three times as long as the rest of a guard's start. Of the packages whose imports are
// initialised, Go takes the one with the smallest path next. So this one has its turn early
// as long as it imports nothing that package os does not need itself, or that comes right
// after it: no strings, strconv, bufio or fmt.
//
// As early, exec starts the guard that it will need.
func init() {
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case Argument:
		os.Exit(run(os.Args[2:]))
	case "exec":
		early = begin()
	}
}

const (
	// KillWithin is how long processes that were killed have to go away.
	KillWithin = 5 * time.Second
	// KillEvery is the time between looks at what is left.
	KillEvery = 5 * time.Millisecond

	firstExtra = 3 // descriptors 0 to 2 are the process's streams
)

// run is the body of the guard's process. It returns the exit code.
func run(args []string) int {
	if len(args) != 1 {
		return 2
	}
	files, ok := parseNumber(args[0])
	if !ok || files > 64 {
		return 2
	}
	runtime.LockOSThread() // the parent-death signal is bound to the thread that forks
	keepFrom(firstExtra + files)
	g := &guard{
		files:   files,
		orders:  os.NewFile(uintptr(firstExtra+files), "orders"),
		reports: os.NewFile(uintptr(firstExtra+files+1), "reports"),
	}
	// Signals of the terminal reach the guard when it shares the worker's group. They are
	// the worker's to act on. They are caught, not ignored: exec would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	return g.run()
}

// keepFrom keeps the descriptors from first on from the process: the worker's two, and
// whatever the worker itself was started with.
func keepFrom(first int) {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if fd, ok := parseNumber(entry.Name()); ok && fd >= first {
			syscall.CloseOnExec(fd)
		}
	}
}

type guard struct {
	files   int
	orders  *os.File
	reports *os.File
	order   Order
	pid     int
}

func (g *guard) run() int {
	if g.read() != nil { // what to remove
		return 2
	}
	if g.read() != nil { // what to run
		g.clean()
		return 2
	}
	BecomeReaper()
	if err := g.start(); err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		g.report(Report{Errno: int(errno)})
		if g.alone() {
			g.clean()
		}
		return 1
	}
	g.report(Report{Pid: g.pid})
	main := make(chan syscall.WaitStatus, 1)
	none := make(chan struct{})
	go g.reap(main, none)
	orphaned := make(chan struct{})
	go g.obey(orphaned)
	select {
	case status := <-main:
		g.report(ended(status))
	case <-orphaned:
	}
	g.clear(none)
	if g.order.Remove || g.alone() {
		g.clean()
	}
	return 0
}

// alone says that the worker is gone. The process may end because of that before anybody
// else has noticed.
func (g *guard) alone() bool { return hungUp(firstExtra + g.files) }

// clean removes what is the process's own.
func (g *guard) clean() {
	if g.order.Scratch != "" {
		_ = RemoveAll(g.order.Scratch)
	}
}

// read reads an order to run something.
func (g *guard) read() error {
	words, err := readMessage(g.orders)
	if err == nil {
		g.order, err = parseOrder(words)
	}
	return err
}

// start starts the process, and lets go of everything that is its own.
func (g *guard) start() error {
	files := make([]uintptr, 0, firstExtra+g.files)
	for fd := range firstExtra + g.files {
		files = append(files, uintptr(fd))
	}
	if g.order.Stdin != "" {
		stdin, err := os.Open(g.order.Stdin)
		if err != nil {
			return err
		}
		defer func() { _ = stdin.Close() }()
		files[0] = stdin.Fd()
	}
	pid, err := syscall.ForkExec(g.order.Path, g.order.Args, &syscall.ProcAttr{
		Dir: g.order.Dir, Env: g.order.Env, Files: files, Sys: processAttributes(!g.order.SameGroup),
	})
	if err != nil {
		return err
	}
	g.pid = pid
	preferForOutOfMemory(pid)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil // the streams then stay open for as long as the guard lives
	}
	for fd := range firstExtra {
		_ = duplicate(int(null.Fd()), fd)
	}
	for fd := firstExtra; fd < firstExtra+g.files; fd++ {
		_ = syscall.Close(fd)
	}
	_ = null.Close()
	return nil
}

func (g *guard) report(r Report) {
	_, _ = g.reports.Write(r.message()) // a worker that is gone reads nothing
}

func ended(status syscall.WaitStatus) Report {
	if status.Signaled() {
		return Report{Ended: true, Signal: int(status.Signal()), Core: status.CoreDump()}
	}
	return Report{Ended: true, Code: status.ExitStatus()}
}

// reap collects every process that ends below the guard. It sends the main one's status,
// and closes none when there is nothing left; when both are so at once, none comes first.
func (g *guard) reap(main chan<- syscall.WaitStatus, none chan<- struct{}) {
	options := 0
	var status syscall.WaitStatus
	for {
		var each syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &each, options, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			close(none)
		case pid == g.pid:
			status, options = each, syscall.WNOHANG
			continue
		}
		if options != 0 {
			main <- status
			options = 0
		}
		if err != nil {
			return
		}
	}
}

// obey carries out the worker's orders until the worker goes away.
func (g *guard) obey(orphaned chan<- struct{}) {
	for {
		words, err := readMessage(g.orders)
		if err != nil || len(words) != 1 {
			close(orphaned)
			return
		}
		switch words[0] {
		case Stop:
			g.signal(syscall.SIGTERM)
			g.signal(syscall.SIGCONT) // a stopped process cannot end itself
			time.AfterFunc(g.order.Grace, func() { g.signal(syscall.SIGKILL) })
		case Kill:
			g.signal(syscall.SIGKILL)
		}
	}
}

// signal sends a signal to the process, its group and all its descendants.
func (g *guard) signal(s syscall.Signal) {
	if !g.order.SameGroup {
		_ = syscall.Kill(-g.pid, s)
	}
	for _, pid := range Descendants(os.Getpid(), nil) {
		_ = syscall.Kill(pid, s)
	}
}

// clear kills whatever is left below the guard and waits until it is gone.
func (g *guard) clear(none <-chan struct{}) {
	ticker := time.NewTicker(KillEvery)
	defer ticker.Stop()
	deadline := time.After(KillWithin)
	for {
		select {
		case <-none:
			return
		case <-deadline:
			return
		default:
		}
		g.signal(syscall.SIGKILL)
		select {
		case <-none:
			return
		case <-deadline:
			return
		case <-ticker.C:
		}
	}
}
