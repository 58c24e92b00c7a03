package jobs

import (
	"context"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Where tasks run: see the packages below internal/executor.
const (
	Process = "process" // worker processes on this machine
	Dask    = "dask"    // the workers of a Dask cluster
)

// Task is a task on its way to a worker: a simulation, or the evaluation of a target over
// replicates. The outputs of these are as the archive has them, inline or "blob:<checksum>";
// how they get to where the evaluation runs is for the executor, which knows where that is.
type Task struct {
	Key string // its identity, see [contracts.SimTask.Key]
	Sim contracts.SimTask
}

// Result is what became of a task.
type Result struct {
	Task   Task
	Return *contracts.SimReturn
	// Dir is where the files are that outputs refer to as "file:<checksum>". It is "" when
	// the worker stored them: they refer to "blob:<checksum>" then.
	Dir string
}

// Check is the error of an answer to another question than the one that was asked, and nil
// for an answer to it: the content is that of the task's bundle.
func (r *Result) Check(content contracts.Digest) *contracts.Error {
	message := ""
	switch got := r.Return; {
	case got.TaskID != r.Task.Key:
		message = "the worker answered for task " + contracts.Quote(got.TaskID) + " when asked for " + r.Task.Key
	case got.ContentDigest != "" && got.ContentDigest != content:
		message = "the worker ran content " + got.ContentDigest.String() + " when asked for " + content.String()
	case got.Error == nil && r.Task.Sim.Evaluates() != (got.Evaluation != nil):
		message = "the worker answered outputs for an evaluation, or an evaluation for a simulation: task " + r.Task.Key
	default:
		return nil
	}
	return &contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageStore, Message: message}
}

// Failed is the result of a task that has no worker's answer.
func (t Task) Failed(failure *contracts.Error) *contracts.SimReturn {
	return &contracts.SimReturn{TaskID: t.Key, Bundle: t.Sim.Bundle.String(), Outputs: map[string]contracts.Artifact{}, Error: failure, StderrTail: failure.StderrTail}
}

// Executor runs tasks somewhere.
type Executor interface {
	// Run runs what arrives on tasks, until that is closed, and sends one result per
	// task, in any order; a task that could not be run is a result with an error. It
	// takes a task only when it can begin with it, so that whoever sends knows how far
	// ahead to think. It returns when everything was sent, or with an error when it
	// cannot run anything.
	//
	// When ctx ends, what runs is killed, together with the processes it started, and
	// gets no result; then Run returns the context's error.
	Run(ctx context.Context, tasks <-chan Task, results chan<- Result) error
}
