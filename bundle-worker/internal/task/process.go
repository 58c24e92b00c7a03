//go:build unix

package task

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pool"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// key says which tasks can share a process: those of one bundle, whose environment and
// entry it decides, that ask for the same resources.
type key struct {
	bundle *prepared
	cores  int
	memory string
}

// process is a process of a bundle.
type process struct {
	*wire.Session
	loaded bool // the wire is imported in it
	used   bool // it has had a task

	environment contracts.EnvironmentRecord
	digest      string // of environment
}

// inProcess makes a call in a process of the bundle, within the task's time limit; with
// loaded set, the wire is imported there. What earlier tasks left in the process is not
// held against this one, which has another try in a process of its own when its process
// dies.
func (r *running) inProcess(ctx context.Context, p *prepared, loaded bool, call func(ctx context.Context, s *wire.Session) error) error {
	for {
		lease, err := r.ready(ctx, p, loaded)
		if err != nil {
			return err
		}
		s, earlier := lease.Process.Session, lease.Process.used
		lease.Process.used = true
		limited, cancel := r.limit(ctx, r.asked)
		began := time.Now()
		err = call(limited, s)
		late := limited.Err() != nil
		cancel()
		r.result.Seconds, r.output = time.Since(began).Seconds(), s.Output()
		again := earlier && err != nil && !late && (s.Exceeded() || s.Dead() && crashed(err))
		if r.cold() || err != nil && contracts.AsError(err).Code == contracts.CodeImport { // a module that was imported half cannot be imported again
			lease.Discard()
		} else {
			lease.Return()
		}
		if !again {
			return err
		}
	}
}

func (r *running) cold() bool { return r.Config.Cold || r.ask.Cold }

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

// ready is a process, with the wire imported if that is wanted. The task's own time limit
// is for the simulation: how long this takes depends on who else uses the machine.
func (r *running) ready(ctx context.Context, p *prepared, loaded bool) (*pool.Lease[key, *process], error) {
	starting, cancel := startLimit(ctx)
	defer cancel()
	lease, err := r.take(starting, p)
	if err != nil {
		if starting.Err() == nil {
			r.shelf.takeOff(p) // its environment may be gone: the next task has it made again
		}
		return nil, err
	}
	process := lease.Process
	r.record(&process.environment, process.digest) // before the wire is imported: an import that fails is about this
	if !loaded || process.loaded {
		return lease, nil
	}
	if err := process.Load(starting, p.entry.Name); err != nil {
		lease.Discard() // a module that was imported half cannot be imported again
		return nil, err
	}
	process.loaded = true
	return lease, nil
}

// take is a process of the bundle; for a cold task, one that had no task yet.
func (r *running) take(ctx context.Context, p *prepared) (*pool.Lease[key, *process], error) {
	for {
		lease, err := r.start(ctx, p, r.asked)
		if err != nil || !r.cold() || !lease.Process.used {
			return lease, err
		}
		lease.Discard()
	}
}

// start is a process of the bundle with these resources, warm if there is one.
func (r *Runner) start(ctx context.Context, p *prepared, asked contracts.Resources) (*pool.Lease[key, *process], error) {
	return r.processes.Take(key{p, asked.Cores, asked.Memory}, func() (*process, error) { return r.startProcess(ctx, p, asked) })
}

func (r *Runner) startProcess(ctx context.Context, p *prepared, asked contracts.Resources) (*process, error) {
	interpreter, err := p.resolve(ctx)
	if err != nil {
		return nil, err
	}
	memory, err := asked.MemoryBytes()
	if err != nil {
		return nil, err
	}
	session, err := r.spares.start(ctx, wire.Launch{
		Supervisor: r.Supervisor, Interpreter: interpreter, Bundle: p.bundle.Path, Environ: p.environ(r.Environ),
		Bytecode: filepath.Join(r.Cache.Root(), "harness"), Cores: asked.Cores, Memory: memory,
	})
	if err != nil {
		return nil, err
	}
	if err := checkPython(session.Info.Python); err != nil {
		session.Close()
		return nil, err
	}
	environment := session.Info.Record()
	return &process{Session: session, environment: environment, digest: environment.Digest()}, nil
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
