package driver

import (
	"os"
	"os/exec"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// Spawn starts a program that will drive the job, on its own: it outlives the terminal
// and this process, and writes to the job's log. ended is closed when it ends while this
// process is still there to see it.
func Spawn(local jobs.Local, id, program string, args, environ []string) (ended <-chan struct{}, err error) {
	failed := func(err error) error {
		return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageSubmit,
			Message: "cannot start the driver of job " + id + ": " + err.Error(), Hint: "try again: mops jobs resume " + id}).Because(err)
	}
	if err := os.MkdirAll(local.Dir(id), 0o700); err != nil {
		return nil, failed(err)
	}
	log, err := os.OpenFile(local.LogFile(id), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, failed(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir = environ, local.Dir(id)
	cmd.Stdout, cmd.Stderr = log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, failed(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	return done, nil
}
