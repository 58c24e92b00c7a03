//go:build unix

package task

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// prepared is a bundle that is ready to run. What is in it does not change any more.
type prepared struct {
	place
	bundle  *cache.Entry
	project pyproject.Project
	shared  pyenv.Registry // where nodes share environments; nil for nowhere
	python  *pyenv.Env     // nil when nothing in Python is needed
	entry   *wire.Entry
	missing error // why there is no entry

	environment contracts.EnvironmentRecord // of a command
	digest      string                      // of environment

	resolving   sync.Mutex
	interpreter string // behind python; "" until it is asked for

	looking sync.Mutex
	checked time.Time     // when the bundle's files were last looked at
	cost    time.Duration // of that look
}

// A bundle whose process is warm is looked at before each task, unless it has many files:
// then no more than one part in looksAt of the time goes into it.
const (
	looksAt  = 20
	fewFiles = 200
)

// fill has the task's bundle here, unchanged, with its environment, and its entry found. A
// bundle without an entry is prepared, too: somebody may look at it.
func (r *Runner) fill(ctx context.Context, p *prepared, task *contracts.SimTask) (err error) {
	source, err := r.Source(task.Bundle.Repository)
	if err != nil {
		return err
	}
	if p.bundle, err = r.Cache.Ensure(ctx, task.Bundle, source); err != nil {
		return err
	}
	p.shared, _ = source.(pyenv.Registry)
	p.checked = time.Now()
	if p.project, err = pyproject.Read(p.bundle.Path); err != nil {
		return err
	}
	if err := r.findEntry(ctx, p); err != nil {
		return err
	}
	if p.entry == nil {
		p.missing = r.settle(ctx, p, task)
	}
	if p.entry == nil {
		return contracts.Except(p.missing, contracts.CodeWireMissing)
	}
	if p.entry.Kind == wire.KindCommand {
		p.describe()
	}
	return nil
}

// unchanged looks whether the bundle's files are as they were.
func (p *prepared) unchanged() bool {
	p.looking.Lock()
	defer p.looking.Unlock()
	if p.bundle.Files > fewFiles && time.Since(p.checked) < looksAt*p.cost {
		return true
	}
	began := time.Now()
	same := p.bundle.Unchanged()
	p.checked = time.Now()
	p.cost = p.checked.Sub(began)
	return same
}

// findEntry finds the bundle's entry and makes its Python environment. It leaves the entry
// out when only a process can tell.
func (r *Runner) findEntry(ctx context.Context, p *prepared) error {
	entry, missing := wire.Find(p.bundle.Path, p.project, nil)
	if missing != nil && contracts.AsError(missing).Code != contracts.CodeWireMissing {
		return missing
	}
	opts := pyenv.Options{
		Bundle: p.bundle.Path, Root: r.Config.VenvsDir, Environ: r.Environ, Log: r.Log,
		Supervisor: r.Supervisor, PullOnly: r.Config.Environments == config.Pull,
	}
	if r.Config.Environments != config.Off {
		opts.Shared = p.shared
	}
	if entry == nil || entry.Kind != wire.KindCommand {
		opts.Check = func(ctx context.Context, python string) error { return r.check(ctx, p, python) }
	}
	python, err := pyenv.Ensure(ctx, opts)
	if err != nil {
		if entry != nil && entry.Kind == wire.KindCommand && !wantsPython(p.bundle.Path) {
			p.entry = entry // it needs no Python, and there is none
			return nil
		}
		return err
	}
	p.python = python
	if p.ownPython() && entry != nil {
		p.entry = entry
	}
	return nil
}

// settle finds the entry by what is installed, which a process says; it stays for the first
// task. Entry points of the bundle's own environment come first of all; those of the
// worker's Python, which is nobody's in particular, are for a bundle that names nothing
// itself.
func (r *Runner) settle(ctx context.Context, p *prepared, task *contracts.SimTask) error {
	limited, cancel := startLimit(ctx)
	defer cancel()
	lease, err := r.start(limited, p, task.Resources.Over(nil))
	if err != nil {
		return err
	}
	installed, err := lease.Process.EntryPoints(limited)
	if err == nil {
		p.entry, err = wire.Find(p.bundle.Path, p.project, installed)
	}
	if err != nil || p.entry.Kind == wire.KindCommand {
		lease.Discard()
	} else {
		lease.Return()
	}
	return err
}

// resolve is the interpreter that the bundle's processes are.
func (p *prepared) resolve(ctx context.Context) (_ string, err error) {
	p.resolving.Lock()
	defer p.resolving.Unlock()
	if p.interpreter == "" {
		p.interpreter, err = resolveInterpreter(ctx, p.python.Python)
	}
	return p.interpreter, err
}

// ownPython says whether the bundle runs on the worker's own Python.
func (p *prepared) ownPython() bool { return p.python == nil || !p.python.Built() }

func wantsPython(bundle string) bool {
	wants, err := pyenv.Wants(bundle)
	return err != nil || wants
}

// describe says which environment a command has.
func (p *prepared) describe() {
	p.environment = contracts.EnvironmentRecord{Platform: platform(), Packages: map[string]string{}}
	if !p.ownPython() {
		p.environment = p.python.Record
	}
	p.digest = p.environment.Digest()
}

// environ is the worker's environment with the bundle's programs in front.
func (p *prepared) environ(own []string) []string {
	if p.ownPython() {
		return own
	}
	return withPrograms(own, p.python.Bin())
}

// withPrograms is an environment with the programs of a directory in front.
func withPrograms(own []string, path string) []string {
	for _, variable := range own {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			path += string(filepath.ListSeparator) + value
		}
	}
	return append(own[:len(own):len(own)], "PATH="+path)
}

// platform names the machine as Python does.
func platform() string {
	machine := map[string]string{"linux/amd64": "x86_64", "linux/arm64": "aarch64", "darwin/amd64": "x86_64", "darwin/arm64": "arm64"}
	if name, ok := machine[runtime.GOOS+"/"+runtime.GOARCH]; ok {
		return runtime.GOOS + "-" + name
	}
	return runtime.GOOS + "-" + runtime.GOARCH
}
