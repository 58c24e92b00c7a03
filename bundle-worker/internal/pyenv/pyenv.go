//go:build unix

// Package pyenv gives a bundle the Python environment that it asks for: the worker's own
// Python when it asks for nothing, else a virtual environment with its dependencies.
//
// An environment is keyed by everything that decides it: what the bundle asks for, the
// interpreter, the platform and this package's version. It is built in a directory of its
// own, made read-only, tried, and one rename of a link makes it the environment of its
// key: an environment is whole or not there. A failed build is reported in the installer's
// own words, and nothing of it is used again. The bundle's own code is never copied into it.
//
// One that was built is given to the bundle's repository, and other nodes take it from
// there; see shared.go for who must be trusted for that.
//
//	<root>/<key>                       a link to the environment
//	<root>/<key>.<random>/             the environment, with record.json and inventory
//	<root>/locks/<key>                 held while it is built
//	<root>/locks/<key>.<random>.use    held, shared, by whoever uses it
package pyenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/owned"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

// builder is the version of how environments are built. A change of it makes all new.
const builder = 2

// Options say which environment is wanted.
type Options struct {
	Bundle     string             // the bundle's directory; it is only read
	Root       string             // where environments are kept
	Environ    []string           // the worker's own variables; installers get those that are theirs
	Log        io.Writer          // one line for each step that takes long; nil for none
	Supervisor *runner.Supervisor // starts installers, and ends them with this process
	Shared     Registry           // where nodes share environments; nil for nowhere
	PullOnly   bool               // take from Shared, and give nothing
	// Check says whether the bundle works in an environment that is finished, and nobody's
	// yet, by its interpreter; nil for no look. What it refuses is not kept.
	Check func(ctx context.Context, python string) error
}

func (o Options) note(format string, args ...any) {
	if o.Log != nil {
		fmt.Fprintf(o.Log, format+"\n", args...)
	}
}

// Env is a Python environment. It is not collected until it is released.
type Env struct {
	Python string // the interpreter, absolute
	// Record is what was installed. It is empty for the worker's own Python: the process
	// that runs on it says what it has.
	Record contracts.EnvironmentRecord

	use *lock.File
}

// Release ends the use of the environment.
func (e *Env) Release() {
	if e != nil {
		e.use.Unlock()
	}
}

// Ensure finds or builds the environment of a bundle. Of any number of processes that ask
// for one, one builds it. The error is a [contracts.Error] of
// [contracts.CodeDependencies].
func Ensure(ctx context.Context, opts Options) (*Env, error) {
	base, err := exec.LookPath("python3")
	if err != nil {
		return nil, dependencies("the worker has no python3", "install Python 3 where bundle-worker runs")
	}
	wants, err := readWants(opts.Bundle)
	if err != nil {
		return nil, err
	}
	if !wants.anything() && wants.requiresPython == "" {
		return &Env{Python: base}, nil
	}
	python, err := identify(ctx, base)
	if err != nil {
		return nil, err
	}
	if err := wants.checkPython(python.Version); err != nil {
		return nil, err
	}
	if !wants.anything() {
		return &Env{Python: base}, nil
	}
	root, err := owned.Directory(opts.Root, variable)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(root, locksDir), 0o700); err != nil {
		return nil, unusable(root, err)
	}
	asked := request(wants, python)
	plan := buildPlan{Options: opts, root: root, python: python, wants: wants, asked: asked, key: localKey(asked, python)}
	if env, err := open(ctx, root, plan.key); err == nil {
		return env, nil
	}
	held, err := lock.Exclusive(ctx, filepath.Join(root, locksDir, plan.key))
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if env, err := open(ctx, root, plan.key); err == nil {
		return env, nil // somebody else was first
	}
	if held.Held() {
		sweep(root, plan.key)
	}
	return plan.make(ctx)
}

// interpreter is a Python, and what packages for it depend on.
type interpreter struct {
	Path     string `json:"-"`        // of the program itself, not of a script that chooses one
	Version  string `json:"python"`   // in full
	ABI      string `json:"abi"`      // of extension modules
	Platform string `json:"platform"` // as in linux-x86_64
	Libc     string `json:"libc"`
}

// identifyProgram imports nothing that takes time.
const identifyProgram = `
import os, sys, _imp
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (ValueError, OSError, AttributeError):
    libc = os.uname().release if sys.platform == "darwin" else ""
for line in (sys.executable, sys.version.split()[0].rstrip("+"), "".join(_imp.extension_suffixes()[:1]), sys.platform + "-" + os.uname().machine, libc):
    print(line)
`

