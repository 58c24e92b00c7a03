package dask

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

const (
	// defaultVersion is the version of distributed that a bridge is first started with,
	// and that local clusters have. See scripts and docs/dask.md for those that work.
	defaultVersion = "2026.8.0"
)

// python is the interpreter of an environment with a version of distributed. The worker
// makes it, as it makes those of bundles.
func (r *running) python(ctx context.Context, version string) (string, error) {
	return Python(ctx, r.Worker, r.Home, version, r.Environ, logWriter{r.Log})
}

var versionPattern = regexp.MustCompile(`\A[0-9]+(\.[0-9]+)+\z`)

// Python is the interpreter of an environment with this version of distributed, or with
// this program's own choice when it is "". It is made if it is not there, unless
// MODELOPS_DASK_PYTHON names one that has this version.
func Python(ctx context.Context, worker, home, version string, environ []string, log interface{ Write([]byte) (int, error) }) (string, error) {
	if version == "" {
		version = defaultVersion
	}
	if !versionPattern.MatchString(version) {
		return "", &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit, Message: "the scheduler has distributed " + contracts.Quote(version) + ", which is no released version"}
	}
	if python, err := baked(ctx, version, environ); python != "" || err != nil {
		return python, err
	}
	dir := filepath.Join(home, "state", "dask", version)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", cannot("make a directory", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, "requirements.txt"), []byte("distributed=="+version+"\n"), 0o600); err != nil {
		return "", cannot("write requirements.txt", err)
	}
	cmd := exec.CommandContext(ctx, worker, "ensure-python", dir)
	cmd.Env = environ
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if words.Len() > 0 {
		_, _ = log.Write([]byte(words.String()))
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return "", &contracts.Error{Code: contracts.CodeDependencies, Stage: contracts.StageSubmit,
			Message: "distributed " + version + ", which the driver needs, could not be installed", Hint: "its installer's own words are below", StderrTail: words.String()}
	}
	if err != nil {
		return "", cannot("run bundle-worker", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// baked is the interpreter that MODELOPS_DASK_PYTHON names, as the driver's image does, if
// it has this version of distributed. One that has none is an error.
func baked(ctx context.Context, version string, environ []string) (string, error) {
	const variable = "MODELOPS_DASK_PYTHON="
	at := slices.IndexFunc(environ, func(v string) bool { return strings.HasPrefix(v, variable) && v != variable })
	if at < 0 {
		return "", nil
	}
	python := strings.TrimPrefix(environ[at], variable)
	out, err := exec.CommandContext(ctx, python, "-I", "-c", "import importlib.metadata; print(importlib.metadata.version('distributed'))").Output()
	if err != nil {
		return "", (&contracts.Error{Code: contracts.CodeDependencies, Stage: contracts.StageSubmit,
			Message: variable + contracts.Quote(python) + " is no Python with distributed: " + err.Error(), Hint: "unset it, and mops makes one itself"}).Because(err)
	}
	if strings.TrimSpace(string(out)) != version {
		return "", nil
	}
	return python, nil
}
