// Package process runs tasks on this machine: in a number of bundle-worker processes,
// each of which gets one task at a time on its standard input, as a line of JSON, and
// answers with the result as a line on its standard output.
//
// A worker process that dies is replaced, and its task tried once more; the simulations
// are processes of the worker's, which sees to it that they end when it does.
package process

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// Executor is a [jobs.Executor] of worker processes.
type Executor struct {
	Program   string   // bundle-worker, a path
	EnvFile   string   // the environment file that the workers use
	Environ   []string // variables of the workers
	Outputs   string   // directory for outputs that are too large for a line; made by Run
	Processes int      // at most so many at once; 0 for as many as there are cores
	Log       *slog.Logger

	// Open opens the outputs of replicates that lie in the storage, for evaluations.
	Open func(ctx context.Context, artifact contracts.Artifact) (io.ReadCloser, error)
}

// Supported is nil where worker processes can run, and else an error that says where.
func Supported() error {
	if runtime.GOOS != "windows" {
		return nil
	}
	return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
		Message: "tasks cannot run on Windows itself",
		Hint:    "run mops in WSL (wsl --install), where it is the Linux version, or on a Linux or macOS machine"}
}

// Run implements [jobs.Executor].
func (e *Executor) Run(ctx context.Context, tasks <-chan jobs.Task, results chan<- jobs.Result) error {
	if err := Supported(); err != nil {
		return err
	}
	if err := os.MkdirAll(e.Outputs, 0o700); err != nil {
		return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageStore, Message: "directory for outputs: " + err.Error()}).Because(err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	launcher := newLauncher()
	defer launcher.close()
	count := e.Processes
	if count == 0 {
		count = ThisMachine().AtOnce(contracts.Resources{})
	}
	var wg sync.WaitGroup
	for number := range count {
		wg.Go(func() {
			s := &slot{Executor: e, launcher: launcher, inputs: e.inputs(number), log: e.Log.With("worker", number)}
			defer s.close()
			for {
				var task jobs.Task
				var more bool
				select {
				case task, more = <-tasks:
				case <-ctx.Done():
				}
				if !more {
					return
				}
				answer, err := s.run(ctx, task)
				if err != nil {
					stop(err)
					return
				}
				select {
				case results <- jobs.Result{Task: task, Return: answer, Dir: e.Outputs}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// slot is the place of one worker process.
type slot struct {
	*Executor
	launcher *launcher
	inputs   string // directory
	log      *slog.Logger
	worker   *worker // nil before the first task, and after a death
}

// tries is how often a task is run when it, or its worker, fails in a way that another
// try can help.
const tries = 2

// run runs a task. The error is for what no task could run with, and for the context's
// end.
func (s *slot) run(ctx context.Context, task jobs.Task) (*contracts.SimReturn, error) {
	task, remove, err := s.stage(ctx, task)
	defer remove()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return task.Failed(contracts.AsError(err)), nil
	}
	for try := 1; ; try++ {
		if s.worker == nil {
			var err error
			if s.worker, err = s.launcher.start(s.Executor, s.inputs, s.log); err != nil {
				return nil, err
			}
		}
		answer, failure := s.worker.do(ctx, task)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if failure != nil {
			s.log.Warn("worker is gone", "task", task.Key, "code", failure.Code, "message", failure.Message)
			s.worker.kill()
			s.worker = nil
			answer = task.Failed(failure)
		}
		if answer.Error == nil || !answer.Error.Retryable || try == tries {
			return answer, nil
		}
		s.log.Warn("task is tried again", "task", task.Key, "code", answer.Error.Code, "message", answer.Error.Message)
	}
}

func (s *slot) close() {
	if s.worker != nil {
		s.worker.close()
	}
}

// limit is how long the executor waits for a task: the worker keeps the task's own time
// limit, and this is for a worker that does not.
func limit(task jobs.Task) time.Duration {
	const slack = time.Hour // bundle and environment may have to be made first
	if task.Sim.Resources == nil {
		return 0
	}
	timeout, err := task.Sim.Resources.TimeoutDuration()
	if err != nil || timeout == 0 {
		return 0
	}
	return timeout + max(slack, timeout/4)
}

// overdue is the error of a worker that kept a task longer than that.
func overdue(task jobs.Task) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeTimeout, Stage: contracts.StageRun,
		Message: fmt.Sprintf("the worker did not answer within %s; the task's time limit is %s", limit(task), task.Sim.Resources.Timeout)}
}
