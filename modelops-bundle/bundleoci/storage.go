package bundleoci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// StorageKey is the key of a blob in an environment's storage.
func StorageKey(d contracts.Digest) string { return "bundles/" + digestKey(d) }

// storageKey is the key of a blob, which in the files format is the Python suite's.
func storageKey(blob bundle.Blob) string {
	if blob.Encoding == bundle.WholeFile {
		return digestKey(blob.Stored)
	}
	return StorageKey(blob.Stored)
}

func digestKey(d contracts.Digest) string {
	hex := d.Hex()
	return hex[:2] + "/" + hex[2:4] + "/" + hex
}

// storage is the storage of a repository's environment, opened when it is first needed.
type storage struct {
	environment string
	settings    *contracts.Storage // nil for none
	open        func() (blobstore.Store, error)
}

func newStorage(env *contracts.BundleEnvironment, open func() (blobstore.Store, error)) *storage {
	s := &storage{environment: env.Environment, settings: env.Storage}
	if open == nil {
		open = func() (blobstore.Store, error) {
			return nil, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageStore, Message: "this program reads no storage"}
		}
	}
	s.open = sync.OnceValues(open)
	return s
}

// String is the storage for people, without secrets.
func (s *storage) String() string {
	text := "storage " + s.settings.Provider + " " + contracts.Quote(s.settings.Container)
	if s.settings.Prefix != "" {
		text += ", prefix " + contracts.Quote(s.settings.Prefix) + ","
	}
	return text + " of environment " + s.environment
}

// storing is the part of a push that goes to the storage.
type storing struct {
	store    blobstore.Store
	uploaded atomic.Int64

	mu   sync.Mutex
	sent map[contracts.Digest]bool
}

// storedPaths are the files whose bytes belong in the storage.
func storedPaths(sources []bundle.Source) []string {
	var paths []string
	for _, source := range sources {
		if source.Storage && source.Info.Size() > 0 {
			paths = append(paths, source.Path)
		}
	}
	return paths
}

// openStorage opens the storage when there are files for it, before anything is sent.
func (p *push) openStorage(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	s := p.repository.storage
	if s.settings == nil {
		what := contracts.Quote(paths[0])
		if len(paths) > 1 {
			what = fmt.Sprintf("%d files (%s first)", len(paths), what)
		}
		return &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StagePush,
			Message: what + " should lie in the storage, and environment " + contracts.Quote(s.environment) + " has none",
			Hint:    "write storage.mode: oci-only into .modelops-bundle/config.yaml to keep all in the registry, or choose an environment with storage",
		}
	}
	var err error
	p.storing.store, err = s.open()
	p.storing.sent = map[contracts.Digest]bool{}
	return err
}

// store puts a blob into the storage, unless it is there.
func (p *push) store(ctx context.Context, blob bundle.Blob, stored []byte) error {
	s := &p.storing
	s.mu.Lock()
	sent := s.sent[blob.Stored]
	s.sent[blob.Stored] = true
	s.mu.Unlock()
	if sent {
		return nil
	}
	return p.storeFrom(ctx, blob, io.NopCloser(bytes.NewReader(stored)))
}

// storeFrom is store for bytes that come as a stream, and for a blob that comes once.
func (p *push) storeFrom(ctx context.Context, blob bundle.Blob, from io.ReadCloser) error {
	defer from.Close()
	s := &p.storing
	if there, err := s.has(ctx, blob); there || err != nil {
		return err
	}
	if err := s.store.Put(ctx, storageKey(blob), from); err != nil {
		return err
	}
	s.uploaded.Add(blob.StoredSize)
	return nil
}

// has asks the storage for a blob. It is asked in each push, also when the bundle is not
// new: the environment decides where the storage is, and no manifest proves what is in it.
func (s *storing) has(ctx context.Context, blob bundle.Blob) (bool, error) {
	key := storageKey(blob)
	for entry, err := range s.store.List(ctx, key) {
		if err != nil || entry.Key == key {
			return entry.Size == blob.StoredSize, err
		}
	}
	return false, nil
}

// keeps is has for a blob that is not at hand. What is there counts as sent.
func (s *storing) keeps(ctx context.Context, blob bundle.Blob) (bool, error) {
	there, err := s.has(ctx, blob)
	if there && err == nil {
		s.mu.Lock()
		s.sent[blob.Stored] = true
		s.mu.Unlock()
	}
	return there, err
}

