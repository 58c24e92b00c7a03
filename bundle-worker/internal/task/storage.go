//go:build unix

package task

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/blake2b"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// storage is the environment's, opened when it is first asked for.
type storage struct {
	mu    sync.Mutex
	store blobstore.Store
}

func (s *storage) open(open func() (blobstore.Store, error)) (blobstore.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	store, err := open()
	if err == nil {
		s.store = store
	}
	return store, err
}

// toStorage has a simulation write its large outputs to a directory, and stores them from
// there before the task is reported done.
func (r *running) toStorage(ctx context.Context, simulate func(dir string) error) error {
	dir, err := os.MkdirTemp(r.Spill, "outputs-")
	if err != nil {
		return notStored("outputs", err)
	}
	defer func() { _ = runner.RemoveAll(dir) }() // what stays is swept when the next worker starts
	if err := simulate(dir); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.result.Outputs)) {
		artifact := r.result.Outputs[name]
		file, ok := strings.CutPrefix(artifact.Ref, "file:")
		if !ok {
			continue
		}
		if err := r.put(ctx, filepath.Join(dir, file), artifact.Checksum); err != nil {
			return notStored("output "+contracts.Quote(name), err)
		}
		artifact.Ref = contracts.BlobRef(artifact.Checksum)
		r.result.Outputs[name] = artifact
	}
	return nil
}

func (r *running) put(ctx context.Context, file, checksum string) error {
	store, err := r.storage.open(r.Storage)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return store.Put(ctx, contracts.BlobKey(contracts.ResultsPrefix(r.result.ContentDigest), checksum), f)
}

// notStored is the error of a task whose outputs are there, and could not be kept: another
// try may have more luck.
func notStored(what string, cause error) error {
	e := &contracts.Error{
		Code: contracts.CodeUnavailable, Stage: contracts.StageStore, Retryable: true,
		Message: what + " could not be stored: " + contracts.Quote(cause.Error()),
		Hint:    "look at the environment's storage; the task can run again",
	}
	if known, ok := errors.AsType[*contracts.Error](cause); ok {
		e.Code, e.Hint = known.Code, known.Hint
	}
	return e.Because(cause)
}

// fetched are copies of outputs of replicates that lie in the storage.
type fetched struct {
	*running
	dir string
}

// file is the file that has the bytes of an output, which are those that were recorded.
func (f *fetched) file(ctx context.Context, name string, artifact contracts.Artifact) (path string, err error) {
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp(f.Spill, "inputs-"); err != nil {
			return "", notRead(name, err)
		}
	}
	path = filepath.Join(f.dir, artifact.Checksum)
	if _, err := os.Stat(path); err == nil { // equal outputs share it
		return path, nil
	}
	store, err := f.storage.open(f.Storage)
	if err != nil {
		return "", err
	}
	in, err := store.Get(ctx, contracts.BlobKey(contracts.ResultsPrefix(f.result.ContentDigest), artifact.Checksum))
	if err != nil {
		return "", notRead(name, err)
	}
	defer func() { _ = in.Close() }()
	sum, size, err := copyTo(path+".part", in)
	switch {
	case err != nil:
		return "", notRead(name, err)
	case size != artifact.Size || sum != artifact.Checksum:
		return "", &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StagePrepare, Message: "output " + contracts.Quote(name) + " of a replicate is not what was recorded"}
	}
	return path, os.Rename(path+".part", path)
}

// copyTo writes a file and answers with the checksum and the size of what it wrote.
func copyTo(path string, from io.Reader) (checksum string, size int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	hash, err := blake2b.New256(nil)
	if err == nil {
		size, err = io.Copy(io.MultiWriter(f, hash), from)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), size, nil
}

func notRead(name string, cause error) error {
	e := &contracts.Error{
		Code: contracts.CodeUnavailable, Stage: contracts.StagePrepare, Retryable: true,
		Message: "output " + contracts.Quote(name) + " of a replicate could not be read: " + contracts.Quote(cause.Error()),
	}
	if errors.Is(cause, blobstore.ErrNotFound) {
		e.Code, e.Retryable = contracts.CodeIntegrity, false
	} else if known, ok := errors.AsType[*contracts.Error](cause); ok {
		e.Code, e.Hint = known.Code, known.Hint
	}
	return e.Because(cause)
}

func (f *fetched) remove() {
	if f.dir != "" {
		_ = runner.RemoveAll(f.dir)
	}
}
