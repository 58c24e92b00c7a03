package runner

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func processAttributes(ownGroup bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: ownGroup, Pdeathsig: syscall.SIGKILL}
}

// becomeReaper makes this process the parent of every descendant whose own parent ends.
func becomeReaper() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// preferForOutOfMemory tells the kernel to take this process first when memory runs out,
// and not the worker that would report it.
func preferForOutOfMemory(pid int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("1000"), 0)
}

func duplicate(from, to int) error { return unix.Dup3(from, to, 0) }

// descendants are the processes below this one, its children's children included, but for
// those of except and below.
func descendants(pid int, except map[int]bool) []int {
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
		pid, err := strconv.Atoi(name)
		if err != nil {
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
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	stat := string(data)
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 || fields[0] == "Z" {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}
