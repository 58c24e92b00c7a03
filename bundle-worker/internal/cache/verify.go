//go:build unix

package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// hash holds every byte of a tree against the bundle's index, and its files against the
// index's list.
func (c *Cache) hash(ctx context.Context, d contracts.Digest, tree string) error {
	index, err := c.readIndex(d)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	listed := make(map[string]bool, len(index.Files))
	for _, f := range index.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		listed[f.Path] = true
		if err := hashFile(root, index, f); err != nil {
			return changed(f.Path, err.Error())
		}
	}
	return filepath.WalkDir(tree, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(tree, p)
		if err == nil && !listed[filepath.ToSlash(rel)] {
			err = changed(rel, "was added")
		}
		return err
	})
}

func (c *Cache) readIndex(d contracts.Digest) (*bundle.Index, error) {
	stored, err := os.ReadFile(c.indexPath(d))
	if err != nil {
		return nil, err
	}
	return bundle.ParseIndex(stored)
}

func hashFile(root *os.Root, index *bundle.Index, f bundle.File) error {
	info, err := root.Lstat(f.Path)
	if err != nil {
		return fmt.Errorf("is gone")
	}
	executable := info.Mode()&0o100 != 0
	if !info.Mode().IsRegular() || executable != (f.Mode == bundle.Executable) || info.Size() != f.Size {
		return fmt.Errorf("has another type, mode or size")
	}
	in, err := root.Open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, part := range f.Parts {
		h := sha256.New()
		if _, err := io.CopyN(h, in, part.Length); err != nil {
			return fmt.Errorf("is short")
		}
		want := f.Digest
		if blob := index.Blobs[part.Blob]; blob.Kind == bundle.Chunk {
			want = blob.Raw
		}
		if contracts.DigestFromSum([sha256.Size]byte(h.Sum(nil))) != want {
			return fmt.Errorf("has other bytes")
		}
	}
	return nil
}

func changed(path, how string) error {
	return &contracts.Error{
		Code: contracts.CodeIntegrity, Stage: contracts.StagePull,
		Message: contracts.Quote(path) + " in the cache " + how,
		Hint:    "the next use fetches the bundle again",
	}
}

// Info describes a bundle in the cache.
type Info struct {
	Digest     contracts.Digest `json:"digest"`
	Content    contracts.Digest `json:"content_digest"`
	Repository string           `json:"repository"`
	Path       string           `json:"path"`
	Files      int              `json:"files"`
	Bytes      int64            `json:"bytes"`
	LastUsed   string           `json:"last_used"` // RFC 3339, to the hour
	InUse      bool             `json:"in_use"`
}

// List is the bundles in the cache, the least recently used first.
func (c *Cache) List() ([]Info, error) {
	entries, err := os.ReadDir(c.path(metaDir))
	if err != nil {
		return nil, failed("the cache cannot be read", err)
	}
	infos := []Info{}
	for _, entry := range entries {
		d, err := contracts.ParseDigest("sha256:" + entry.Name())
		if err != nil {
			continue // an index, or a pending marker
		}
		r, err := readRecord(c.recordPath(d), d)
		if err != nil {
			continue
		}
		infos = append(infos, c.info(r))
	}
	sortByUse(infos)
	return infos, nil
}

// Verify hashes a bundle in the cache, whatever it looks like. The error says what
// changed; the next use fetches it again.
func (c *Cache) Verify(ctx context.Context, d contracts.Digest) error {
	r, err := readRecord(c.recordPath(d), d)
	if err != nil {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StagePull, Message: "the cache has no bundle " + string(d)}
	}
	err = c.hash(ctx, d, c.path(bundlesDir, r.dir))
	if err != nil && ctx.Err() == nil {
		_ = os.Remove(c.recordPath(d)) // so that it is fetched again, as the error says
		_ = os.WriteFile(c.pendingPath(d), []byte(r.dir), 0o600)
	}
	return err
}
