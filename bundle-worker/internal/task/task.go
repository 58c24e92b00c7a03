//go:build unix

// Package task runs tasks: it has the bundle materialised, its Python environment made,
// its entry found and called, and makes the result of what comes of it. Whatever goes wrong
// first is the result's error.
package task

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// Runner runs tasks, one at a time. It keeps the last bundle's process warm for the next
// task. The fields are set before the first task and stay as they are.
type Runner struct {
	Config     *config.Config
	Cache      *cache.Cache
	Supervisor *runner.Supervisor
	// Source is where the bundles of a repository come from.
	Source func(repository string) (cache.Source, error)
	// Outputs is where outputs go that are too large for a result; empty for nowhere.
	Outputs string
	// Inputs is where the outputs of replicates are that a task refers to; empty for nowhere.
	Inputs  string
	Environ []string  // the worker's own
	Log     io.Writer // a line for each step that takes long

	current *prepared
}

// keptOfSuccess is how much of what a successful task printed stays with its result, in
// bytes: its end.
const keptOfSuccess = 4 << 10

// Run runs a task. What goes wrong is the result's error. When ctx ends, the task's
// process does, and the error says that the worker was stopped.
func (r *Runner) Run(ctx context.Context, task *contracts.SimTask) *contracts.SimReturn {
	t := &running{
		Runner: r, task: task,
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
	result *contracts.SimReturn
	asked  contracts.Resources
	output string // of its process
}

func (r *running) run(ctx context.Context) error {
	p, err := r.prepare(ctx, r.task)
	if err != nil {
		return err
	}
	r.result.TaskID, r.result.ContentDigest = r.task.Key(p.bundle.Content), p.bundle.Content
	if p.entry == nil { // until a process says what is installed
		if err := r.settle(ctx, p, r.task); err != nil {
			return err
		}
	}
	r.asked = r.task.Resources.Over(p.entry.Resources)
	if err := wire.CheckCommands(r.asked.Commands, r.Environ); err != nil {
		return err
	}
	if r.task.Evaluates() {
		return r.evaluate(ctx, p)
	}
	collect := &wire.Collector{Dir: r.Outputs, MaxOutput: r.Config.OutputLimit, Only: r.task.Outputs}
	if p.entry.Kind == wire.KindCommand {
		err = r.runCommand(ctx, p, collect)
	} else {
		err = r.runWire(ctx, p, collect)
	}
	if err == nil {
		r.result.Outputs, err = collect.Result()
	}
	return err
}

// fail makes the result that of an error.
func (r *running) fail(ctx context.Context, err error) {
	e := *contracts.AsError(err)
	if ctx.Err() != nil {
		e = contracts.Error{
			Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, Retryable: true,
			Message: "the worker was stopped before the task was done", StderrTail: e.StderrTail,
		}
	}
	if e.StderrTail == "" {
		e.StderrTail = r.output
	}
	r.result.Error, r.result.StderrTail, r.result.Outputs = &e, e.StderrTail, map[string]contracts.Artifact{}
}

func (r *running) runCommand(ctx context.Context, p *prepared, collect *wire.Collector) error {
	if p.digest == "" {
		p.describe(p.record())
	}
	r.record(p)
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

func (r *running) runWire(ctx context.Context, p *prepared, collect *wire.Collector) error {
	return r.inSession(ctx, p, true, func(ctx context.Context) error { return p.session.Run(ctx, r.task, collect) })
}

// inSession makes a call in a process of the bundle, within the task's time limit; with
// loaded set, the wire is imported there. What earlier tasks left in the process is not
// held against this one, which has another try in a process of its own when its process
// dies.
func (r *running) inSession(ctx context.Context, p *prepared, loaded bool, call func(ctx context.Context) error) error {
	for {
		if err := r.ready(ctx, p, loaded); err != nil {
			return err
		}
		earlier := p.used
		p.used = true
		limited, cancel := r.limit(ctx, r.asked)
		began := time.Now()
		err := call(limited)
		late := limited.Err() != nil
		cancel()
		r.result.Seconds, r.output = time.Since(began).Seconds(), p.session.Output()
		again := earlier && err != nil && !late && (p.session.Exceeded() || p.session.Dead() && crashed(err))
		if r.Config.Cold || p.session.Dead() {
			p.cool()
		}
		if !again {
			return err
		}
	}
}

// crashed says whether err is that of a process that died by itself. What may be retried
// is retried by whoever gave the task.
func crashed(err error) bool {
	e := contracts.AsError(err)
	switch e.Code {
	case contracts.CodeExit, contracts.CodeSignal, contracts.CodeProtocol:
		return !e.Retryable
	}
	return false
}

// ready has a process, with the wire imported if that is wanted. The task's own time limit
// is for the simulation: how long this takes depends on who else uses the machine.
func (r *running) ready(ctx context.Context, p *prepared, loaded bool) error {
	starting, cancel := startLimit(ctx)
	defer cancel()
	if err := r.warm(starting, p, r.asked); err != nil {
		return err
	}
	r.record(p) // before the wire is imported: an import that fails is about this
	if !loaded {
		return nil
	}
	return p.load(starting)
}

// record says which environment the task has: by its digest, and in full the first time.
func (r *running) record(p *prepared) {
	r.result.EnvironmentDigest = p.digest
	if p.told != p.digest {
		r.result.Environment, p.told = &p.environment, p.digest
	}
}

// warm has the session of a bundle started.
func (r *Runner) warm(ctx context.Context, p *prepared, asked contracts.Resources) error {
	if p.session != nil && (p.session.Dead() || !p.sized(asked)) {
		p.cool()
	}
	if p.session != nil {
		return nil
	}
	return r.startSession(ctx, p, asked)
}

// load has the wire imported in the session.
func (p *prepared) load(ctx context.Context) error {
	if p.loaded {
		return nil
	}
	if err := p.session.Load(ctx, p.entry.Name); err != nil {
		p.cool() // a module that was imported half cannot be imported again
		return err
	}
	p.loaded = true
	return nil
}

func (r *Runner) startSession(ctx context.Context, p *prepared, asked contracts.Resources) error {
	interpreter, err := resolveInterpreter(ctx, p.python.Python)
	if err != nil {
		return err
	}
	memory, err := asked.MemoryBytes()
	if err != nil {
		return err
	}
	session, err := wire.Start(ctx, wire.Launch{
		Supervisor: r.Supervisor, Interpreter: interpreter, Bundle: p.bundle.Path, Environ: p.environ(r.Environ),
		Cores: asked.Cores, Memory: memory,
	})
	if err != nil {
		return err
	}
	if err := checkPython(session.Info.Python); err != nil {
		session.Close()
		return err
	}
	p.session, p.asked, p.loaded, p.used = session, asked, false, false
	p.describe(session.Info.Record())
	return nil
}

// startWithin bounds what a process takes to start and to import the wire.
const startWithin = 5 * time.Minute

// startLimit is ctx with that bound.
func startLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, startWithin, &contracts.Error{
		Code: contracts.CodeTimeout, Stage: contracts.StageImport,
		Message: fmt.Sprintf("the simulation's process was not ready within %s", startWithin),
		Hint:    "what the wire's module does while it is imported counts: let it work when it is called",
	})
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

// Close ends the process that is kept warm, and lets go of its bundle.
func (r *Runner) Close() {
	if r.current != nil {
		r.current.release()
		r.current = nil
	}
}

// platform names the machine as Python does.
func platform() string {
	machine := map[string]string{"linux/amd64": "x86_64", "linux/arm64": "aarch64", "darwin/amd64": "x86_64", "darwin/arm64": "arm64"}
	if name, ok := machine[runtime.GOOS+"/"+runtime.GOARCH]; ok {
		return runtime.GOOS + "-" + name
	}
	return runtime.GOOS + "-" + runtime.GOARCH
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
