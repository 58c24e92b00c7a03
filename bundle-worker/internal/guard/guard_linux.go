package guard

import (
	"os"
	"syscall"
	"unsafe"
)

func processAttributes(ownGroup bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: ownGroup, Pdeathsig: syscall.SIGKILL}
}

// BecomeReaper makes this process the parent of every descendant whose own parent ends.
func BecomeReaper() {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0)
}

// preferForOutOfMemory tells the kernel to take this process first when memory runs out,
// and not the worker that would report it.
func preferForOutOfMemory(pid int) {
	_ = os.WriteFile("/proc/"+number(pid)+"/oom_score_adj", []byte("1000"), 0)
}

func duplicate(from, to int) error { return syscall.Dup3(from, to, 0) }

// hungUp says whether nobody has the other end of a pipe any more.
func hungUp(fd int) bool {
	const hangUp = 0x10 // POLLHUP
	look := struct {
		fd              int32
		events, noticed int16
	}{fd: int32(fd)}
	for {
		var at syscall.Timespec
		_, _, err := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&look)), 1, uintptr(unsafe.Pointer(&at)), 0, 0, 0)
		if err != syscall.EINTR {
			return err == 0 && look.noticed&hangUp != 0
		}
	}
}

// Descendants are the processes below this one, its children's children included, but for
// those of except and below.
func Descendants(pid int, except map[int]bool) []int {
	children := childrenByParent()
	var all []int
	for next := []int{pid}; len(next) > 0; {
		var found []int
		for _, parent := range next {
			for _, child := range children[parent] {
				if !except[child] {
					found = append(found, child)
				}
			}
		}
		all, next = append(all, found...), found
	}
	return all
}

// childrenByParent reads the process table.
func childrenByParent() map[int][]int {
	children := map[int][]int{}
	proc, err := os.Open("/proc")
	if err != nil {
		return children
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, ok := parseNumber(name)
		if !ok {
			continue
		}
		if parent, ok := parentOf(pid); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	return children
}

// parentOf reads /proc/PID/stat: "pid (name) state ppid …", where the name may hold
// anything.
func parentOf(pid int) (int, bool) {
	data, err := os.ReadFile("/proc/" + number(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	rest := string(data)
	for at := len(rest) - 1; at >= 0; at-- {
		if rest[at] == ')' {
			rest = rest[at+1:]
			break
		}
	}
	if len(rest) < len(" S 1") || rest[1] == 'Z' {
		return 0, false
	}
	end := len(" S ")
	for end < len(rest) && rest[end] != ' ' {
		end++
	}
	return parseNumber(rest[len(" S "):end])
}
