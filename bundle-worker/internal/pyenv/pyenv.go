//go:build unix

// Package pyenv gives a bundle the Python environment that it asks for: the worker's own
// Python when it asks for nothing, else a virtual environment with its dependencies.
//
// An environment is keyed by everything that decides it: the dependency files, the
// interpreter, the platform, the installer and this package's version. It is built in a
// directory of its own, and one rename of a link makes it the environment of its key: an
// environment is whole or not there. A failed build is reported in the installer's own
// words, and nothing of it is used again. The bundle's own code is never copied into it.
//
//	<root>/<key>            a link to the environment
//	<root>/<key>.<random>/  the environment, with record.json
//	<root>/locks/<key>      held while it is built
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

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/owned"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

// builder is the version of how environments are built. A change of it makes all new.
const builder = 1

// Options say which environment is wanted.
type Options struct {
	Bundle  string    // the bundle's directory; it is only read
	Root    string    // where environments are kept
	Environ []string  // the worker's own variables; installers get those that are theirs
	Log     io.Writer // one line for each step that takes long; nil for none
	// Supervisor runs the installers.
	Supervisor *runner.Supervisor
}

// Env is a Python environment.
type Env struct {
	Python string // the interpreter, absolute
	// Record is what was installed. It is empty for the worker's own Python: the process
	// that runs on it says what it has.
	Record contracts.EnvironmentRecord
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
	probed, err := probe(ctx, base)
	if err != nil {
		return nil, err
	}
	if err := wants.checkPython(probed.Python); err != nil {
		return nil, err
	}
	if !wants.anything() {
		return &Env{Python: base}, nil
	}
	tool, err := chooseInstaller(base, wants)
	if err != nil {
		return nil, err
	}
	root, err := owned.Directory(opts.Root, "MODELOPS_VENVS_DIR")
	if err != nil {
		return nil, err
	}
	k := key(wants, base, probed, tool)
	if env, err := open(root, k); err == nil {
		return env, nil
	}
	if err := os.MkdirAll(filepath.Join(root, "locks"), 0o700); err != nil {
		return nil, unusable(root, err)
	}
	held, err := lock.Exclusive(ctx, filepath.Join(root, "locks", k))
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if env, err := open(root, k); err == nil {
		return env, nil // somebody else was first
	}
	if held.Held() {
		sweep(root, k)
	}
	return build(ctx, opts, buildPlan{root: root, key: k, base: base, tool: tool, wants: wants})
}

// key names an environment by everything that decides it.
func key(w *wants, base string, probed contracts.EnvironmentRecord, tool installer) string {
	if resolved, err := filepath.EvalSymlinks(base); err == nil {
		base = resolved
	}
	data, err := json.Marshal(map[string]any{
		"builder": builder, "python": probed.Python, "interpreter": base, "platform": probed.Platform, "installer": tool.name, "files": w.digests,
	})
	if err != nil { // strings and numbers only
		panic(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

const recordFile = "record.json"

// open is the environment of a key, when it is there.
func open(root, key string) (*Env, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(root, key))
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, err
	}
	var record contracts.EnvironmentRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return nil, err
	}
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(python); err != nil { // its base interpreter may be gone
		return nil, err
	}
	return &Env{Python: python, Record: record}, nil
}

// sweep deletes what builds of the key that died left behind. The caller holds the lock,
// and nothing of the key is in use.
func sweep(root, key string) {
	leftovers, err := filepath.Glob(filepath.Join(root, key+".*"))
	if err != nil {
		return
	}
	current, _ := filepath.EvalSymlinks(filepath.Join(root, key))
	for _, leftover := range leftovers {
		if leftover != current {
			_ = os.RemoveAll(leftover)
		}
	}
}

// buildPlan is a build that is to be done.
type buildPlan struct {
	root, key, base string
	tool            installer
	wants           *wants
}

// build makes the environment aside and publishes it.
func build(ctx context.Context, opts Options, plan buildPlan) (*Env, error) {
	dir, err := os.MkdirTemp(plan.root, plan.key+".")
	if err != nil {
		return nil, unusable(plan.root, err)
	}
	published := false
	defer func() {
		if !published {
			_ = os.RemoveAll(dir)
		}
	}()
	if opts.Log != nil {
		fmt.Fprintf(opts.Log, "installing the dependencies of %s with %s\n", plan.wants.source, plan.tool.name)
	}
	if err := plan.tool.install(ctx, opts, plan, dir); err != nil {
		return nil, err
	}
	python := filepath.Join(dir, "bin", "python")
	record, err := probe(ctx, python)
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, recordFile), data, 0o600); err != nil {
		return nil, unusable(dir, err)
	}
	link := dir + ".link"
	if err := os.Symlink(filepath.Base(dir), link); err != nil {
		return nil, unusable(dir, err)
	}
	if err := os.Rename(link, filepath.Join(plan.root, plan.key)); err != nil {
		_ = os.Remove(link)
		return nil, unusable(dir, err)
	}
	published = true
	return &Env{Python: python, Record: record}, nil
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

func probe(ctx context.Context, python string) (contracts.EnvironmentRecord, error) {
	var record contracts.EnvironmentRecord
	cmd := exec.CommandContext(ctx, python, "-I", "-B", "-c", probeProgram)
	cmd.Dir = "/"
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &record)
	}
	if err != nil {
		e := dependencies("interpreter "+contracts.Quote(python)+" does not work: "+contracts.Quote(err.Error()), "Python 3.9 or later is needed")
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			e.StderrTail = string(exit.Stderr)
		}
		return record, e
	}
	return record, nil
}

func dependencies(message, hint string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeDependencies, Stage: contracts.StagePrepare, Message: message, Hint: hint}
}

func unusable(path string, err error) error {
	reason := err.Error()
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathErr.Err.Error()
	}
	return dependencies("Python environments cannot be kept in "+contracts.Quote(path)+": "+reason, "name another directory in MODELOPS_VENVS_DIR").Because(err)
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
