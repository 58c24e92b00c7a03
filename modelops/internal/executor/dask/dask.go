// Package dask runs tasks on a Dask cluster. The cluster moves batches of tasks to its
// workers and their results back; what it knows of a task is bytes.
//
// On this side, bridge.py is a client of the cluster's scheduler and speaks lines of JSON
// with this package. On the other side, a plugin that travels with the job owns one
// "bundle-worker serve" in each Dask worker and hands it the tasks. Which tasks there are,
// what became of them, and what is tried again is decided here.
//
// A cluster promises little: workers come and go, the scheduler may, and what it says of a
// task is not what counts. A task is done when its result has come back, and until then it
// is given away again; its outputs are where they belong before its result says so.
package dask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// Executor is a [jobs.Executor] of a Dask cluster.
type Executor struct {
	Compute contracts.Compute // the scheduler
	Worker  string            // bundle-worker, a path: what workers get that have none
	// Environment is the environment file's text, for workers that have none of their own.
	Environment []byte
	Job         string // its identifier
	Home        string // the suite's, where the bridge's Python environment is kept
	Environ     []string
	Log         *slog.Logger
	Patience    time.Duration // how long it waits for a scheduler or workers that are gone; 0 for five minutes

	waiting atomic.Pointer[jobs.Wait]
}

const defaultPatience = 5 * time.Minute

// fruitlessMost is how many sessions may begin and end without one result between them:
// what ended that many, such as an answer that is too long for a line, ends the next.
const fruitlessMost = 5

