//go:build unix

package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// fetch brings the bundle in: into a directory of its own, verified and flushed, then by
// one rename to its place, then the record. alone says that the bundle's lock is held, so
// that what other fetches of it left behind is nobody's.
func (c *Cache) fetch(ctx context.Context, ref contracts.BundleRef, source Source, alone bool) (*record, int64, error) {
	b, err := source.Fetch(ctx, ref.Digest)
	if err != nil {
		return nil, 0, err
	}
	if alone {
		c.sweep(ref.Digest)
	}
	staging, err := os.MkdirTemp(c.path(ingestDir), ref.Digest.Hex()+".")
	if err != nil {
		return nil, 0, failed("the bundle cannot be stored", err)
	}
	defer removeTree(staging)
	root, err := os.OpenRoot(staging)
	if err != nil {
		return nil, 0, failed("the bundle cannot be stored", err)
	}
	local, release := c.older(ctx, ref)
	stats, err := b.ExtractFiles(ctx, root, bundle.ExtractOptions{Local: local})
	release()
	_ = root.Close()
	if err != nil {
		return nil, 0, err
	}
	if err := seal(staging); err != nil {
		return nil, 0, failed("the bundle cannot be stored", err)
	}
	index, err := b.Index.Seal(nil)
	if err != nil {
		return nil, 0, err
	}
	if err := atomicfile.Write(c.indexPath(ref.Digest), index.Bytes(), 0o600); err != nil {
		return nil, 0, failed("the bundle's index cannot be stored", err)
	}
	r, err := c.publish(ref, b.Index.Content, staging)
	return r, stats.BytesFetched, err
}

// publish gives a finished tree its name and writes its record.
func (c *Cache) publish(ref contracts.BundleRef, content contracts.Digest, staging string) (*record, error) {
	dir, err := c.place(ref.Digest)
	if err != nil {
		return nil, err
	}
	tree := c.path(bundlesDir, dir)
	if err := atomicfile.Write(c.pendingPath(ref.Digest), []byte(dir), 0o600); err != nil {
		return nil, failed("the bundle cannot be stored", err)
	}
	if err := os.Rename(staging, tree); err != nil {
		return nil, failed("the bundle cannot be stored", err)
	}
	if err := os.Chmod(tree, 0o555); err != nil { // only now: a directory must be writable to be moved
		return nil, failed("the bundle cannot be stored", err)
	}
	if err := atomicfile.SyncDir(c.path(bundlesDir)); err != nil {
		return nil, failed("the bundle cannot be stored", err)
	}
	r, err := newRecord(ref.Digest, content, ref.Repository, dir, tree)
	if err == nil {
		err = r.write(c.recordPath(ref.Digest))
	}
	if err != nil {
		return nil, failed("the bundle's record cannot be stored", err)
	}
	_ = os.Remove(c.pendingPath(ref.Digest))
	return r, nil
}

// place is a free directory of bundles/ for the bundle: its first 12 digits, or all 64
// where those are taken by another bundle or by something that is not ours. A tree of this
// very bundle, which is here because it must be replaced, is moved out of the way.
func (c *Cache) place(d contracts.Digest) (string, error) {
	mine := map[string]bool{}
	if pending, err := os.ReadFile(c.pendingPath(d)); err == nil {
		mine[string(pending)] = true
	}
	if r, err := readRecord(c.recordPath(d), d); err == nil {
		mine[r.dir] = true
	}
	for _, dir := range []string{d.Short(), d.Hex()} {
		tree := c.path(bundlesDir, dir)
		_, err := os.Lstat(tree)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return dir, nil
		case err != nil:
			return "", failed("the cache cannot be read", err)
		case mine[dir] && !c.claimed(dir, d):
			if err := c.discard(d, tree); err != nil {
				return "", err
			}
			return dir, nil
		}
	}
	return "", failed("cache directory "+contracts.Quote(c.path(bundlesDir, d.Hex()))+" is there and not ours", nil)
}

// claimed says whether another bundle's record names the directory.
func (c *Cache) claimed(dir string, d contracts.Digest) bool {
	others, err := filepath.Glob(c.path(metaDir, d.Short()+"*"))
	if err != nil {
		return true
	}
	for _, other := range others {
		digest, err := contracts.ParseDigest("sha256:" + filepath.Base(other))
		if err != nil || digest == d {
			continue
		}
		if r, err := readRecord(other, digest); err == nil && r.dir == dir {
			return true
		}
	}
	return false
}

// discard takes a tree out of bundles/. Whoever still works in it keeps its files: it is
// deleted when nobody does.
func (c *Cache) discard(d contracts.Digest, tree string) error {
	if err := os.Remove(c.recordPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("the cache cannot be written", err)
	}
	trash, err := os.MkdirTemp(c.path(ingestDir), d.Hex()+".trash.")
	if err != nil {
		return failed("the cache cannot be written", err)
	}
	if err := os.Chmod(tree, 0o700); err != nil {
		return failed("the cache cannot be written", err)
	}
	if err := os.Rename(tree, filepath.Join(trash, "tree")); err != nil {
		return failed("the cache cannot be written", err)
	}
	return nil
}

// sweep deletes what fetches of the bundle that died, and replaced trees, left behind.
// The caller holds the bundle's lock. A replaced tree stays while the bundle is in use.
func (c *Cache) sweep(d contracts.Digest) {
	leftovers, err := filepath.Glob(c.path(ingestDir, d.Hex()+".*"))
	if err != nil {
		return
	}
	for _, leftover := range leftovers {
		if !strings.Contains(filepath.Base(leftover), ".trash.") {
			removeTree(leftover)
			continue
		}
		if use, free := lock.Try(c.path(locksDir, d.Hex()+".use")); free {
			removeTree(leftover)
			use.Unlock()
		}
	}
}
