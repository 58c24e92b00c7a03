//go:build unix

package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// prepared is a bundle that is ready to run.
type prepared struct {
	bundle  *cache.Entry
	project pyproject.Project
	shared  pyenv.Registry // where nodes share environments; nil for nowhere
	python  *pyenv.Env     // nil when nothing in Python is needed
	entry   *wire.Entry

	session *wire.Session       // nil when none is warm
	asked   contracts.Resources // what it was started with
	loaded  bool                // the wire is imported in it
	used    bool                // it has had a task

	environment contracts.EnvironmentRecord // that tasks have
	digest      string                      // of environment; "" until it is known
	told        string                      // digest of the environment that a result had in full

	checked time.Time     // when the bundle's files were last looked at
	cost    time.Duration // of that look
}

// A bundle whose process is warm is looked at before each task, unless it has many files:
// then no more than one part in looksAt of the time goes into it.
const (
	looksAt  = 20
	fewFiles = 200
)

// prepare has the task's bundle here, unchanged, with its environment, and its entry found
// if that is possible without a process.
func (r *Runner) prepare(ctx context.Context, task *contracts.SimTask) (*prepared, error) {
	if p := r.current; p != nil && p.bundle.Digest == task.Bundle.Digest && p.entry != nil && p.unchanged() {
		return p, nil
	}
	r.Close()
	source, err := r.Source(task.Bundle.Repository)
	if err != nil {
		return nil, err
	}
	bundle, err := r.Cache.Ensure(ctx, task.Bundle, source)
	if err != nil {
		return nil, err
	}
	p := &prepared{bundle: bundle, checked: time.Now()}
	p.shared, _ = source.(pyenv.Registry)
	r.current = p
	if p.project, err = pyproject.Read(bundle.Path); err != nil {
		return nil, err
	}
	return p, r.findEntry(ctx, p)
}

// unchanged looks whether the bundle's files are as they were. If an earlier task, or
// anybody else, changed them, the bundle is mended and its process replaced.
func (p *prepared) unchanged() bool {
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

// settle finds the entry by what is installed. Entry points of the bundle's own
// environment come first of all; those of the worker's Python, which is nobody's in
// particular, are for a bundle that names nothing itself.
func (r *Runner) settle(ctx context.Context, p *prepared, task *contracts.SimTask) error {
	asked := task.Resources.Over(nil)
	limited, cancel := startLimit(ctx)
	defer cancel()
	if err := r.startSession(limited, p, asked); err != nil {
		return err
	}
	entry, err := wire.Find(p.bundle.Path, p.project, p.session.Info.EntryPoints)
	if err != nil {
		return err
	}
	if entry.Kind == wire.KindCommand {
		p.cool()
	}
	p.entry = entry
	return nil
}

// ownPython says whether the bundle runs on the worker's own Python.
func (p *prepared) ownPython() bool { return p.python == nil || !p.python.Built() }

func wantsPython(bundle string) bool {
	wants, err := pyenv.Wants(bundle)
	return err != nil || wants
}

// describe takes in which environment tasks have.
func (p *prepared) describe(environment contracts.EnvironmentRecord) {
	p.environment, p.digest = environment, environment.Digest()
}

// record is the environment of a command.
func (p *prepared) record() contracts.EnvironmentRecord {
	if p.ownPython() {
		return contracts.EnvironmentRecord{Platform: platform(), Packages: map[string]string{}}
	}
	return p.python.Record
}

// environ is the worker's environment with the bundle's programs in front.
func (p *prepared) environ(own []string) []string {
	if p.ownPython() {
		return own
	}
	path := p.python.Bin()
	for _, variable := range own {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			path += string(filepath.ListSeparator) + value
		}
	}
	return append(own[:len(own):len(own)], "PATH="+path)
}

// sized says whether the warm process has the cores and the memory that are asked for.
func (p *prepared) sized(asked contracts.Resources) bool {
	return p.asked.Cores == asked.Cores && p.asked.Memory == asked.Memory
}

// cool ends the warm process.
func (p *prepared) cool() {
	if p.session != nil {
		p.session.Close()
		p.session, p.loaded = nil, false
	}
}

func (p *prepared) release() {
	p.cool()
	p.python.Release()
	p.bundle.Release()
}

// resolveInterpreter is the interpreter behind a script such as those of pyenv or asdf,
// which choose one by variables and files that a task must not have.
func resolveInterpreter(ctx context.Context, python string) (string, error) {
	f, err := os.Open(python)
	if err != nil {
		return "", noInterpreter(python, err)
	}
	defer f.Close()
	var begin [2]byte
	if _, err := io.ReadFull(f, begin[:]); err != nil || !bytes.Equal(begin[:], []byte("#!")) {
		return python, nil
	}
	cmd := exec.CommandContext(ctx, python, "-I", "-c", "import sys; print(sys.executable)")
	cmd.Dir = "/" // a bundle's own .python-version does not choose
	out, err := cmd.Output()
	if err != nil {
		return "", noInterpreter(python, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func noInterpreter(python string, err error) error {
	e := &contracts.Error{
		Code: contracts.CodeDependencies, Stage: contracts.StagePrepare,
		Message: "interpreter " + contracts.Quote(python) + " does not work: " + contracts.Quote(err.Error()),
		Hint:    "install Python 3.9 or later where the worker runs",
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		e.StderrTail = string(exit.Stderr)
	}
	return e.Because(err)
}

// oldest is the oldest Python 3 that the harness is for.
const oldest = 9

func checkPython(version string) error {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err == nil && (major > 3 || major == 3 && minor >= oldest) {
		return nil
	}
	return &contracts.Error{
		Code: contracts.CodeDependencies, Stage: contracts.StagePrepare,
		Message: fmt.Sprintf("the worker's Python is %s, and the oldest that works is 3.%d", version, oldest),
		Hint:    "put a newer python3 on the worker's PATH",
	}
}
