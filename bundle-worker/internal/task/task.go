//go:build unix

// Package task runs tasks: it brings the bundle in, prepares its Python environment,
// keeps a process warm between tasks of one bundle, and makes a result of whatever
// happens. The first error is the one in the result.
package task

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// Runner runs one task at a time.
type Runner struct {
	Config     *config.Config
	Cache      *cache.Cache
	Source     func(repository string) (cache.Source, error)
	Supervisor *runner.Supervisor
	Environ    []string  // the worker's own variables
	Outputs    string    // where outputs over the inline cap go; "" keeps all inline
	Log        io.Writer // one line for what takes long; nil for none

	warm *prepared
}

// prepared is a bundle that is ready to run.
type prepared struct {
	bundle  *cache.Entry
	entry   *wire.Entry
	environ []string      // the worker's own, with the bundle's environment first on PATH
	session *wire.Session // nil for a command
	record  contracts.EnvironmentRecord
	digest  string // of the record
	told    bool   // the record was in a result already
}

// Run runs a task and answers with its result, which has an error unless the task
// succeeded. When ctx ends the task does, with everything that it started.
func (r *Runner) Run(ctx context.Context, t *contracts.SimTask) *contracts.SimReturn {
	result := &contracts.SimReturn{Bundle: t.Bundle.String(), Outputs: map[string]contracts.Artifact{}}
	p, err := r.prepare(ctx, t)
	if err != nil {
		result.Error = stopped(ctx, err)
		return result
	}
	result.ContentDigest, result.TaskID = p.bundle.Content, t.Key(p.bundle.Content)
	result.EnvironmentDigest = p.digest
	if !p.told {
		record := p.record
		result.Environment, p.told = &record, true
	}
	begin := time.Now()
	outputs, said, err := r.run(ctx, p, t)
	result.Seconds, result.StderrTail = time.Since(begin).Seconds(), said
	if err != nil {
		result.Error = stopped(ctx, err)
	} else {
		result.Outputs = outputs
	}
	if r.Config.Cold || p.session != nil && p.session.Dead() {
		r.Close()
	}
	return result
}

// Close ends the warm process.
func (r *Runner) Close() {
	if r.warm != nil {
		r.warm.close()
		r.warm = nil
	}
}

func (p *prepared) close() {
	if p.session != nil {
		p.session.Close()
	}
	p.bundle.Release()
}

// prepare is the warm bundle, when it is the task's and still alive, or a new one.
func (r *Runner) prepare(ctx context.Context, t *contracts.SimTask) (*prepared, error) {
	if p := r.warm; p != nil && p.bundle.Digest == t.Bundle.Digest && (p.session == nil || !p.session.Dead()) {
		return p, nil
	}
	r.Close()
	source, err := r.Source(t.Bundle.Repository)
	if err != nil {
		return nil, err
	}
	bundle, err := r.Cache.Ensure(ctx, t.Bundle, source)
	if err != nil {
		return nil, err
	}
	p := &prepared{bundle: bundle, environ: r.Environ}
	if err := r.ready(ctx, p, cores(t.Resources)); err != nil {
		p.close()
		return nil, err
	}
	r.warm = p
	return p, nil
}

// ready finds how the bundle is called and, for a wire, starts the process that calls
// it.
func (r *Runner) ready(ctx context.Context, p *prepared, cores int) error {
	project, err := pyproject.Read(p.bundle.Path)
	if err != nil {
		return err
	}
	env, err := pyenv.Ensure(ctx, pyenv.Options{Bundle: p.bundle.Path, Root: r.Config.VenvsDir, Environ: r.Environ, Log: r.Log})
	own, findErr := wire.Find(p.bundle.Path, project, nil)
	if own != nil && own.Kind == wire.KindCommand && (err != nil || !env.Built()) {
		return r.readyCommand(p, own, err)
	}
	if err != nil {
		return err
	}
	if findErr != nil && !env.Built() {
		return findErr // nothing that is installed could say more
	}
	if env.Built() {
		p.environ = withPath(r.Environ, env.Bin())
	}
	p.session, err = wire.Start(ctx, wire.Launch{Supervisor: r.Supervisor, Interpreter: env.Python, Bundle: p.bundle.Path, Environ: p.environ, Cores: cores})
	if err != nil {
		return err
	}
	var installed []wire.Installed
	if env.Built() {
		installed = p.session.Info.EntryPoints
	}
	if p.entry, err = wire.Find(p.bundle.Path, project, installed); err != nil {
		return err
	}
	p.record = p.session.Info.Record()
	p.digest = p.record.Digest()
	if p.entry.Kind == wire.KindCommand {
		p.session.Close()
		p.session = nil
		return nil
	}
	return p.session.Load(ctx, p.entry.Name)
}

