//go:build unix && !linux

package runner

import "syscall"

func processAttributes(ownGroup bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: ownGroup}
}

// becomeReaper does nothing: this system has no reaper but the first process. A daemon
// that leaves its process group is not found here.
func becomeReaper() {}

func preferForOutOfMemory(int) {}

func duplicate(from, to int) error { return syscall.Dup2(from, to) }

// descendants is empty: the process group is all that is known here.
func descendants(int, map[int]bool) []int { return nil }
