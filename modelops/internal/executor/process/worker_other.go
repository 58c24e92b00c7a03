//go:build unix && !linux

package process

import "syscall"

// attributes give the worker a process group. It ends with the driver because its
// standard input does.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
