//go:build unix

package serve

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Owner is closed when the process is gone. The error is for a process that is not there.
func Owner(pid int) (<-chan struct{}, error) {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return nil, (&contracts.Error{
			Code: contracts.CodeNotFound, Stage: contracts.StageCommand,
			Message: "the process of --parent-pid is not there", Hint: "it is the number of the process that this one is to end with",
		}).Because(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if !await(pid) {
			poll(pid)
		}
	}()
	return gone, nil
}

// pollEvery is how often a process is looked for where the system does not tell.
const pollEvery = 200 * time.Millisecond

// poll waits until the process is gone. Our own parent is gone when we have another one,
// even if nobody has noticed yet.
func poll(pid int) {
	parent := os.Getppid() == pid
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for range ticker.C {
		if parent && os.Getppid() != pid || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
	}
}
