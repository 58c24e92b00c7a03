package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

// TestUpKilledAtEveryChange kills "mops infra up" before each system call that changes
// files, in turn (envfs06): the environment file is the old one or the new one, to the
// byte, and what was being written beside it is gone after a later "up".
func TestUpKilledAtEveryChange(t *testing.T) {
	base := t.TempDir()
	home := filepath.Join(base, "home")
	t.Cleanup(func() { stopAll(t, base) })
	mops, err := exec.LookPath("mops")
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"MODELOPS_HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + base, "GORACE=" + quickExit}
	must := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(mops, args...)
		cmd.Env = environ
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("mops %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		data, err := environment.Open(home).Read("local")
		if err != nil {
			t.Fatal(err)
		}
		return withoutTime(string(data))
	}
	after := must("infra", "up")
	kept := map[string]int{}
	for n := 0; ; n++ {
		before := must("infra", "down", "--destroy-storage", "--confirm", "local")
		killed := killBefore(t, n, mops, []string{"mops", "infra", "up"}, environ)
		data, err := environment.Open(home).Read("local")
		if err != nil {
			t.Fatalf("killed before change %d: %v", n, err)
		}
		switch now := withoutTime(string(data)); now {
		case before:
			kept["old"]++
		case after:
			kept["new"]++
		default:
			t.Fatalf("killed before change %d, it is\n%s", n, now)
		}
		if got := must("infra", "up"); got != after {
			t.Errorf("killed before change %d, the next up makes it\n%s", n, got)
		}
		if !killed {
			break
		}
		if n > 1000 {
			t.Fatal("it has no end")
		}
	}
	if kept["old"] < 5 || kept["new"] < 2 {
		t.Errorf("no moment before and after the change was met: %v", kept)
	}
	dir := environment.Open(home).Dir()
	torn := 0
	for _, entry := range entriesOf(t, dir) {
		if entry.Name() != "local.yaml" { // long ago, for all that anybody knows
			torn++
			if err := os.Chtimes(filepath.Join(dir, entry.Name()), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	must("infra", "up")
	if left := entriesOf(t, dir); torn == 0 || len(left) != 1 {
		t.Errorf("%d were left over, and now there is %v", torn, left)
	}
}

func entriesOf(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// withoutTime is an environment file without the line that says when it was written.
func withoutTime(file string) string {
	lines := slices.DeleteFunc(strings.Split(file, "\n"), func(line string) bool { return strings.HasPrefix(line, "timestamp:") })
	return strings.Join(lines, "\n")
}

// changes are the system calls that change files, or make what was changed last.
func changes() []uint64 {
	return []uint64{
		unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FTRUNCATE, unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
		unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT,
	}
}

// killBefore runs a program and kills it when it has made n changes and is about to make
// another; false says that it ended before. What the program starts runs free.
func killBefore(t *testing.T, n int, path string, argv, environ []string) bool {
	t.Helper()
	runtime.LockOSThread() // which traces
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: environ, Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	err = unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL)
	if err != nil {
		t.Fatal(err)
	}
	for tid, signal := pid, 0; ; {
		if err := unix.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		if tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil); err != nil {
			t.Fatal(err)
		}
		for !status.Stopped() { // a thread ended, or the program
			if tid == pid {
				return status.Signaled() && status.Signal() == unix.SIGKILL
			}
			if tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil); err != nil {
				t.Fatal(err)
			}
		}
		signal = 0
		switch stop := status.StopSignal(); {
		case stop == unix.SIGTRAP|0x80:
			if entersChange(t, tid) {
				if n--; n < 0 {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		case stop != unix.SIGTRAP && stop != unix.SIGSTOP: // those are of the tracing
			signal = int(stop)
		}
	}
}

// entersChange says whether a thread is about to make a change.
func entersChange(t *testing.T, tid int) bool {
	var info struct {
		op   uint8 // 1 is entry
		_    [3]uint8
		arch uint32
		_    [2]uint64
		nr   uint64
		_    [6]uint64
	}
	const getSyscallInfo = 0x420e
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 && errno != unix.ESRCH {
		t.Fatal(errno)
	}
	return errno == 0 && info.op == 1 && slices.Contains(changes(), info.nr)
}
