//go:build unix

// Package task runs tasks: it has the bundle materialised, its Python environment made,
// its entry found and called, and makes the result of what comes of it. Whatever goes wrong
// first is the result's error.
//
// Tasks may be run at the same time. A bundle is prepared once however many tasks ask for
// it, and beside other bundles; a task takes one of the slots when its bundle is ready. The
// processes of bundles stay warm in a pool.
package task

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pool"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// Options are what a runner works with.
type Options struct {
	Config     *config.Config
	Cache      *cache.Cache
	Supervisor *runner.Supervisor
	// Source is where the bundles of a repository come from.
	Source func(repository string) (cache.Source, error)
	// Storage opens the storage of the environment, for tasks whose outputs go there.
	Storage func() (blobstore.Store, error)
	// Spill is a directory for outputs on their way to the storage.
	Spill   string
	Environ []string  // the worker's own
	Log     io.Writer // a line for each step that takes long
	Slots   int       // tasks that run at once
	Warm    int       // processes that may be there at once
	// Spare keeps an interpreter started beside them, for the next process.
	Spare bool
	// Ahead is the interpreter of the first process, which the runner takes or drops; nil
	// for none. Its supervisor is Supervisor.
	Ahead *harness.Ahead
}

// Ask says how one task is run.
type Ask struct {
	// Outputs is where outputs go that are too large for a result; empty for nowhere.
	Outputs string
	// Storage has them stored in the environment's storage instead, below
	// [contracts.ResultsPrefix]; what replicates have there is read.
	Storage bool
	// Inputs is where the outputs of replicates are that a task refers to; empty for nowhere.
	Inputs string
	// Cold has the task run in a process of its own.
	Cold bool
}

// Runner runs tasks. It keeps the processes of bundles warm for the next ones.
type Runner struct {
	Options
	processes *pool.Pool[key, *process]
	shelf     shelf
	storage   storage
	spares    spares
	slots     chan struct{}
	draining  context.Context // ends when no task is begun any more
	drain     context.CancelFunc
	counts    counts
}

type counts struct{ preparing, waiting, running atomic.Int64 }

// Stats say what a runner is at.
type Stats struct {
	Preparing int // tasks whose bundle is being prepared
	Waiting   int // tasks that wait for a slot
	Running   int
	Bundles   int // that are held
	Processes pool.Stats
}

// NewRunner makes a runner. The caller closes it.
func NewRunner(opts Options) *Runner {
	r := &Runner{
		Options: opts, spares: spares{enabled: opts.Spare, ahead: opts.Ahead}, slots: make(chan struct{}, max(1, opts.Slots)),
		processes: pool.New[key, *process](pool.Options{
			Max: opts.Warm, Memory: opts.Config.WarmMemory(), Tasks: opts.Config.WarmTasks, Age: opts.Config.WarmAge,
		}),
	}
	r.draining, r.drain = context.WithCancel(context.Background())
	r.shelf = shelf{
		keep: max(1, opts.Warm), bundles: map[contracts.Digest]*prepared{}, fill: r.fill,
		empty: func(p *prepared) {
			r.processes.Drop(func(k key) bool { return k.bundle == p })
			if p.bundle != nil {
				p.python.Release()
				p.bundle.Release()
			}
		},
	}
	return r
}

// Stats are the figures now.
func (r *Runner) Stats() Stats {
	return Stats{
		Preparing: int(r.counts.preparing.Load()), Waiting: int(r.counts.waiting.Load()), Running: int(r.counts.running.Load()),
		Bundles: r.shelf.count(), Processes: r.processes.Stats(),
	}
}

// Drain begins no task any more: those without a slot end with an error.
func (r *Runner) Drain() { r.drain() }

// Close ends the processes that are kept warm, and lets go of their bundles. No task may be
// running.
func (r *Runner) Close() {
	r.drain()
	r.shelf.clear()
	r.processes.Close()
	r.spares.close()
}

// keptOfSuccess is how much of what a successful task printed stays with its result, in
// bytes: its end.
const keptOfSuccess = 4 << 10

// Run runs a task. What goes wrong is the result's error. When ctx ends, the task's
// process does, and the error is the cause, or says that the worker was stopped.
func (r *Runner) Run(ctx context.Context, task *contracts.SimTask, ask Ask) *contracts.SimReturn {
	t := &running{
		Runner: r, task: task, ask: ask,
		result: &contracts.SimReturn{TaskID: task.Key(""), Outputs: map[string]contracts.Artifact{}, Bundle: task.Bundle.String()},
	}
	if err := t.run(ctx); err != nil {
		t.fail(ctx, err)
	} else {
		t.result.StderrTail = last(t.output, keptOfSuccess)
	}
	return t.result
}

// running is one task on its way.
type running struct {
	*Runner
	task   *contracts.SimTask
	ask    Ask
	result *contracts.SimReturn
	asked  contracts.Resources
	output string // of its process
}

