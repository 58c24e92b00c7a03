//go:build unix

package runner

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// GuardArgument is the first argument that makes a program of the suite a guard. A main
// that runs processes passes it on to [Guard] before it does anything else.
const GuardArgument = "__guard"

const (
	firstExtra = 3                    // descriptors 0 to 2 are the process's streams
	killWithin = 5 * time.Second      // for processes that were killed to go away
	killEvery  = 5 * time.Millisecond // between looks at what is left
	maxOrder   = 16 << 20             // bytes of an order
	commandEnd = "\n"                 // of orders and reports
	orderStop  = "stop"               // SIGTERM, and SIGKILL after the grace period
	orderKill  = "kill"               // SIGKILL
)

// order is what the worker tells the guard to run.
type order struct {
	Path      string        `json:"path"`
	Args      []string      `json:"args"`
	Env       []string      `json:"env"`
	Dir       string        `json:"dir"`
	Grace     time.Duration `json:"grace"`
	SameGroup bool          `json:"same_group"`
	Stdin     string        `json:"stdin"`   // a file
	Scratch   string        `json:"scratch"` // removed when the worker is gone
	Remove    bool          `json:"remove"`  // and in any case
}

// report is what the guard tells the worker.
type report struct {
	Pid    int    `json:"pid,omitempty"`
	Failed string `json:"failed,omitempty"` // the process did not start
	Errno  int    `json:"errno,omitempty"`
	Ended  bool   `json:"ended,omitempty"`
	Code   int    `json:"code,omitempty"`
	Signal int    `json:"signal,omitempty"`
	Core   bool   `json:"core,omitempty"`
}

// Guard is the body of the guard's process. args are those after [GuardArgument]: how
// many descriptors from 3 on are the process's. The two after them are the worker's: the
// one that orders come from, and the one that reports go to. It returns the exit code.
func Guard(args []string) int {
	if len(args) != 1 {
		return 2
	}
	files, err := strconv.Atoi(args[0])
	if err != nil || files < 0 || files > 64 {
		return 2
	}
	runtime.LockOSThread() // the parent-death signal is bound to the thread that forks
	keepFrom(firstExtra + files)
	g := &guard{
		files:   files,
		orders:  bufio.NewReader(os.NewFile(uintptr(firstExtra+files), "orders")),
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
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= first {
			syscall.CloseOnExec(fd)
		}
	}
}

type guard struct {
	files   int
	orders  *bufio.Reader
	reports *os.File
	order   order
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
	becomeReaper()
	if err := g.start(); err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		g.report(report{Failed: err.Error(), Errno: int(errno)})
		if g.alone() {
			g.clean()
		}
		return 1
	}
	g.report(report{Pid: g.pid})
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
func (g *guard) alone() bool {
	orders := []unix.PollFd{{Fd: int32(firstExtra + g.files), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(orders, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && orders[0].Revents&unix.POLLHUP != 0
		}
	}
}

// clean removes what is the process's own.
func (g *guard) clean() {
	if g.order.Scratch != "" {
		_ = RemoveAll(g.order.Scratch)
	}
}

// read reads an order to run something.
func (g *guard) read() error {
	line, err := readOrder(g.orders)
	if err != nil {
		return err
	}
	return json.Unmarshal(line, &g.order)
}

// readOrder reads a line of the worker.
func readOrder(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxOrder {
			return nil, err
		}
	}
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

func (g *guard) report(r report) {
	line, err := json.Marshal(r)
	if err == nil {
		_, _ = io.WriteString(g.reports, string(line)+commandEnd) // a worker that is gone reads nothing
	}
}

func ended(status syscall.WaitStatus) report {
	if status.Signaled() {
		return report{Ended: true, Signal: int(status.Signal()), Core: status.CoreDump()}
	}
	return report{Ended: true, Code: status.ExitStatus()}
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
		line, err := readOrder(g.orders)
		if err != nil {
			close(orphaned)
			return
		}
		switch string(line) {
		case orderStop + commandEnd:
			g.signal(syscall.SIGTERM)
			g.signal(syscall.SIGCONT) // a stopped process cannot end itself
			time.AfterFunc(g.order.Grace, func() { g.signal(syscall.SIGKILL) })
		case orderKill + commandEnd:
			g.signal(syscall.SIGKILL)
		}
	}
}

// signal sends a signal to the process, its group and all its descendants.
func (g *guard) signal(s syscall.Signal) {
	if !g.order.SameGroup {
		_ = syscall.Kill(-g.pid, s)
	}
	for _, pid := range descendants(os.Getpid(), nil) {
		_ = syscall.Kill(pid, s)
	}
}

// clear kills whatever is left below the guard and waits until it is gone.
func (g *guard) clear(none <-chan struct{}) {
	ticker := time.NewTicker(killEvery)
	defer ticker.Stop()
	deadline := time.After(killWithin)
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
