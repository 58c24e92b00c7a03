//go:build unix

package driver

import (
	"os/exec"
	"syscall"
)

// detach makes the process the leader of a session of its own, which the terminal's end
// does not concern.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
