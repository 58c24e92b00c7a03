package bundleoci

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// PushPlan is what a push would do.
type PushPlan struct {
	PushResult
	Current contracts.Digest // of the tag now; empty for none
	Missing []Layer          // what the registry lacks of the bundle's blobs, by digest; the index is one
	// MissingStored is what the storage lacks of those that go there.
	MissingStored []StorageBlob
}

// Bytes is how much would be sent, without the manifest.
func (p *PushPlan) Bytes() int64 {
	var n int64
	for _, l := range p.Missing {
		n += l.Size
	}
	for _, b := range p.MissingStored {
		n += b.Size
	}
	return n
}

// PlanPush finds out what [Repository.Push] would do, and sends and writes nothing. Where
// the push would be refused, so is the plan.
func (r *Repository) PlanPush(ctx context.Context, root *os.Root, sources []bundle.Source, opts PushOptions) (*PushPlan, error) {
	if opts.Format == bundle.Files {
		return r.planFiles(ctx, root, sources, opts)
	}
	p := &push{repository: r, opts: opts, present: map[contracts.Digest]bool{}}
	if err := p.survey(ctx); err != nil {
		return nil, err
	}
	if err := p.openStorage(storedPaths(sources)); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	plan := &PushPlan{Current: p.current, Missing: []Layer{}, MissingStored: []StorageBlob{}}
	askStorage := func(ctx context.Context, b bundle.Blob) error {
		there, err := p.storing.has(ctx, b)
		if err == nil && !there {
			mu.Lock()
			plan.MissingStored = append(plan.MissingStored, StorageBlob{b.Stored, b.StoredSize, StorageKey(b.Stored)})
			mu.Unlock()
		}
		return err
	}
	ask := func(ctx context.Context, l Layer) error {
		lacks, err := p.lacks(ctx, l)
		if err == nil && lacks {
			mu.Lock()
			plan.Missing = append(plan.Missing, l)
			mu.Unlock()
		}
		return err
	}
	sink := func(ctx context.Context, b bundle.Blob, _ []byte) error {
		if b.Storage {
			return askStorage(ctx, b)
		}
		return ask(ctx, Layer{mediaType(b), b.Stored, b.StoredSize})
	}
	x, err := bundle.Builder{Sink: sink, Cache: opts.Cache, Has: p.has}.Build(ctx, root, sources)
	if err != nil {
		return nil, r.translate(err, contracts.StagePush, r.Name)
	}
	stored, err := x.Seal(opts.Cache)
	if err != nil {
		return nil, err
	}
	if err := ask(ctx, Layer{indexType, stored.Digest, stored.Size}); err != nil {
		return nil, err
	}
	manifest := newManifest(x, stored)
	if len(manifest) > maxManifest {
		return nil, invalidManifest("would be larger than 4 MiB; leave files out or split the project")
	}
	d := contracts.DigestOf(manifest)
	if !opts.Force && p.current != "" && p.current != opts.Base && p.current != d {
		return nil, (&MovedError{opts.Tag, opts.Base, p.current, d}).conflict()
	}
	slices.SortFunc(plan.Missing, func(a, b Layer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	slices.SortFunc(plan.MissingStored, func(a, b StorageBlob) int { return strings.Compare(a.Key, b.Key) })
	plan.PushResult = PushResult{Ref: contracts.BundleRef{Repository: r.Name, Digest: d}, Index: x, Tag: opts.Tag, Unchanged: p.current == d}
	return plan, nil
}

// lacks says whether the registry would have to be sent a blob. Each is asked for once.
func (p *push) lacks(ctx context.Context, l Layer) (bool, error) {
	p.mu.Lock()
	known := p.present[l.Digest]
	p.present[l.Digest] = true
	p.mu.Unlock()
	if known || p.fresh {
		return !known, nil
	}
	there, err := p.repository.remote.Blobs().Exists(ctx, descriptor(l.Digest, l.Size, l.MediaType))
	return !there, p.repository.translate(err, contracts.StagePush, "blob "+string(l.Digest)+" of "+p.repository.Name)
}