// settle brings to the registry what went to the storage before a file was met that
// has it too and belongs in the registry.
func (p *push) settle(ctx context.Context, x *bundle.Index) error {
	for _, blob := range x.Blobs {
		if blob.Storage || !p.storing.sent[blob.Stored] {
			continue
		}
		data, err := bundle.ReadBlob(ctx, &stored{p.repository.storage, x}, blob)
		if err != nil {
			return err
		}
		if err := p.upload(ctx, blob.Stored, mediaType(blob), data); err != nil {
			return err
		}
	}
	return nil
}

// place notes which blobs of the index are no layers.
func (b *Bundle) place() {
	layers := make(map[contracts.Digest]bool, len(b.Layers))
	for _, l := range b.Layers {
		layers[l.Digest] = true
	}
	for i := range b.Index.Blobs {
		blob := &b.Index.Blobs[i]
		blob.Storage = !layers[blob.Stored]
	}
}

// StorageBlob is a blob that lies in the environment's storage.
type StorageBlob struct {
	Digest contracts.Digest `json:"digest"`
	Size   int64            `json:"size"`
	Key    string           `json:"key"`
}

// StorageBlobs are the bundle's blobs that are no layers, each once.
func (b *Bundle) StorageBlobs() []StorageBlob {
	blobs := []StorageBlob{}
	seen := map[contracts.Digest]bool{}
	for _, blob := range b.Index.Blobs {
		if blob.Storage && !seen[blob.Stored] {
			seen[blob.Stored] = true
			blobs = append(blobs, StorageBlob{blob.Stored, blob.StoredSize, storageKey(blob)})
		}
	}
	return blobs
}

// Where is where a file's bytes are: "registry", "storage", or "registry and storage".
func (b *Bundle) Where(f bundle.File) string {
	var storage int
	for _, part := range f.Parts {
		if b.Index.Blobs[part.Blob].Storage {
			storage++
		}
	}
	switch storage {
	case 0:
		return "registry"
	case len(f.Parts):
		return "storage"
	}
	return "registry and storage"
}

// placed gives a bundle's blobs from where they are.
type placed struct {
	registry blobs
	storage  *stored
}

func (p placed) Fetch(ctx context.Context, blob bundle.Blob) (io.ReadCloser, error) {
	if blob.Storage {
		return p.storage.Fetch(ctx, blob)
	}
	return p.registry.Fetch(ctx, blob)
}

// stored gives blobs of an index from the storage.
type stored struct {
	*storage
	index *bundle.Index
}

// Fetch gives a blob's stored bytes, as bundle.Fetcher asks.
func (s *stored) Fetch(ctx context.Context, blob bundle.Blob) (io.ReadCloser, error) {
	if s.settings == nil {
		return nil, s.missing(blob, "is not in the registry, and environment "+contracts.Quote(s.environment)+" has no storage")
	}
	store, err := s.open()
	if err != nil {
		return nil, err
	}
	key := storageKey(blob)
	body, err := store.Get(ctx, key)
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, s.missing(blob, "is not in the registry, and not in "+s.String()+", at "+key)
	}
	return body, err
}

// missing is the error for a blob that is nowhere.
func (s *stored) missing(blob bundle.Blob, where string) error {
	var blobs int
	var size int64
	for _, other := range s.index.Blobs {
		if other.Storage {
			blobs, size = blobs+1, size+other.StoredSize
		}
	}
	return &contracts.Error{
		Code: contracts.CodeNotFound, Stage: contracts.StagePull,
		Message: fmt.Sprintf("blob %s of %s %s", blob.Stored, s.user(blob), where),
		Hint:    fmt.Sprintf("%s of this bundle (%d bytes) in a storage: use the environment that it was pushed in, or push it again in this one", contracts.Count(blobs, "blob", "blobs"), size),
	}
}

// user is a file that has the blob.
func (s *stored) user(blob bundle.Blob) string {
	for _, f := range s.index.Files {
		for _, part := range f.Parts {
			if s.index.Blobs[part.Blob].Stored == blob.Stored {
				return contracts.Quote(f.Path)
			}
		}
	}
	return "the bundle"
}
