//go:build unix

package daemon

import (
	"os/exec"
	"syscall"
)

// detach makes the process the leader of a session of its own: neither the terminal's
// signals nor its end reach it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