func (r *running) run(ctx context.Context) error {
	if r.ask.Storage { // before the work, not after it
		if _, err := r.storage.open(r.Storage); err != nil {
			return err
		}
	}
	p, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	defer r.shelf.leave(p)
	r.result.TaskID, r.result.ContentDigest = r.task.Key(p.bundle.Content), p.bundle.Content
	if p.entry == nil {
		return p.missing
	}
	r.asked = r.task.Resources.Over(p.entry.Resources)
	if err := wire.CheckCommands(r.asked.Commands, r.Environ); err != nil {
		return err
	}
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	switch {
	case r.task.Evaluates():
		return r.evaluate(ctx, p)
	case r.ask.Storage:
		return r.toStorage(ctx, func(dir string) error { return r.simulate(ctx, p, dir) })
	}
	return r.simulate(ctx, p, r.ask.Outputs)
}

// prepare has the task's bundle ready. A worker that drains does not wait for that: the
// task would not be begun.
func (r *running) prepare(ctx context.Context) (*prepared, error) {
	r.counts.preparing.Add(1)
	defer r.counts.preparing.Add(-1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.draining, func() { cancel(stopped()) })()
	return r.shelf.take(ctx, r.task)
}

// enter waits for a slot.
func (r *Runner) enter(ctx context.Context) error {
	r.counts.waiting.Add(1)
	defer r.counts.waiting.Add(-1)
	select {
	case <-r.draining.Done():
		return stopped()
	default:
	}
	select {
	case r.slots <- struct{}{}:
		r.counts.running.Add(1)
		return nil
	case <-r.draining.Done():
		return stopped()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Runner) leave() {
	r.counts.running.Add(-1)
	<-r.slots
}

// simulate calls the simulation; its large outputs go to the directory.
func (r *running) simulate(ctx context.Context, p *prepared, outputs string) (err error) {
	collect := &wire.Collector{Dir: outputs, MaxOutput: r.Config.OutputLimit, Only: r.task.Outputs}
	if p.entry.Kind == wire.KindCommand {
		err = r.runCommand(ctx, p, collect)
	} else {
		err = r.inProcess(ctx, p, true, func(ctx context.Context, s *wire.Session) error { return s.Run(ctx, r.task, collect) })
	}
	if err == nil {
		r.result.Outputs, err = collect.Result()
	}
	return err
}

// stopped is the error of a task that the worker did not finish.
func stopped() *contracts.Error {
	return &contracts.Error{
		Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, Retryable: true,
		Message: "the worker was stopped before the task was done",
	}
}

// fail makes the result that of an error.
func (r *running) fail(ctx context.Context, err error) {
	e := *contracts.AsError(err)
	if ctx.Err() != nil {
		output := e.StderrTail
		e = *stopped()
		if cause := contracts.AsError(context.Cause(ctx)); cause.Code != contracts.CodeInternal {
			e = *cause
		}
		e.StderrTail = output
	}
	if e.StderrTail == "" {
		e.StderrTail = r.output
	}
	r.result.Error, r.result.StderrTail, r.result.Outputs = &e, e.StderrTail, map[string]contracts.Artifact{}
}

func (r *running) runCommand(ctx context.Context, p *prepared, collect *wire.Collector) error {
	r.record(&p.environment, p.digest)
	memory, err := r.asked.MemoryBytes()
	if err != nil {
		return err
	}
	limited, cancel := r.limit(ctx, r.asked)
	defer cancel()
	began := time.Now()
	output, err := wire.RunCommand(limited, wire.CommandLaunch{
		Supervisor: r.Supervisor, Command: p.entry.Command, Bundle: p.bundle.Path, Environ: p.environ(r.Environ),
		Cores: r.asked.Cores, Memory: memory,
	}, r.task, collect)
	r.result.Seconds, r.output = time.Since(began).Seconds(), output
	return err
}

// record says which environment the task has.
func (r *running) record(environment *contracts.EnvironmentRecord, digest string) {
	r.result.Environment, r.result.EnvironmentDigest = environment, digest
}

// limit is ctx with the task's time limit. Its cause is the error that names the limit.
func (r *Runner) limit(ctx context.Context, resources contracts.Resources) (context.Context, context.CancelFunc) {
	limit, hint := r.Config.Timeout, "set resources.timeout in the study or the bundle's .modelops/manifest.json, or MODELOPS_RPC_TIMEOUT_SECONDS for the worker"
	if stated, err := resources.TimeoutDuration(); err == nil && stated > 0 {
		limit, hint = stated, "the limit is --timeout of mops jobs submit, or resources.timeout of the study or of the bundle's .modelops/manifest.json"
	}
	return context.WithTimeoutCause(ctx, limit, &contracts.Error{
		Code: contracts.CodeTimeout, Stage: contracts.StageRun,
		Message: fmt.Sprintf("the task did not end within its time limit of %s", limit), Hint: hint,
	})
}

// last is the end of a text, from the beginning of a line if it is cut.
func last(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	text = text[len(text)-limit:]
	if _, rest, ok := strings.Cut(text, "\n"); ok && rest != "" {
		return rest
	}
	return strings.ToValidUTF8(text, "")
}
