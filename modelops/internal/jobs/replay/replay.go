// Package replay runs a task of a job once more and compares what comes of it with what
// the job has on record, byte for byte.
//
// Each run has a worker and a simulation process of its own. What a task gives there
// depends on its bundle, its environment, its parameters and its seed, and on nothing
// that an earlier task left behind; if it differs from the record, one of these was not
// all that the model used.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// Replayer replays one task.
type Replayer struct {
	Job      *jobs.Job
	Task     jobs.Task
	Recorded *contracts.SimReturn // what became of the task in the job
	Archive  *archive.Archive     // where its outputs are
	// Environment is what an environment's digest stands for; nil when that is not known.
	Environment func(ctx context.Context, digest string) (*contracts.EnvironmentRecord, error)
	// Executor runs a task in a process of its own and leaves large outputs in dir.
	Executor func(dir string) jobs.Executor
	Runs     int    // how many times; at least 1
	Save     string // a directory for the outputs of both, absolute; "" for none
}

// version is a result with the bytes of its outputs.
type version struct {
	*contracts.SimReturn
	open func(context.Context, contracts.Artifact) (io.ReadCloser, error)
}

// Replay runs the task and compares. That something differs is no error of its own: it is
// the report's. What keeps the task from running here is an error.
func (r *Replayer) Replay(ctx context.Context) (*Report, error) {
	scratch, err := os.MkdirTemp("", "mops-replay-")
	if err != nil {
		return nil, cannotStore(err)
	}
	defer func() { _ = os.RemoveAll(scratch) }() // a temporary directory that cannot be removed harms nothing
	recorded := version{r.Recorded, r.Archive.Open}
	var runs []version
	for i := range r.Runs {
		run, err := r.run(ctx, filepath.Join(scratch, strconv.Itoa(i)))
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	report := r.report(runs)
	shown := runs[report.Shown-1]
	if report.Outputs, err = compareOutputs(ctx, recorded, shown); err != nil {
		return nil, err
	}
	if report.Environment, err = r.compareEnvironments(ctx, shown); err != nil {
		return nil, err
	}
	report.Error = report.verdict()
	if r.Save != "" {
		err = save(ctx, r.Save, recorded, runs)
	}
	return report, err
}

// run runs the task once.
func (r *Replayer) run(ctx context.Context, dir string) (version, error) {
	tasks, results := make(chan jobs.Task, 1), make(chan jobs.Result, 1)
	tasks <- r.Task
	close(tasks)
	if err := r.Executor(dir).Run(ctx, tasks, results); err != nil {
		return version{}, err
	}
	result := <-results // Run returned without an error: it sent one for each task
	if result.Return.Error == nil {
		if err := result.Check(r.Job.Content); err != nil {
			return version{}, err
		}
	} else if !ofTask(result.Return.Error.Code) && fingerprint(result.Return) != fingerprint(r.Recorded) {
		return version{}, result.Return.Error
	}
	return version{result.Return, func(_ context.Context, artifact contracts.Artifact) (io.ReadCloser, error) {
		return openLocal(result.Dir, artifact)
	}}, nil
}

// ofTask says whether an error is what became of a task, rather than of the attempt to
// run it.
func ofTask(code contracts.Code) bool {
	return slices.Contains([]contracts.Code{
		contracts.CodeWireMissing, contracts.CodeImport, contracts.CodeModel, contracts.CodeOutput, contracts.CodeExit,
		contracts.CodeSignal, contracts.CodeOutOfMemory, contracts.CodeTimeout, contracts.CodeProtocol,
	}, code)
}

// openLocal opens the bytes of an output that a worker on this machine answered.
func openLocal(dir string, artifact contracts.Artifact) (io.ReadCloser, error) {
	if artifact.Ref == "" {
		return io.NopCloser(strings.NewReader(string(artifact.Inline))), nil
	}
	if artifact.Ref != "file:"+artifact.Checksum {
		return nil, &contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageStore,
			Message: "the worker's output refers to " + contracts.Quote(artifact.Ref) + ", which is no file of its own"}
	}
	f, err := os.Open(filepath.Join(dir, artifact.Checksum))
	if err != nil {
		return nil, cannotStore(err)
	}
	return f, nil
}

// fingerprint is equal for results that are the same: the same outputs byte for byte, or
// the same failure.
func fingerprint(r *contracts.SimReturn) string {
	if r.Error != nil {
		return fmt.Sprintf("%q %q %q", r.Error.Code, r.Error.Type, r.Error.Message)
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.Outputs)) {
		fmt.Fprintf(&b, "%q %d %s\n", name, r.Outputs[name].Size, r.Outputs[name].Checksum)
	}
	return b.String()
}

// save writes the outputs of the record and of every run below dir, which has nothing in
// it yet: recorded/, replayed/, replayed-2/ and so on.
func save(ctx context.Context, dir string, recorded version, runs []version) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return cannotStore(err)
	}
	if err := saveVersion(ctx, filepath.Join(dir, "recorded"), recorded); err != nil {
		return err
	}
	for i, run := range runs {
		name := "replayed"
		if i > 0 {
			name += "-" + strconv.Itoa(i+1)
		}
		if err := saveVersion(ctx, filepath.Join(dir, name), run); err != nil {
			return err
		}
	}
	return nil
}

func saveVersion(ctx context.Context, dir string, v version) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return cannotStore(err)
	}
	root, err := os.OpenRoot(dir) // names of outputs are the model's: they lead nowhere else
	if err != nil {
		return cannotStore(err)
	}
	defer func() { _ = root.Close() }()
	for _, name := range slices.Sorted(maps.Keys(v.Outputs)) {
		if err := saveOutput(ctx, root, name, v); err != nil {
			return err
		}
	}
	return nil
}

func saveOutput(ctx context.Context, root *os.Root, name string, v version) error {
	r, err := v.open(ctx, v.Outputs[name])
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	file := filepath.FromSlash(name)
	if err := root.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return cannotStore(err)
	}
	f, err := root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return cannotStore(err)
	}
	_, err = io.Copy(f, r)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if _, ok := errors.AsType[*contracts.Error](err); err == nil || ok {
		return err
	}
	return cannotStore(err)
}

// CheckSave says whether outputs can be saved in dir: it is absent or empty.
func CheckSave(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return cannotStore(err)
	}
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageCommand,
		Message: "directory " + contracts.Quote(dir) + " is not empty", Hint: "name one that is not there yet"}
}

func cannotStore(err error) error {
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageStore, Message: "outputs: " + err.Error()}).Because(err)
}
