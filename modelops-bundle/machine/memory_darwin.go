package machine

import "golang.org/x/sys/unix"

// Memory is the machine's memory in bytes; 0 when it is not known.
func Memory() int64 {
	size, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(size)
}
