package bundleoci

import (
	"context"
	"errors"
	"io"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/ocilayout"
)

// importers is how many blobs an import holds in memory at a time.
const importers = 4

// Export writes the bundle as an OCI image layout: to a tar file when path ends in ".tar",
// else to a directory, which may be a layout already. tag is its name there, or "".
// progress, which may be nil, counts the bytes of blobs.
func (b *Bundle) Export(ctx context.Context, path, tag string, progress bundle.Progress) (ocilayout.Written, error) {
	blobs := make(map[contracts.Digest]bundle.Blob, len(b.Index.Blobs))
	for _, blob := range b.Index.Blobs {
		blobs[blob.Stored] = blob
	}
	extra := b.elsewhere()
	image := ocilayout.Image{
		Entry: ocilayout.Entry{Tag: tag, Repository: b.Ref.Repository}, Manifest: b.Manifest, Extra: extra,
		Open: func(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
			blob, ok := blobs[contracts.Digest(d.Digest)]
			if !ok { // the index
				blob = bundle.Blob{Stored: contracts.Digest(d.Digest), StoredSize: d.Size}
			}
			body, err := b.from.Fetch(ctx, blob)
			if err != nil || progress == nil {
				return body, err
			}
			return &counted{body, progress}, nil
		},
	}
	if progress != nil {
		total := b.config.Size
		for _, l := range b.Layers {
			total += l.Size
		}
		for _, d := range extra {
			total += d.Size
		}
		progress.Plan(0, total)
	}
	if IsTar(path) {
		return ocilayout.WriteTar(ctx, path, image)
	}
	return ocilayout.WriteDir(ctx, path, image)
}

// elsewhere is the blobs of the bundle that lie in a storage.
func (b *Bundle) elsewhere() []ocispec.Descriptor {
	var others []ocispec.Descriptor
	for _, blob := range b.StorageBlobs() {
		others = append(others, descriptor(blob.Digest, blob.Size, ""))
	}
	return others
}

// storedFiles are the files of the bundle that have bytes in a storage.
func (b *Bundle) storedFiles() []string {
	var paths []string
	for _, f := range b.Index.Files {
		if len(f.Parts) > 0 && b.Where(f) != "registry" {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// counted tells how much was read.
type counted struct {
	io.ReadCloser
	progress bundle.Progress
}

// Read reads and tells.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.progress.Done(0, int64(n))
	return n, err
}

// IsTar says whether a layout at path is a tar file.
func IsTar(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".tar") }

// FromLayout is a bundle of an OCI image layout: its manifest and index, both verified.
func FromLayout(ctx context.Context, layout *ocilayout.Layout, entry ocilayout.Entry) (*Bundle, error) {
	raw, err := layout.Manifest(entry)
	if err != nil {
		return nil, err
	}
	ref := contracts.BundleRef{Repository: entry.Repository, Digest: contracts.Digest(entry.Descriptor.Digest)}
	return newBundle(ctx, ref, raw, layoutBlobs{layout}, true)
}

// layoutBlobs is a layout as bundle.Fetcher.
type layoutBlobs struct{ *ocilayout.Layout }

// Fetch gives a blob's stored bytes.
func (l layoutBlobs) Fetch(ctx context.Context, b bundle.Blob) (io.ReadCloser, error) {
	return l.Blob(ctx, b.Stored, b.StoredSize)
}

// Import sends a bundle from elsewhere to this repository, under its own digest, and
// points the tag to it, as [Repository.Push] does. Every byte is held against its digest
// before anything is sent: opts.Progress is told of two passes, that one and the sending.
func (r *Repository) Import(ctx context.Context, b *Bundle, opts PushOptions) (*PushResult, error) {
	p := &push{repository: r, opts: opts, present: map[contracts.Digest]bool{}}
	if err := p.survey(ctx); err != nil {
		return nil, err
	}
	d := b.Ref.Digest
	result := &PushResult{Ref: contracts.BundleRef{Repository: r.Name, Digest: d}, Index: b.Index, Tag: opts.Tag, Unchanged: p.current == d}
	if !opts.Force && !result.Unchanged && p.current != "" && p.current != opts.Base {
		return nil, (&MovedError{opts.Tag, opts.Base, p.current, d}).conflict()
	}
	paths := b.storedFiles()
	if err := p.openStorage(paths); err != nil {
		e := contracts.AsError(err)
		if r.storage.settings == nil {
			e.Hint = "import it into an environment with a storage, or push it with storage.mode: oci-only and export that"
		}
		return nil, e
	}
	if _, err := b.Verify(ctx, opts.Progress); err != nil || result.Unchanged && len(paths) == 0 {
		return result, err
	}
	if result.Unchanged { // the registry has it all; what the storage has no manifest says
		err := p.sendAll(ctx, b)
		p.count(result)
		return result, err
	}
	stored, err := b.storedIndex(ctx)
	if err != nil {
		return nil, err
	}
	for range 2 { // a second time when something that was taken as present is not
		if err = p.sendAll(ctx, b); err != nil {
			return nil, err
		}
		if err = p.publish(ctx, bundle.IndexOf(stored), b.Manifest); !errors.Is(err, errBlobUnknown) {
			break
		}
		p.present, p.fresh = map[contracts.Digest]bool{}, false
	}
	p.count(result)
	return result, r.translate(err, contracts.StagePush, r.Name)
}

// sendAll sends the blobs of a bundle that the registry lacks.
func (p *push) sendAll(ctx context.Context, b *Bundle) error {
	if b.Index.Format() == bundle.Files || len(b.Index.Blobs) == 0 {
		return p.sendLayers(ctx, b)
	}
	if p.opts.Progress != nil {
		var total int64
		for _, blob := range b.Index.Blobs {
			total += blob.StoredSize
		}
		p.opts.Progress.Plan(0, total)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(importers)
	for _, blob := range b.Index.Blobs {
		group.Go(func() error {
			data, err := bundle.ReadBlob(ctx, b.from, blob)
			if err != nil {
				return err
			}
			if err := p.send(ctx, blob, data); err != nil {
				return err
			}
			if p.opts.Progress != nil {
				p.opts.Progress.Done(0, blob.StoredSize)
			}
			return nil
		})
	}
	return group.Wait()
}