// readyCommand readies a bundle that needs no Python of ours. An environment that it asks
// for and that could not be made is its error all the same.
func (r *Runner) readyCommand(p *prepared, entry *wire.Entry, err error) error {
	if err != nil && contracts.AsError(err).Code == contracts.CodeDependencies && !wantsPython(p.bundle.Path) {
		err = nil // a worker without Python runs a command
	}
	p.entry = entry
	p.record = contracts.EnvironmentRecord{Platform: runtime.GOOS + "-" + runtime.GOARCH, Packages: map[string]string{}}
	p.digest = p.record.Digest()
	return err
}

func wantsPython(bundle string) bool {
	wants, err := pyenv.Wants(bundle)
	return err != nil || wants
}

// run runs a task in a prepared bundle, and answers with its outputs and with what it
// printed.
func (r *Runner) run(ctx context.Context, p *prepared, t *contracts.SimTask) (map[string]contracts.Artifact, string, error) {
	resources := merge(t.Resources, p.entry.Resources)
	ctx, stop, err := r.limit(ctx, resources)
	if err != nil {
		return nil, "", err
	}
	defer stop()
	for _, name := range resources.Commands {
		if err := wire.LookUp(name, p.environ); err != nil {
			return nil, "", err
		}
	}
	collect := &wire.Collector{Dir: r.Outputs, MaxOutput: r.Config.OutputLimit, Only: t.Outputs}
	var said string
	if p.session != nil {
		err = p.session.Run(ctx, t, collect)
		if !p.session.Dead() {
			said = p.session.Output()
		}
	} else {
		said, err = wire.RunCommand(ctx, wire.CommandLaunch{
			Supervisor: r.Supervisor, Command: p.entry.Command, Bundle: p.bundle.Path, Environ: p.environ, Cores: cores(resources),
		}, t, collect)
	}
	if err != nil {
		return nil, said, err
	}
	outputs, err := collect.Result()
	if e, ok := errors.AsType[*contracts.Error](err); ok && e.StderrTail == "" {
		e.StderrTail = said
	}
	return outputs, said, err
}

// limit ends the task when its time is over.
func (r *Runner) limit(ctx context.Context, resources *contracts.Resources) (context.Context, context.CancelFunc, error) {
	timeout, err := resources.TimeoutDuration()
	if err != nil {
		return nil, nil, err
	}
	if timeout == 0 {
		timeout = r.Config.Timeout
	}
	ctx, stop := context.WithTimeoutCause(ctx, timeout, &contracts.Error{
		Code: contracts.CodeTimeout, Stage: contracts.StageRun,
		Message: "the task did not end within its time limit of " + timeout.String(),
		Hint:    "raise resources.timeout in the study, or look at what it printed last",
	})
	return ctx, stop, nil
}

// merge is what the task asks for, and what the bundle's manifest does where the task
// says nothing.
func merge(task, manifest *contracts.Resources) *contracts.Resources {
	merged := contracts.Resources{}
	if manifest != nil {
		merged = *manifest
	}
	if task == nil {
		return &merged
	}
	if task.Memory != "" {
		merged.Memory = task.Memory
	}
	if task.Cores != 0 {
		merged.Cores = task.Cores
	}
	if task.Timeout != "" {
		merged.Timeout = task.Timeout
	}
	if task.Commands != nil {
		merged.Commands = task.Commands
	}
	return &merged
}

func cores(r *contracts.Resources) int {
	if r == nil {
		return 1
	}
	return max(1, r.Cores)
}

// stopped is the error of a task; that of one that ended because the worker does says
// so.
func stopped(ctx context.Context, err error) *contracts.Error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &contracts.Error{
			Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, Retryable: true,
			Message: "the worker was stopped while the task ran", Hint: "run it again",
		}
	}
	return contracts.AsError(err)
}

// withPath puts a directory first on PATH.
func withPath(environ []string, dir string) []string {
	changed := make([]string, 0, len(environ)+1)
	path := "PATH=" + dir
	for _, variable := range environ {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			path += ":" + value
			continue
		}
		changed = append(changed, variable)
	}
	return append(changed, path)
}
