//go:build unix

// Package cache keeps bundles on a node: each downloaded once however many processes ask,
// visible only when whole and verified, and held against what was written before each
// use.
//
// Below the root:
//
//	bundles/<12 hex>/      exactly a bundle's files, read-only (the full hex where the short is taken)
//	meta/<64 hex>          the record: its presence is the commit; see record.go
//	meta/<64 hex>.index    the bundle's index, to hash the files by
//	meta/<64 hex>.pending  which directory of bundles/ is being filled: ours to remove
//	locks/<64 hex>         held while a bundle is fetched or mended; never removed
//	locks/<64 hex>.use     held, shared, by whoever uses it
//	ingest/                trees on their way in, and on their way out
//
// Beside these, harness/ and serve/ are of packages wire and serve.
//
// Correctness rests on digests, renames and the record. The locks only keep processes from
// doing the same work twice, and a bundle in use from being collected.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/owned"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
)

// Cache is a directory that is ours alone.
type Cache struct {
	root string
}

// Source is where bundles come from; a *bundleoci.Repository is one.
type Source interface {
	Fetch(ctx context.Context, digest contracts.Digest) (*bundleoci.Bundle, error)
}

// Entry is a bundle in the cache, which cannot be collected until it is released.
type Entry struct {
	Digest       contracts.Digest
	Content      contracts.Digest
	Path         string
	Files        int
	BytesFetched int64
	Cached       bool // nothing was fetched

	use    *lock.File
	record *record
}

// Unchanged looks at every file and says whether all is as it was when the entry was
// made. It reads no byte of them.
func (e *Entry) Unchanged() bool { return e.record.matches(e.Path) }

// Release ends the use of the entry.
func (e *Entry) Release() {
	e.use.Unlock()
}

const (
	bundlesDir = "bundles"
	metaDir    = "meta"
	locksDir   = "locks"
	ingestDir  = "ingest"
)

// Open readies the cache at root, which is made if need be. A root that belongs to
// somebody else, or that others may write to, is refused: whoever can write there decides
// what runs here.
func Open(root string) (*Cache, error) {
	root, err := owned.Directory(root, "MODELOPS_BUNDLES_CACHE_DIR")
	if err != nil {
		return nil, err
	}
	c := &Cache{root: root}
	for _, dir := range []string{bundlesDir, metaDir, locksDir, ingestDir} {
		if err := os.Mkdir(c.path(dir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EROFS) {
			return nil, failed("cache directory "+contracts.Quote(root)+" cannot be written", err)
		}
	}
	return c, nil
}

// Root is the cache's directory, absolute.
func (c *Cache) Root() string { return c.root }

func (c *Cache) path(parts ...string) string {
	return filepath.Join(append([]string{c.root}, parts...)...)
}

func (c *Cache) recordPath(d contracts.Digest) string  { return c.path(metaDir, d.Hex()) }
func (c *Cache) indexPath(d contracts.Digest) string   { return c.path(metaDir, d.Hex()+".index") }
func (c *Cache) pendingPath(d contracts.Digest) string { return c.path(metaDir, d.Hex()+".pending") }

// Ensure makes sure that the bundle is here, whole and unchanged, and keeps it until the
// entry is released. What is here already needs nothing of the source.
func (c *Cache) Ensure(ctx context.Context, ref contracts.BundleRef, source Source) (*Entry, error) {
	use, err := lock.Shared(ctx, c.path(locksDir, ref.Digest.Hex()+".use"))
	if err != nil {
		return nil, err
	}
	entry, err := c.ensure(ctx, ref, source)
	if err != nil {
		use.Unlock()
		return nil, err
	}
	entry.use = use
	return entry, nil
}

func (c *Cache) ensure(ctx context.Context, ref contracts.BundleRef, source Source) (*Entry, error) {
	if r := c.intact(ctx, ref.Digest); r != nil {
		return c.entry(r), nil
	}
	held, err := lock.Exclusive(ctx, c.path(locksDir, ref.Digest.Hex()))
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if r := c.intact(ctx, ref.Digest); r != nil { // somebody else was first
		return c.entry(r), nil
	}
	r, fetched, err := c.fetch(ctx, ref, source, held.Held())
	if err != nil {
		return nil, err
	}
	entry := c.entry(r)
	entry.BytesFetched, entry.Cached = fetched, false
	return entry, nil
}

func (c *Cache) entry(r *record) *Entry {
	return &Entry{Digest: r.digest, Content: r.content, Path: c.path(bundlesDir, r.dir), Files: r.files(), Cached: true, record: r}
}

// intact is the record of a bundle that is here and unchanged, or nil: then it must be
// fetched. What was written under another boot of the machine, or looks changed, is hashed
// as a whole.
func (c *Cache) intact(ctx context.Context, d contracts.Digest) *record {
	r, err := readRecord(c.recordPath(d), d)
	if err != nil {
		return nil
	}
	tree := c.path(bundlesDir, r.dir)
	if r.boot == bootID() && r.matches(tree) {
		c.touch(d)
		return r
	}
	if c.hash(ctx, d, tree) != nil {
		return nil
	}
	fresh, err := newRecord(r.digest, r.content, r.repository, r.dir, tree)
	if err != nil {
		return nil
	}
	_ = fresh.write(c.recordPath(d)) // on a read-only cache it is hashed again next time
	return fresh
}

func failed(message string, cause error) *contracts.Error {
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StagePull, Message: message}
	switch {
	case errors.Is(cause, syscall.ENOSPC):
		e.Code, e.Hint = contracts.CodeDiskFull, "free some space, or run: bundle-worker cache gc"
	case errors.Is(cause, syscall.EROFS):
		e.Message, e.Hint = message+": the cache is read-only", "it serves what it has; mount it writable to fetch more"
	}
	if cause != nil {
		e.Message = fmt.Sprintf("%s: %s", e.Message, reason(cause))
	}
	return e.Because(cause)
}

func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}
