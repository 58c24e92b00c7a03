//go:build unix

package cache

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// older is a tree in the cache that most of a bundle may be taken from, and what lets go of
// it: that of the bundle of the same repository that was used last, which is the bundle
// itself when its own is damaged. nil is none. What it really has is held against the new
// bundle's digests, byte for byte; its record and index only say where to look.
func (c *Cache) older(ctx context.Context, ref contracts.BundleRef) (*bundle.Local, func()) {
	for _, d := range c.byUse() {
		r, err := readRecord(c.recordPath(d), d)
		if err != nil || r.repository != ref.Repository {
			continue
		}
		if local, release := c.local(ctx, r); local != nil {
			return local, release
		}
	}
	return nil, func() {}
}

// local is a bundle's tree, which is not collected until it is let go of.
func (c *Cache) local(ctx context.Context, r *record) (*bundle.Local, func()) {
	use, err := lock.Shared(ctx, c.path(locksDir, r.digest.Hex()+".use"))
	if err != nil {
		return nil, nil
	}
	index, err := c.readIndex(r.digest)
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(c.path(bundlesDir, r.dir))
	}
	if err != nil {
		use.Unlock()
		return nil, nil
	}
	return &bundle.Local{Root: root, Index: index}, func() { _ = root.Close(); use.Unlock() }
}

// byUse are the bundles in the cache, the most recently used first.
func (c *Cache) byUse() []contracts.Digest {
	entries, err := os.ReadDir(c.path(metaDir))
	if err != nil {
		return nil
	}
	used := map[contracts.Digest]time.Time{}
	var digests []contracts.Digest
	for _, entry := range entries {
		if d, err := contracts.ParseDigest("sha256:" + entry.Name()); err == nil {
			digests, used[d] = append(digests, d), c.lastUsed(d)
		}
	}
	slices.SortFunc(digests, func(a, b contracts.Digest) int { return used[b].Compare(used[a]) })
	return digests
}
