//go:build unix

package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/contracts"
)

// CollectOptions say what may go. With neither limit, nothing does.
type CollectOptions struct {
	MaxBytes  int64         // remove the least recently used until the rest is no larger; 0 is no limit
	OlderThan time.Duration // remove what was not used for so long; 0 is no limit
	DryRun    bool
}

// Collect removes bundles that nobody uses, and returns them. The record goes first: what
// reads the cache meanwhile sees a bundle or a miss.
func (c *Cache) Collect(ctx context.Context, opts CollectOptions) ([]Info, error) {
	infos, err := c.List()
	if err != nil {
		return nil, err
	}
	var total int64
	for _, info := range infos {
		total += info.Bytes
	}
	collected := []Info{}
	for _, info := range infos {
		if err := ctx.Err(); err != nil {
			return collected, err
		}
		old := opts.OlderThan > 0 && time.Since(c.lastUsed(info.Digest)) > opts.OlderThan
		large := opts.MaxBytes > 0 && total > opts.MaxBytes
		if info.InUse || !old && !large {
			continue
		}
		if !opts.DryRun {
			removed, err := c.remove(info.Digest, info.Path)
			if err != nil {
				return collected, err
			}
			if !removed {
				continue
			}
		}
		total -= info.Bytes
		collected = append(collected, info)
	}
	if !opts.DryRun {
		c.sweepAll()
	}
	return collected, nil
}

// sweepAll deletes what died fetches and replaced trees left behind, but for bundles that
// are being fetched now.
func (c *Cache) sweepAll() {
	entries, err := os.ReadDir(c.path(ingestDir))
	if err != nil {
		return
	}
	for _, entry := range entries {
		hex, _, _ := strings.Cut(entry.Name(), ".")
		d, err := contracts.ParseDigest("sha256:" + hex)
		if err != nil {
			continue
		}
		if fetching, free := lock.Try(c.path(locksDir, hex)); free {
			c.sweep(d)
			fetching.Unlock()
		}
	}
}

// remove deletes a bundle unless somebody took it into use meanwhile.
func (c *Cache) remove(d contracts.Digest, tree string) (bool, error) {
	fetching, free := lock.Try(c.path(locksDir, d.Hex()))
	if !free {
		return false, nil
	}
	defer fetching.Unlock()
	use, free := lock.Try(c.path(locksDir, d.Hex()+".use"))
	if !free {
		return false, nil
	}
	defer use.Unlock()
	if err := c.discard(d, tree); err != nil {
		return false, err
	}
	for _, path := range []string{c.indexPath(d), c.pendingPath(d)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, failed("the cache cannot be written", err)
		}
	}
	use.Unlock()
	c.sweep(d)
	return true, nil
}

func (c *Cache) info(r *record) Info {
	use, free := lock.Try(c.path(locksDir, r.digest.Hex()+".use"))
	use.Unlock()
	return Info{
		Digest: r.digest, Content: r.content, Repository: r.repository, Path: c.path(bundlesDir, r.dir),
		Files: r.files(), Bytes: r.size, LastUsed: c.lastUsed(r.digest).UTC().Format(time.RFC3339), InUse: !free,
	}
}

// sortByUse puts the least recently used first.
func sortByUse(infos []Info) {
	slices.SortFunc(infos, func(a, b Info) int {
		return strings.Compare(a.LastUsed+string(a.Digest), b.LastUsed+string(b.Digest))
	})
}

// useGranularity is how often a use is noted: a note for each would be a write for each.
const useGranularity = time.Hour

// touch notes that the bundle is used now, in the times of its record.
func (c *Cache) touch(d contracts.Digest) {
	if now := time.Now(); now.Sub(c.lastUsed(d)).Abs() > useGranularity {
		_ = os.Chtimes(c.recordPath(d), now, now) // a read-only cache notes nothing
	}
}

func (c *Cache) lastUsed(d contracts.Digest) time.Time {
	info, err := os.Stat(c.recordPath(d))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
