//go:build unix

package runner

import "syscall"

// Exit is how a process ended.
type Exit struct {
	Code        int            // of the process's own; 137 is a code, not a signal
	Signal      syscall.Signal // 0 when it ended by itself
	Core        bool           // it left a memory dump
	Excess      Excess         // the supervisor killed it for its memory
	OutOfMemory bool           // the kernel did
	Lost        bool           // its guard was killed, and nobody knows
}

// Excess is more memory than a process may use; the zero value is none.
type Excess struct {
	Used, Limit int64 // bytes
	Processes   int   // that used it together
}
