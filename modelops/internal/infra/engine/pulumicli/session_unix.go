//go:build unix

package pulumicli

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const executable = "pulumi"

func runnable(info fs.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }

func sameName(a, b string) bool { return a == b }

func session(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func interruptProcess(p *os.Process) error { return p.Signal(os.Interrupt) }

// endSession kills every process of a session. Those that are born meanwhile are found by
// looking again until there is nothing new. A session's number belongs to nobody else
// while one process of it is left.
func endSession(id int) {
	seen := map[int]bool{}
	for again := true; again; {
		again = false
		for _, pid := range processes() {
			if sid, err := unix.Getsid(pid); err != nil || sid != id || seen[pid] {
				continue
			}
			seen[pid], again = true, true
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