func identify(ctx context.Context, python string) (interpreter, error) {
	cmd := exec.CommandContext(ctx, python, "-I", "-S", "-B", "-c", identifyProgram)
	cmd.Dir = "/" // a bundle's own .python-version does not choose
	out, err := cmd.Output()
	if err != nil {
		return interpreter{}, broken(python, err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 5 || !filepath.IsAbs(lines[0]) {
		return interpreter{}, broken(python, errors.New("it does not say what it is"))
	}
	return interpreter{Path: lines[0], Version: lines[1], ABI: lines[2], Platform: lines[3], Libc: lines[4]}, nil
}

// request is everything that decides what is installed, as canonical JSON. It goes with an
// environment that is shared, so that a node can hold it against what it asks for itself.
func request(w *wants, python interpreter) []byte {
	data, err := json.Marshal(map[string]any{"builder": builder, "interpreter": python, "source": w.source, "files": w.decisive()})
	if err != nil { // strings and numbers only
		panic(err)
	}
	return data
}

// sharedKey names an environment among nodes with the same interpreter and platform.
func sharedKey(asked []byte) string {
	sum := sha256.Sum256(asked)
	return hex.EncodeToString(sum[:])
}

// localKey names an environment on this node, where it also depends on the interpreter's
// place.
func localKey(asked []byte, python interpreter) string {
	path := python.Path
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	return sharedKey([]byte(sharedKey(asked) + "\n" + path))
}

// buildPlan is an environment that is to be made.
type buildPlan struct {
	Options
	root, key string
	python    interpreter
	wants     *wants
	asked     []byte
}

// make takes the environment from where nodes share them, or builds it and gives it there.
func (p buildPlan) make(ctx context.Context) (*Env, error) {
	missing := ""
	if p.Shared != nil {
		env, err := p.aside(ctx, p.pull)
		switch {
		case err == nil:
			return env, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case contracts.AsError(err).Code == contracts.CodeBundleNotFound:
			missing = "; no other node has them for Python " + p.python.Version + " on " + p.python.Platform
		default:
			p.note("no shared environment was taken: %s", contracts.Lines(err.Error()))
		}
	}
	tool, err := chooseInstaller(p.python.Path, p.wants)
	if err != nil {
		return nil, err
	}
	p.note("installing the dependencies of %s with %s%s", p.wants.source, tool.name, missing)
	env, err := p.aside(ctx, func(ctx context.Context, dir string) error { return tool.install(ctx, p, dir) })
	if err != nil {
		return nil, err
	}
	if p.Shared != nil && !p.PullOnly {
		p.push(ctx, filepath.Dir(env.Bin()))
	}
	return env, nil
}

// aside fills a new directory, and publishes it when what is in it works.
func (p buildPlan) aside(ctx context.Context, fill func(ctx context.Context, dir string) error) (*Env, error) {
	dir, err := os.MkdirTemp(p.root, p.key+".")
	if err != nil {
		return nil, unusable(p.root, err)
	}
	use, err := lock.Shared(ctx, useLock(p.root, dir))
	if err != nil {
		return nil, err
	}
	published := false
	defer func() {
		if !published {
			discard(p.root, dir)
			use.Unlock()
		}
	}()
	if err := fill(ctx, dir); err != nil {
		return nil, err
	}
	env := &Env{Python: filepath.Join(dir, "bin", "python"), use: use}
	if env.Record, err = probe(ctx, env.Python, p.Environ); err != nil {
		return nil, err
	}
	if err := p.finish(dir, env.Record); err != nil {
		return nil, unusable(dir, err)
	}
	if p.Check != nil {
		if err := p.Check(ctx, env.Python); err != nil {
			return nil, err
		}
	}
	if err := publish(p.root, p.key, dir); err != nil {
		return nil, unusable(dir, err)
	}
	published = true
	return env, nil
}

// finish writes what belongs to an environment, and makes it read-only.
func (p buildPlan) finish(dir string, record contracts.EnvironmentRecord) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{recordFile: data, requestFile: p.asked} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return seal(dir)
}

// probeProgram tells what an interpreter is and has. It imports nothing of anybody's.
const probeProgram = `
import json, platform, sys
from importlib import metadata
packages = {}
for found in metadata.distributions():
    name = found.metadata["Name"]
    if name and name not in packages:
        packages[name] = found.version
system = sys.platform if sys.platform != "linux2" else "linux"
json.dump({"python": platform.python_version(), "platform": system + "-" + platform.machine(), "packages": packages}, sys.stdout)
`

func probe(ctx context.Context, python string, own []string) (contracts.EnvironmentRecord, error) {
	var record contracts.EnvironmentRecord
	cmd := exec.CommandContext(ctx, python, "-I", "-B", "-c", probeProgram)
	cmd.Dir, cmd.Env = "/", packageEnviron(own)
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &record)
	}
	if err != nil {
		return record, broken(python, err)
	}
	return record, nil
}

func broken(python string, err error) error {
	e := dependencies("interpreter "+contracts.Quote(python)+" does not work: "+contracts.Quote(err.Error()), "Python 3.9 or later is needed")
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		e.StderrTail = string(exit.Stderr)
	}
	return e
}

func dependencies(message, hint string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeDependencies, Stage: contracts.StagePrepare, Message: message, Hint: hint}
}

func unusable(path string, err error) error {
	reason := err.Error()
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathErr.Err.Error()
	}
	e := dependencies("Python environments cannot be kept in "+contracts.Quote(path)+": "+reason, "name another directory in "+variable)
	if errors.Is(err, syscall.ENOSPC) {
		e.Code, e.Hint = contracts.CodeDiskFull, "free some space there, or run: bundle-worker cache gc"
	}
	return e.Because(err)
}

// Built says whether the environment was made for bundles like this one; false for the
// worker's own Python.
func (e *Env) Built() bool { return e.Record.Python != "" }

// Bin is the directory of the environment's programs.
func (e *Env) Bin() string { return filepath.Dir(e.Python) }

// Wants says whether a bundle asks for an environment of its own.
func Wants(bundle string) (bool, error) {
	w, err := readWants(bundle)
	if err != nil {
		return false, err
	}
	return w.anything() || w.requiresPython != "", nil
}
