package driver

import (
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// Source makes up a job's tasks while it runs, from the results that it is told: a
// calibration is one. Its methods are called by one goroutine, and must not wait.
//
// A source that makes up the same tasks from the same results can be driven on after any
// interruption: what has a result is told and not run again.
type Source interface {
	// Ask is the tasks that are wanted next, none while the source waits for results. done
	// says that no more will come.
	Ask() (tasks []contracts.SimTask, done bool)
	// Tell takes in the result of a task that was asked for, once it is durable; its outputs
	// are inline or "blob:<checksum>", as the archive has them. A task that was asked for
	// twice runs once, counts once and is told twice.
	Tell(task contracts.SimTask, result *contracts.SimReturn)
}

// asker feeds the executor with what a source asks for.
type asker struct {
	*execution
	reader *archive.Reader
	waits  map[string][]contracts.SimTask // asked for, and not told yet, by key
	failed map[string]*contracts.SimReturn
	queue  []jobs.Task // to hand out before the source is asked again
	begun  bool        // a task was handed out

	mu    sync.Mutex
	heard []jobs.Result // durable, and not told yet
}

func newAsker(x *execution) *asker {
	return &asker{execution: x, reader: x.results.NewReader(readCache), waits: map[string][]contracts.SimTask{}, failed: map[string]*contracts.SimReturn{}}
}

// hear takes results in that are durable. It may be called without a source.
func (a *asker) hear(results []jobs.Result) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = append(a.heard, results...)
}

func (a *asker) feed(tasks chan<- jobs.Task) {
	defer close(tasks)
	done := false
	for a.ctx.Err() == nil {
		a.tell()
		if len(a.queue) == 0 && !done {
			var wanted []contracts.SimTask
			wanted, done = a.Source.Ask()
			for _, sim := range wanted {
				if err := a.want(sim); err != nil {
					a.stop(err)
					return
				}
			}
			if len(wanted) == 0 && !done && len(a.waits) == 0 {
				a.stop(&contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageRun, Message: "whoever makes up the job's tasks waits for results, and nothing runs"})
				return
			}
			if len(wanted) > 0 {
				continue // some may have results already
			}
		}
		if done && len(a.waits) == 0 {
			return
		}
		a.hand(tasks)
	}
}

// tell tells the source what has become durable.
func (a *asker) tell() {
	a.mu.Lock()
	heard := a.heard
	a.heard = nil
	a.mu.Unlock()
	for _, r := range heard {
		if r.Return.Error != nil {
			a.failed[r.Task.Key] = r.Return
		}
		for _, sim := range a.waits[r.Task.Key] {
			a.Source.Tell(sim, r.Return)
		}
		delete(a.waits, r.Task.Key)
	}
}

// want puts a task in line, or tells its result where there is one. The error is for a
// result that cannot be read.
func (a *asker) want(sim contracts.SimTask) error {
	key := sim.Key(a.job.Content)
	if failure := a.failed[key]; failure != nil {
		a.Source.Tell(sim, failure)
		return nil
	}
	if a.waits[key] != nil {
		a.waits[key] = append(a.waits[key], sim)
		return nil
	}
	at, known := a.located.find(key)
	if !a.tally.planned(key) {
		a.tally.plan(key, known, known && at.Job != a.job.ID)
	}
	if known {
		result, err := a.reader.Read(a.ctx, at)
		if err != nil {
			return a.distrust(a.ctx, at, contracts.AsError(err))
		}
		a.Source.Tell(sim, result)
		return nil
	}
	if a.tally.claim(key) {
		a.waits[key] = []contracts.SimTask{sim}
		a.queue = append(a.queue, jobs.Task{Key: key, Sim: sim})
	}
	return nil
}

// hand hands one task to the executor, or waits for results.
func (a *asker) hand(tasks chan<- jobs.Task) {
	task, out := jobs.Task{}, tasks
	if len(a.queue) > 0 {
		task = a.queue[0]
	} else {
		out = nil
	}
	select {
	case out <- task:
	case <-a.settled:
		return
	case <-a.ctx.Done():
		return
	}
	a.tally.start(task.Key)
	a.queue = a.queue[1:]
	if a.begun {
		return
	}
	a.begun = true
	select {
	case <-a.canary:
	case <-a.ctx.Done():
	}
}
