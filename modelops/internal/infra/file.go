package infra

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

// Files keeps the environment files of what this suite made. The digest of what it wrote
// is recorded beside them: a file with another content is somebody else's, who wrote or
// changed it, and is only replaced by force.
type Files struct {
	Home string // the suite's home
	Now  func() time.Time
	// WithoutCompute takes compute out of the file. Otherwise one that outputs do not have
	// stays: it may be that of a cluster which somebody else runs.
	WithoutCompute bool
}

// FileState is how an environment file is, or what became of it.
type FileState string

// The states. A command that changes nothing answers neither Written nor Destroyed.
const (
	Current   FileState = "current"  // it says what there is
	Outdated  FileState = "outdated" // ours, and it does not
	Foreign   FileState = "foreign"  // somebody else wrote or changed it
	NoFile    FileState = "absent"
	Written   FileState = "written"
	Destroyed FileState = "destroyed" // with the registry that it named
)

// record is what was written to an environment file: one digest, or two while the
// second is being written.
type record struct {
	Environment string             `json:"environment"`
	Written     []contracts.Digest `json:"written"`
}

// Check is an error when there is an environment file of that name that Publish of
// outputs would refuse to replace. outputs may be nil.
func (f Files) Check(name string, outputs *contracts.BundleEnvironment) error {
	_, err := f.before(name, outputs)
	return err
}

// State compares the file with what there is. outputs may be nil.
func (f Files) State(name string, outputs *contracts.BundleEnvironment) (FileState, error) {
	env, err := f.before(name, outputs)
	switch e := contracts.AsError(err); {
	case e != nil && e.Code == contracts.CodeConflict:
		return Foreign, nil
	case e != nil:
		return "", e
	case env != nil && outputs != nil && f.same(env, outputs):
		return Current, nil
	}
	if _, err := environment.Open(f.Home).Read(name); errors.Is(err, fs.ErrNotExist) {
		return NoFile, nil
	}
	return Outdated, nil
}

// Publish makes the environment file say what outputs say: it is [Current] if it did
// already, and then not touched, else [Written]. Keys in it that the contract does not
// have are kept.
func (f Files) Publish(outputs *contracts.BundleEnvironment, force bool) (FileState, error) {
	store := environment.Open(f.Home)
	name := outputs.Environment
	if err := store.Sweep(name); err != nil {
		return "", err
	}
	before, err := f.before(name, outputs)
	if err != nil && !(force && contracts.AsError(err).Code == contracts.CodeConflict) {
		return "", err
	}
	if before != nil && f.same(before, outputs) {
		data, err := store.Read(name)
		if err != nil {
			return "", err
		}
		return Current, f.record(name, contracts.DigestOf(data))
	}
	env := f.merge(before, outputs)
	env.Timestamp = f.Now().UTC().Format(time.RFC3339)
	data, err := env.Marshal()
	if err != nil {
		return "", err
	}
	// Recorded first: a command that is killed between the two finds either content its own.
	old, err := f.recorded(name)
	if err != nil {
		return "", err
	}
	if err := f.record(name, append(old, contracts.DigestOf(data))...); err != nil {
		return "", err
	}
	if _, err := store.Save(env); err != nil {
		return "", err
	}
	return Written, f.record(name, contracts.DigestOf(data))
}

// Retire puts a note of the time in the place of the file of an environment whose
// registry is destroyed. A file of somebody else's stays, and retired is false.
func (f Files) Retire(name string) (retired bool, err error) {
	store := environment.Open(f.Home)
	data, err := store.Read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil {
		ours, err := f.ours(name, data)
		if err != nil || !ours {
			return false, err
		}
	}
	if err := store.Bury(name, f.Now()); err != nil {
		return false, err
	}
	if err := os.Remove(f.recordPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, Cannot("remove", f.recordPath(name), err)
	}
	return true, nil
}

// before is the environment that the file holds, nil when there is none or it cannot be
// understood. The error is a conflict when the file is somebody else's and says anything
// else than outputs.
func (f Files) before(name string, outputs *contracts.BundleEnvironment) (*contracts.BundleEnvironment, error) {
	store := environment.Open(f.Home)
	data, err := store.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var env *contracts.BundleEnvironment
	if loaded, err := store.Load(name); err == nil {
		env = loaded.Env
	}
	ours, err := f.ours(name, data)
	if err != nil {
		return nil, err
	}
	if ours || env != nil && outputs != nil && f.same(env, outputs) {
		return env, nil
	}
	return env, &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("environment file %s was written or changed by somebody else", contracts.Quote(store.Path(name))),
		Hint:    "--force replaces it; to keep it, rename it and the environment in it first"}
}

// same says whether two environments differ in nothing but the time.
func (f Files) same(a, b *contracts.BundleEnvironment) bool {
	x, y := *a, *f.merge(a, b)
	x.Timestamp, y.Timestamp = "", ""
	first, err := x.Marshal()
	if err != nil {
		return false
	}
	second, err := y.Marshal()
	return err == nil && bytes.Equal(first, second)
}

// merge is what a file that holds before says when outputs are put into it: keys that
// nobody here knows stay, and so does a cluster that the provider did not make.
func (f Files) merge(before, outputs *contracts.BundleEnvironment) *contracts.BundleEnvironment {
	if before == nil {
		e := *outputs
		return &e
	}
	e := *before
	e.Environment, e.Registry, e.Storage = outputs.Environment, outputs.Registry, outputs.Storage
	if outputs.Compute != nil || f.WithoutCompute {
		e.Compute = outputs.Compute
	}
	return &e
}

func (f Files) recordPath(name string) string {
	return filepath.Join(f.Home, "state", "environments", name+".json")
}

func (f Files) ours(name string, data []byte) (bool, error) {
	written, err := f.recorded(name)
	return slices.Contains(written, contracts.DigestOf(data)), err
}

func (f Files) recorded(name string) ([]contracts.Digest, error) {
	data, err := os.ReadFile(f.recordPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Cannot("read", f.recordPath(name), err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, nil // damaged: then the file is taken for somebody else's
	}
	return r.Written, nil
}

func (f Files) record(name string, written ...contracts.Digest) error {
	return writeState(f.recordPath(name), record{Environment: name, Written: written})
}
