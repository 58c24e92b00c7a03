package bundleoci

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Origin is a bundle in another repository of the same registry.
type Origin struct {
	Path   string // of the repository, below the host
	Digest contracts.Digest
}

// errNotMounted is that the registry would rather have the bytes.
var errNotMounted = errors.New("the registry did not mount the blob")

// mounts is how many blobs are mounted at a time.
const mounts = 16

// mount has the registry take the blobs of the first origin that it has into the
// repository, if that is new: no byte of them need be sent then. A registry that does not do
// that, or not for this user, costs two requests.
func (p *push) mount(ctx context.Context) error {
	if !p.fresh {
		return nil
	}
	for _, origin := range p.opts.Origins {
		blobs, err := p.repository.blobsOf(ctx, origin)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && len(blobs) > 0 && p.mountOne(ctx, origin, blobs[0]) {
			return p.mountAll(ctx, origin, blobs[1:])
		}
	}
	return ctx.Err()
}

// mountAll mounts until one is refused.
func (p *push) mountAll(ctx context.Context, origin Origin, blobs []ocispec.Descriptor) error {
	var refused atomic.Bool
	var group errgroup.Group
	group.SetLimit(mounts)
	for _, blob := range blobs {
		group.Go(func() error {
			if !refused.Load() && !p.mountOne(ctx, origin, blob) {
				refused.Store(true)
			}
			return nil
		})
	}
	_ = group.Wait()
	return ctx.Err()
}

func (p *push) mountOne(ctx context.Context, origin Origin, blob ocispec.Descriptor) bool {
	mounter, ok := p.repository.remote.Blobs().(registry.Mounter)
	if !ok || mounter.Mount(ctx, blob, origin.Path, func() (io.ReadCloser, error) { return nil, errNotMounted }) != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.present[contracts.Digest(blob.Digest)] = true
	return true
}

// blobsOf are the blobs of a bundle in another repository.
func (r *Repository) blobsOf(ctx context.Context, origin Origin) ([]ocispec.Descriptor, error) {
	location := contracts.Location{Host: r.Location.Host, Path: origin.Path}
	other, err := remote.NewRepository(location.String())
	if err != nil {
		return nil, err
	}
	other.PlainHTTP, other.MaxMetadataBytes, other.Client = r.remote.PlainHTTP, r.remote.MaxMetadataBytes, r.remote.Client
	there := &Repository{Name: origin.Path, Location: location, registry: r.registry, remote: other}
	raw, err := there.manifest(ctx, string(origin.Digest))
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	return append(m.Layers, m.Config), nil
}
