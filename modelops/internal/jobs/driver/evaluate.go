package driver

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// located says where the results are that evaluations read, those of this attempt
// included.
type located struct {
	mu    sync.Mutex
	index *archive.Index
}

func (l *located) find(key string) (archive.Where, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index.Find(key)
}

// add takes in a segment that was written.
func (l *located) add(segment, job string, results []*contracts.SimReturn) {
	if l == nil || len(results) == 0 { // nothing is evaluated
		return
	}
	keys := make([]string, len(results))
	for i, r := range results {
		keys[i] = r.TaskID
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index.Add(segment, job, keys)
}

// planEvaluations finds out which evaluations have results already.
func (a *attempt) planEvaluations() {
	if len(a.study.Targets) == 0 {
		return
	}
	a.evaluations = newTally()
	a.located = &located{index: a.index}
	for set := range a.job.Sets(a.study) {
		if !set.Complete {
			continue
		}
		for _, target := range a.study.Targets {
			key := contracts.EvaluationKey(a.job.Content, target, set.Keys)
			at, known := a.index.Find(key)
			a.evaluations.plan(key, known, known && at.Job != a.job.ID)
		}
	}
	counts, _ := a.evaluations.snapshot()
	a.Log.Info("planned evaluations", "total", counts.Total, "cached", counts.Cached, "done", counts.Succeeded-counts.Cached, "to run", counts.Pending)
}

// evaluated is how the evaluations stand; nil for a study without targets.
func (a *attempt) evaluated() (*jobs.Counts, []jobs.Faults) {
	if a.evaluations == nil {
		return nil, nil
	}
	counts, faults := a.evaluations.snapshot()
	return &counts, faults
}

// readCache bounds the results that are kept in memory for evaluations, in bytes.
const readCache = 64 << 20

// evaluator feeds the executor for a study with targets: an evaluation as soon as all
// replicates of its set have results, and else the next simulation. So no more sets wait
// than there are on their way.
type evaluator struct {
	*execution
	reader *archive.Reader
	sims   []jobs.Task         // to hand out before the next set is looked at
	open   []jobs.ReplicateSet // all of whose tasks were handed out, and some have no result yet
	ready  []evaluation
	built  *jobs.Task // the first of ready, with its replicates
	begun  bool       // a simulation was handed out

	replicates []contracts.Replicate // of the first of ready, where they were built for another target
}

// evaluation is a target and a set that it can be evaluated over.
type evaluation struct {
	key, target string
	set         jobs.ReplicateSet
}

func newEvaluator(x *execution) *evaluator {
	return &evaluator{execution: x, reader: x.results.NewReader(readCache)}
}

func (e *evaluator) feed(tasks chan<- jobs.Task) {
	defer close(tasks)
	next, stop := iter.Pull(e.job.Sets(e.study))
	defer stop()
	more := true
	for e.ctx.Err() == nil {
		e.settle()
		if len(e.ready) == 0 && len(e.sims) == 0 {
			if !more && len(e.open) == 0 {
				return
			}
			if more {
				var set jobs.ReplicateSet
				if set, more = next(); more {
					e.take(set)
				}
				continue
			}
		}
		if err := e.hand(tasks); err != nil {
			e.stop(err)
			return
		}
	}
}

// take claims the simulations of a set.
func (e *evaluator) take(set jobs.ReplicateSet) {
	for i, sim := range set.Tasks {
		if e.tally.claim(set.Keys[i]) {
			e.sims = append(e.sims, jobs.Task{Key: set.Keys[i], Sim: sim})
		}
	}
	if set.Complete {
		e.open = append(e.open, set)
	}
}

// settle moves on the sets whose simulations are all done; one that has a failure is not
// evaluated.
func (e *evaluator) settle() {
	open := e.open[:0]
	for _, set := range e.open {
		switch done, failed := e.tally.all(set.Keys); {
		case failed:
		case !done:
			open = append(open, set)
		default:
			for _, target := range e.study.Targets {
				key := contracts.EvaluationKey(e.job.Content, target, set.Keys)
				if e.evaluations.claim(key) {
					e.ready = append(e.ready, evaluation{key, target, set})
				}
			}
		}
	}
	clear(e.open[len(open):])
	e.open = open
}

// hand hands one task to the executor, or waits until more can be said of what is open.
func (e *evaluator) hand(tasks chan<- jobs.Task) error {
	task, out := jobs.Task{}, tasks
	switch {
	case len(e.ready) > 0:
		if e.built == nil {
			if err := e.build(e.ready[0]); err != nil {
				return err
			}
		}
		task = *e.built
	case len(e.sims) > 0:
		task = e.sims[0]
	default:
		out = nil
	}
	select {
	case out <- task:
	case <-e.settled:
		return nil
	case <-e.ctx.Done():
		return nil
	}
	if task.Sim.Evaluates() {
		e.evaluations.start(task.Key)
		e.ready, e.built = e.ready[1:], nil
		return nil
	}
	e.tally.start(task.Key)
	e.sims = e.sims[1:]
	if e.begun {
		return nil
	}
	e.begun = true
	select {
	case <-e.canary:
	case <-e.ctx.Done():
	}
	return nil
}

// build makes the task of an evaluation, the first of ready.
func (e *evaluator) build(n evaluation) (err error) {
	if e.replicates == nil {
		if e.replicates, err = e.read(n.set); err != nil {
			return err
		}
	}
	e.built = &jobs.Task{Key: n.key, Sim: n.set.Evaluation(n.target, slices.Clone(e.replicates))}
	if len(e.ready) == 1 || e.ready[1].set.Tasks[0].Set != n.set.Tasks[0].Set {
		e.replicates = nil // they can be large
	}
	return nil
}

// read reads what the set's simulations answered. The error is for results that cannot be
// read.
func (e *evaluator) read(set jobs.ReplicateSet) ([]contracts.Replicate, error) {
	replicates, spill := make([]contracts.Replicate, len(set.Keys)), newSpill(e.attempt)
	defer func() { _ = spill.puts.Wait() }()
	for i, key := range set.Keys {
		at, found := e.located.find(key)
		if !found {
			return nil, &contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageRun, Message: "task " + key + " counts as done, and has no result"}
		}
		result, err := e.reader.Read(e.ctx, at)
		if err != nil {
			return nil, e.distrust(e.ctx, at, contracts.AsError(err))
		}
		if e.Inline > 0 {
			spill.refer(e.ctx, result.Outputs)
		}
		replicates[i] = contracts.Replicate{Task: key, Outputs: result.Outputs}
	}
	return replicates, spill.puts.Wait()
}

