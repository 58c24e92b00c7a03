package process

import "syscall"

// attributes give the worker a process group, and an end when the driver ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
