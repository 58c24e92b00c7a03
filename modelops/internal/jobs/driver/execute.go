package driver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

const (
	batchTime  = 20 * time.Millisecond // a result waits no longer than this to be made durable
	batchCount = 512                   // nor for more than so many others
	batchBytes = 8 << 20               // or so many bytes of outputs
	queue      = 32                    // results that may wait while others are made durable
	heartbeat  = 5 * time.Second       // at least this often the driver says that it lives
	reportTime = time.Second           // at most this often how far it came
	checkTime  = 250 * time.Millisecond
)

// execution is the running part of an attempt.
type execution struct {
	*attempt
	ctx     context.Context
	stop    context.CancelCauseFunc
	canary  chan struct{} // closed when the first result of a simulation has come
	sink    *sink
	settled chan struct{} // has one when results became durable since somebody looked
	asker   *asker        // nil without a source

	reason   string // why it ends early
	reported time.Time
	counts   [2]jobs.Counts // that were reported, of tasks and evaluations
}

// execute runs every task that waits.
func (a *attempt) execute(ctx context.Context) (string, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	x := &execution{attempt: a, ctx: ctx, stop: stop, canary: make(chan struct{}), sink: newSink(a), settled: make(chan struct{}, 1), reported: a.Catalog.Now()}
	unlimit, err := a.limit(stop)
	if err != nil {
		return "", err
	}
	defer unlimit()
	tasks, results := make(chan jobs.Task), make(chan jobs.Result, queue)
	switch {
	case a.Source != nil:
		x.asker = newAsker(x)
		go x.asker.feed(tasks)
	case a.evaluations != nil:
		go newEvaluator(x).feed(tasks)
	default:
		go x.feed(tasks)
	}
	var executed error
	go func() {
		executed = a.Executor.Run(ctx, tasks, results)
		if executed != nil {
			stop(executed)
		}
		close(results)
	}()
	stored := x.sink.stage(ctx, results)
	err = x.loop(stored)
	for range stored { // after an error: what still comes is lost, and was never counted
	}
	cause := context.Cause(ctx)
	late, isLate := errors.AsType[*overdue](cause)
	switch {
	case err != nil:
		return "", err
	case isLate:
		return "", a.timeout(late)
	case errors.Is(cause, errEnough):
		return x.reason, nil
	case cause != nil:
		return "", cause
	}
	return "", executed
}

// feed hands the tasks that have no result to the executor, the first one alone: when
// that cannot work, nothing will. The first one is the canary.
func (x *execution) feed(tasks chan<- jobs.Task) {
	defer close(tasks)
	first := true
	for sim := range x.job.SimTasks(x.study) {
		task := jobs.Task{Key: sim.Key(x.job.Content), Sim: sim}
		if !x.tally.claim(task.Key) {
			continue
		}
		select {
		case tasks <- task:
			x.tally.start(task.Key)
		case <-x.ctx.Done():
			return
		}
		if first {
			select {
			case <-x.canary:
			case <-x.ctx.Done():
				return
			}
			first = false
		}
	}
}

// loop takes in what happens until the results end.
func (x *execution) loop(stored <-chan jobs.Result) error {
	check := time.NewTicker(checkTime)
	defer check.Stop()
	var batch batch
	var due <-chan time.Time
	for {
		select {
		case r, more := <-stored:
			if more {
				batch.add(r)
			}
			if more && !batch.full() {
				if due == nil {
					due = time.After(batchTime)
				}
				continue
			}
			if err := x.flush(&batch); err != nil || !more {
				return err
			}
			due = nil
		case <-due:
			if err := x.flush(&batch); err != nil {
				return err
			}
			due = nil
		case <-check.C:
			x.tick()
		}
	}
}

func (x *execution) tick() {
	if x.ctx.Err() == nil { // else it stops already
		switch err := x.look(x.ctx); {
		case errors.As(err, new(*movedError)):
			x.stop(err)
			return
		case err != nil:
			x.Log.Warn("the job's state cannot be read", "error", err)
			return // who cannot see that the job is his says nothing
		}
	}
	silence := x.Catalog.Now().Sub(x.reported)
	var counts [2]jobs.Counts
	counts[0], _ = x.tally.snapshot()
	if evaluations, _ := x.evaluated(); evaluations != nil {
		counts[1] = *evaluations
	}
	if silence >= heartbeat || counts != x.counts && silence >= reportTime {
		x.report(x.ctx, false)
		x.reported, x.counts = x.Catalog.Now(), counts
	}
}

// flush makes a batch durable and counts it.
func (x *execution) flush(b *batch) error {
	if len(b.results) == 0 {
		return nil
	}
	if err := x.sink.write(x.ctx, b.results); err != nil {
		x.stop(err)
		return err
	}
	for _, r := range b.results {
		if r.Task.Sim.Evaluates() {
			x.takeEvaluation(r)
		} else {
			x.take(r)
		}
	}
	x.asker.hear(b.results)
	*b = batch{}
	select {
	case x.settled <- struct{}{}:
	default:
	}
	return nil
}

// take counts one durable result, and decides whether it ends the job.
func (x *execution) take(r jobs.Result) {
	failure := r.Return.Error
	x.ran++
	if x.tally.done(r.Task.Key, failure) {
		x.Log.Error("task failed", "task", r.Task.Key, "set", r.Task.Sim.Set, "replicate", r.Task.Sim.Replicate,
			"code", failure.Code, "type", failure.Type, "message", failure.Message)
	}
	if x.ran == 1 {
		defer close(x.canary) // once it is decided whether another task is to run
	}
	first := ""
	if x.ran == 1 {
		first = "stopped after the first task: the others would fail alike"
	}
	x.judge(x.tally, r, first)
}

// batch are results that become durable together.
type batch struct {
	results []jobs.Result
	bytes   int
}

func (b *batch) add(r jobs.Result) {
	b.results = append(b.results, r)
	for _, output := range r.Return.Outputs {
		b.bytes += len(output.Inline)
	}
}

func (b *batch) full() bool { return len(b.results) >= batchCount || b.bytes >= batchBytes }

// guarded is a set that several goroutines use.
type guarded struct {
	mu  sync.Mutex
	set map[string]bool
}

func (g *guarded) has(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.set[key]
}

func (g *guarded) add(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set[key] = true
}