// Run implements [jobs.Executor].
func (e *Executor) Run(ctx context.Context, tasks <-chan jobs.Task, results chan<- jobs.Result) error {
	r := &running{Executor: e, tasks: tasks, results: results, flight: map[string]*batch{}}
	if r.Patience == 0 {
		r.Patience = defaultPatience
	}
	var lost time.Time // when the cluster went
	fruitless := 0     // sessions since the last result
	for {
		began, settled := time.Now(), r.settled
		err := r.session(ctx)
		var gone *goneError
		if !errors.As(err, &gone) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.settled > settled {
			fruitless = 0
		} else if gone.worked {
			fruitless++
		}
		if fruitless == fruitlessMost {
			return gone.envelope
		}
		if lost.IsZero() || gone.worked {
			lost = began
			if gone.worked {
				lost = time.Now()
			}
		}
		if time.Since(lost) > r.Patience {
			return gone.envelope
		}
		r.wait(gone.envelope.Message, lost.Add(r.Patience))
		e.Log.Warn("the cluster is gone; trying again", "reason", gone.envelope.Message, "given up after", r.Patience)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Waiting is what a run that goes on waits for; nil when it does not.
func (e *Executor) Waiting() *jobs.Wait { return e.waiting.Load() }

func (e *Executor) wait(what string, until time.Time) {
	e.waiting.Store(&jobs.Wait{For: what, Until: until.UTC().Format(time.RFC3339)})
}

// goneError is a cluster that went, or did not come, and may come yet.
type goneError struct {
	envelope *contracts.Error
	worked   bool // tasks could be given to it
}

func (e *goneError) Error() string { return e.envelope.Message }

// Inline bounds the outputs of replicates that travel with an evaluation, in bytes: driver,
// bridge and scheduler hold those of all evaluations that are given away.
const Inline = 1 << 20

// running is one run of an executor, over any number of sessions with the cluster.
type running struct {
	*Executor
	tasks   <-chan jobs.Task
	results chan<- jobs.Result

	again   []*attempt        // tasks to be given away before those that come
	flight  map[string]*batch // what the cluster has
	bytes   int               // of its documents
	count   int               // of batches so far
	settled int               // tasks that have a result
	met     bool              // the cluster could run what was asked of it
	known   string            // digest of an environment that a result described
	done    bool              // no more tasks come
	pace    pace
}

// attempt is a task, how often it was tried, and on which workers that did not help.
type attempt struct {
	task  jobs.Task
	tries int
	avoid []string
	again bool // it was given away before, and goes before those that were not
}

// batch are tasks that a worker runs one after the other. While one takes long, the worker
// says what ended before it, and leaves what comes after it to others.
type batch struct {
	attempts []*attempt
	bytes    int // of its documents
}

// tries is how often a task is run when it, or its worker, fails in a way that another try
// can help.
const tries = 3

// session works with one bridge, until all is done or the bridge ends.
func (r *running) session(ctx context.Context) error {
	b, err := r.connect(ctx)
	if err != nil {
		return err
	}
	r.waiting.Store(nil)
	defer b.close()
	defer context.AfterFunc(ctx, b.hangUp)()
	for _, held := range r.flight { // a session before this one gave them away
		r.again = append(r.again, held.attempts...)
	}
	clear(r.flight)
	r.bytes = 0
	for {
		if r.done && len(r.again) == 0 && len(r.flight) == 0 {
			return nil
		}
		if err := r.give(ctx, b); err != nil {
			return err
		}
		var more <-chan jobs.Task
		if !r.done && len(r.again) == 0 && r.room(b) {
			more = r.tasks
		}
		select {
		case task, ok := <-more:
			if !ok {
				r.done = true
				continue
			}
			r.again = append(r.again, &attempt{task: task})
			r.gather()
		case line, ok := <-b.lines:
			if !ok {
				return b.ended(true)
			}
			if err := r.take(ctx, b, line); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// gatherTime is how long a batch that is not full waits for the next task: the driver has
// it ready, or has none.
const gatherTime = 5 * time.Millisecond

// gather fills a batch with tasks that are ready.
func (r *running) gather() {
	patience := time.NewTimer(gatherTime)
	defer patience.Stop()
	for len(r.again) < r.pace.size() {
		select {
		case task, ok := <-r.tasks:
			if !ok {
				r.done = true
				return
			}
			r.again = append(r.again, &attempt{task: task})
		case <-patience.C:
			return
		}
	}
}

// flightBytes bounds the documents of what the cluster has, but for one batch.
const flightBytes = 64 << 20

// room says whether the cluster may have another batch.
func (r *running) room(b *bridge) bool { return len(r.flight) < b.window() && r.bytes < flightBytes }

// give hands waiting tasks to the cluster while it has room.
func (r *running) give(ctx context.Context, b *bridge) error {
	for len(r.again) > 0 && r.room(b) {
		next, documents, bytes, err := r.next()
		if err != nil {
			if err := r.finish(ctx, next[0].task, next[0].task.Failed(contracts.AsError(err))); err != nil {
				return err
			}
			continue
		}
		needs, unmet := b.needs(next[0].task.Sim.Resources)
		if unmet != nil && !r.met { // later, the worker that could may come back
			return unmet
		}
		r.met = r.met || next[0].task.Sim.Resources != nil
		r.count++
		name := batchName(r.count)
		r.flight[name] = &batch{next, bytes}
		r.bytes += bytes
		if err := b.submit(name, next, documents, needs, r.known); err != nil {
			return b.ended(true)
		}
	}
	return nil
}

// next takes the tasks of one batch from those that wait, with their documents and how many
// bytes these have. An error is that of the only one.
func (r *running) next() (next []*attempt, documents []string, bytes int, err error) {
	for _, a := range r.again[:min(r.pace.size(), len(r.again))] {
		// What made one batch fail does not make two, and one batch asks for one thing.
		if len(next) > 0 && (next[0].tries > 0 || a.tries > 0 || a.task.Sim.Resources != next[0].task.Sim.Resources) {
			break
		}
		var text string
		text, err = document(a.task)
		if len(next) > 0 && (err != nil || bytes+len(text) > batchBytes) {
			err = nil
			break
		}
		next, documents, bytes = append(next, a), append(documents, text), bytes+len(text)
		if err != nil {
			break
		}
	}
	r.again = r.again[len(next):]
	return next, documents, bytes, err
}

// take takes in what the bridge says.
func (r *running) take(ctx context.Context, b *bridge, line *line) error {
	switch {
	case line.Workers != nil:
		b.workers = *line.Workers
		r.Log.Info("workers", "count", len(b.workers), "threads", b.threads())
	case line.Unusable != nil:
		r.Log.Warn("a worker cannot run tasks, and closes", "worker", line.Unusable.Worker, "reason", line.Unusable.Why)
	case line.Waiting != "":
		r.wait(line.Waiting, time.Now().Add(r.Patience))
	case line.Batch != "":
		held := r.flight[line.Batch]
		if held == nil { // given away again since
			return nil
		}
		if !line.More {
			delete(r.flight, line.Batch)
			r.bytes -= held.bytes
		}
		return r.settle(ctx, held, line)
	}
	return nil
}

// settle sends the results of a batch, and puts what is to be tried again in line.
func (r *running) settle(ctx context.Context, held *batch, line *line) error {
	answers := map[string]answer{}
	for _, a := range line.Returns {
		answers[a.Key] = a
	}
	var rest []*attempt
	for _, a := range held.attempts {
		got, there := answers[a.task.Key]
		if !there && slices.Contains(line.Left, a.task.Key) {
			a.again = true // and that was no try
			r.again = append(r.again, a)
			continue
		}
		if !there && line.More {
			rest = append(rest, a)
			continue
		}
		a.tries++
		result := r.read(a, got, there, line.Lost)
		if result.Error != nil && another(result.Error) && a.tries < tries {
			r.Log.Warn("task is tried again", "task", a.task.Key, "worker", line.Worker, "code", result.Error.Code, "message", result.Error.Message)
			if line.Worker != "" {
				a.avoid = append(a.avoid, line.Worker)
			}
			a.again = true
			r.again = append(r.again, a)
			continue
		}
		nameWorker(result, line.Worker)
		r.pace.add(result.Seconds, len(got.Return))
		if err := r.finish(ctx, a.task, result); err != nil {
			return err
		}
	}
	held.attempts = rest
	return nil
}

// another says whether the task may succeed elsewhere: other machines have other disks, and
// other networks.
func another(e *contracts.Error) bool {
	return e.Retryable || e.Code == contracts.CodeDiskFull || e.Code == contracts.CodeUnavailable
}

// nameWorker has an error that may be the machine's say which one that is.
func nameWorker(result *contracts.SimReturn, worker string) {
	if result.Error != nil && another(result.Error) && worker != "" && !strings.Contains(result.Error.Message, worker) {
		named := *result.Error
		named.Message += ", on worker " + worker
		result.Error = &named
	}
}

// finish sends a task's result.
func (r *running) finish(ctx context.Context, task jobs.Task, result *contracts.SimReturn) error {
	select {
	case r.results <- jobs.Result{Task: task, Return: result}:
		r.settled++
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read is the result of a task as the cluster has it.
func (r *running) read(a *attempt, got answer, there bool, lost string) *contracts.SimReturn {
	var failure *contracts.Error
	switch {
	case lost != "":
		failure = lostTask(lost)
	case !there:
		failure = &contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageRun, Retryable: true, Message: "the cluster answered without the task's result"}
	case got.Why != "":
		failure = lostTask(got.Why)
	default:
		result, err := contracts.ParseReturn([]byte(got.Return))
		switch {
		case err != nil: // of a program that is broken, and another worker's may not be
			broken := *contracts.AsError(err)
			broken.Retryable, broken.Message = true, "the worker's answer to task "+a.task.Key+" is none: "+broken.Message
			failure = &broken
		case result.TaskID != a.task.Key && result.Error == nil: // one that failed early may have none
			failure = &contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageRun, Retryable: true,
				Message: "the worker answered for task " + contracts.Quote(result.TaskID) + " when asked for " + a.task.Key}
		default:
			if result.Environment != nil {
				r.known = result.EnvironmentDigest
			}
			return result
		}
	}
	return a.task.Failed(failure)
}

func lostTask(why string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, Retryable: true, Message: "the task's worker is gone: " + contracts.Quote(why)}
}

// pace decides how many tasks travel together: as many as a worker runs in a quarter of a
// second, so that the scheduler, which handles some hundred a second, is no bottleneck, and
// little is lost with a worker; and no more than whose results are a fair load.
type pace struct {
	seconds, bytes float64 // of a task and of its result, of late
	known          bool
}

const (
	batchSeconds = 0.25
	batchBytes   = 16 << 20
	batchMost    = 64
	taskLeast    = 0.001 // seconds that a task takes beside its simulation
)

func (p *pace) add(seconds float64, bytes int) {
	seconds += taskLeast
	if !p.known {
		p.seconds, p.bytes, p.known = seconds, float64(bytes), true
		return
	}
	p.seconds += (seconds - p.seconds) / 16
	p.bytes = max(float64(bytes), p.bytes+(float64(bytes)-p.bytes)/16) // it grows at once
}

func (p *pace) size() int {
	if !p.known {
		return 1
	}
	return max(1, min(batchMost, int(batchSeconds/p.seconds), int(batchBytes/max(1, p.bytes))))
}

// documentMost is how many bytes of a task bundle-worker takes.
const documentMost = 64 << 20

// document is a task as workers read it.
func document(task jobs.Task) (string, error) {
	data, err := json.Marshal(task.Sim)
	if err == nil && len(data) > documentMost {
		err = &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
			Message: fmt.Sprintf("task %s has %d MiB, and may have %d", task.Key, len(data)>>20, documentMost>>20),
			Hint:    "put large values into a file of the bundle"}
	}
	return string(data), err
}