// distrust notes a segment whose bytes, or those of its outputs, are damaged, so that
// what is in it runs again. It returns the error, which says so.
func (a *attempt) distrust(ctx context.Context, at archive.Where, e *contracts.Error) error {
	if e.Code != contracts.CodeIntegrity {
		return e
	}
	if err := a.results.Damage(context.WithoutCancel(ctx), at.Segment, e.Message); err != nil {
		return err
	}
	a.Log.Warn("stored results are damaged; what was in them runs again in the next job", "segment", at.Segment)
	return e
}

// takeEvaluation counts one durable evaluation, and decides whether it ends the job.
func (x *execution) takeEvaluation(r jobs.Result) {
	failure := r.Return.Error
	if x.evaluations.done(r.Task.Key, failure) {
		x.Log.Error("evaluation failed", "task", r.Task.Key, "target", r.Task.Sim.Entrypoint, "set", r.Task.Sim.Set,
			"code", failure.Code, "type", failure.Type, "message", failure.Message)
	}
	if failure != nil && failure.Code == contracts.CodeIntegrity { // of an output: of which, only the worker knows
		for _, replicate := range r.Task.Sim.Replicates {
			if at, found := x.located.find(replicate.Task); found {
				_ = x.distrust(x.ctx, at, failure) // the failure is reported
			}
		}
		return
	}
	first := ""
	if counts, _ := x.evaluations.snapshot(); counts.Succeeded == 0 {
		first = "stopped after the first evaluation of a target: the others would fail alike"
	}
	x.judge(x.evaluations, r, first)
}
