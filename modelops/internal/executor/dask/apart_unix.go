//go:build unix

package dask

import (
	"os/exec"
	"syscall"
)

// apart has an interrupt from the terminal end the driver, which then ends the bridge.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
