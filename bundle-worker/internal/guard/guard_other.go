//go:build unix && !linux

package guard

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func processAttributes(ownGroup bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: ownGroup}
}

// BecomeReaper does nothing: this system has no reaper but the first process. A daemon
// that leaves its process group is not found here.
func BecomeReaper() {}

func preferForOutOfMemory(int) {}

func duplicate(from, to int) error { return syscall.Dup2(from, to) }

// hungUp says whether nobody has the other end of a pipe any more.
func hungUp(fd int) bool {
	look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(look, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && look[0].Revents&unix.POLLHUP != 0
		}
	}
}

// Descendants is empty: the process group is all that is known here.
func Descendants(int, map[int]bool) []int { return nil }
