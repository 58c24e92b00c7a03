package bundleoci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// PushOptions say where a push goes and what it may assume.
type PushOptions struct {
	Tag string
	// Base is what this side last saw the tag point to; empty for never. A tag that
	// points elsewhere is not moved.
	Base contracts.Digest
	// Force moves the tag wherever it points.
	Force bool
	// Known are bundles that this side pushed to or pulled from this repository. Their
	// blobs are taken as present.
	Known []contracts.Digest
	// Origins are bundles that this side pushed to or pulled from other repositories of
	// the registry, the likeliest first. A new repository gets the blobs of one from there,
	// where the registry does that; a plan does not know whether it does.
	Origins []Origin
	// Cache says which files need not be read; nil for none.
	Cache *bundle.Cache
	// Format is that of the bundle; empty for [bundle.Packed]. Each needs a cache of its own.
	Format bundle.Format
	// Progress is told how far the push is; nil for nobody.
	Progress bundle.Progress
}

// PushResult is what a push did.
type PushResult struct {
	Ref           contracts.BundleRef
	Index         *bundle.Index
	Tag           string
	BytesUploaded int64 // to the registry and to the storage
	BytesStored   int64 // of these, to the storage
	Unchanged     bool  // the tag pointed to this bundle already
}

// MovedError is the cause of the conflict that a push stops with when its tag does not
// point where it should.
type MovedError struct {
	Tag           string
	Base, Current contracts.Digest // Base is empty when this side never saw the tag
	New           contracts.Digest // what this side would have made it point to
}

// Error says who is where.
func (e *MovedError) Error() string {
	if e.Base == "" {
		return fmt.Sprintf("tag %s already points to %s, which was not pushed from or pulled to this project", e.Tag, e.Current)
	}
	return fmt.Sprintf("tag %s moved from %s to %s", e.Tag, e.Base, e.Current)
}

func (e *MovedError) conflict() error {
	return (&contracts.Error{
		Code: contracts.CodeConflict, Stage: contracts.StagePush, Message: e.Error(),
		Hint: "run modelops-bundle pull to take in what changed, push to another --tag, or push --force to replace it",
	}).Because(e)
}

// Push builds the bundle of the files below root, sends what the registry does not have,
// and points the tag to it. A tag that does not point to opts.Base, or to the very bundle,
// stops it before anything is sent, with [contracts.CodeConflict] and a [MovedError].
//
// Registries have no compare-and-swap for tags. The tag is read again immediately before
// it is written and once more after; somebody who writes between the first two is
// overwritten, and somebody who writes before the third is reported. Both bundles stay.
func (r *Repository) Push(ctx context.Context, root *os.Root, sources []bundle.Source, opts PushOptions) (*PushResult, error) {
	if opts.Format == bundle.Files {
		return r.pushFiles(ctx, root, sources, opts)
	}
	p := &push{repository: r, opts: opts, present: map[contracts.Digest]bool{}}
	if err := p.openStorage(storedPaths(sources)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	survey := ahead(func() (moved bool, err error) { return p.prepare(ctx) })
	has := func(ctx context.Context, blob bundle.Blob) (bool, error) {
		if _, err := survey(ctx); err != nil {
			return false, err
		}
		return p.has(ctx, blob)
	}
	sink := func(ctx context.Context, blob bundle.Blob, stored []byte) error {
		if moved, err := survey(ctx); moved || err != nil {
			return err
		}
		return p.send(ctx, blob, stored)
	}
	var index *bundle.StoredIndex
	indexed := func(ctx context.Context, x *bundle.Index) (err error) {
		if index, err = x.Seal(opts.Cache); err != nil {
			return err
		}
		if moved, err := survey(ctx); moved || err != nil {
			return err
		}
		return p.sendIndex(ctx, index)
	}
	x, err := bundle.Builder{Sink: sink, Cache: opts.Cache, Has: has, Indexed: indexed, Progress: opts.Progress}.Build(ctx, root, sources)
	if err != nil {
		return nil, r.translate(err, contracts.StagePush, r.Name)
	}
	manifest := newManifest(x, index)
	if len(manifest) > maxManifest {
		return nil, invalidManifest("would be larger than 4 MiB; leave files out or split the project")
	}
	d := contracts.DigestOf(manifest)
	result := &PushResult{Ref: contracts.BundleRef{Repository: r.Name, Digest: d}, Index: x, Tag: opts.Tag, Unchanged: p.current == d}
	if moved, _ := survey(ctx); moved && !result.Unchanged {
		return nil, (&MovedError{opts.Tag, opts.Base, p.current, d}).conflict()
	}
	if err := p.settle(ctx, x); err != nil {
		return nil, err
	}
	if !result.Unchanged {
		err := p.publish(ctx, index, manifest)
		if errors.Is(err, errBlobUnknown) {
			err = p.resend(ctx, root, sources, index, manifest)
		}
		if err != nil {
			return nil, err
		}
	}
	p.count(result)
	return result, nil
}

// push is one run of Push.
type push struct {
	repository *Repository
	opts       PushOptions
	current    contracts.Digest // of the tag when the push began; empty for none
	fresh      bool             // the repository is new
	uploaded   atomic.Int64

	mu      sync.Mutex
	present map[contracts.Digest]bool
	storing storing
}

func (p *push) count(result *PushResult) {
	result.BytesStored = p.storing.uploaded.Load()
	result.BytesUploaded = p.uploaded.Load() + result.BytesStored
}

// has says whether a blob is where it belongs: the registry is known to have it, or the
// storage says so.
func (p *push) has(ctx context.Context, blob bundle.Blob) (bool, error) {
	if blob.Storage {
		return p.storing.keeps(ctx, blob)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.present[blob.Stored], nil
}

// send is the sink of the build.
func (p *push) send(ctx context.Context, blob bundle.Blob, stored []byte) error {
	if blob.Storage {
		return p.store(ctx, blob, stored)
	}
	return p.upload(ctx, blob.Stored, mediaType(blob), stored)
}

func (p *push) upload(ctx context.Context, d contracts.Digest, mediaType string, stored []byte) error {
	p.mu.Lock()
	present := p.present[d]
	p.present[d] = true
	p.mu.Unlock()
	if present {
		return nil
	}
	desc := descriptor(d, int64(len(stored)), mediaType)
	sent, err := p.put(ctx, desc, func() io.Reader { return bytes.NewReader(stored) })
	if err != nil {
		return p.repository.translate(err, contracts.StagePush, "blob "+string(d)+" of "+p.repository.Name)
	}
	if sent {
		p.uploaded.Add(int64(len(stored)))
	}
	return nil
}

// maxUploads is how often an upload that the registry lost is begun anew.
const maxUploads = 4

// put sends a blob that may be there already, and says whether it did. An upload has a
// session in the registry, which can be lost with it half done; then it is looked whether
// the blob has arrived all the same, and if not, the upload begins anew.
func (p *push) put(ctx context.Context, desc ocispec.Descriptor, body func() io.Reader) (sent bool, err error) {
	target := p.repository.remote.Blobs()
	ask := !p.fresh
	for try := 1; ; try++ {
		if ask {
			there, existsErr := target.Exists(ctx, desc)
			if existsErr != nil {
				return false, existsErr
			}
			if there {
				return try > 1, nil
			}
		}
		if err = target.Push(ctx, desc, body()); err == nil || try == maxUploads || !lostUpload(err) {
			return err == nil, err
		}
		ask = true
		if err := sleep(ctx, p.repository.patience.pause(try, 0)); err != nil {
			return false, err
		}
	}
}

// lostUpload says whether the registry no longer knows the upload, or got other bytes.
func lostUpload(err error) bool {
	response, answered := errors.AsType[*errcode.ErrorResponse](err)
	if !answered {
		return passing(err)
	}
	if response.StatusCode == http.StatusRequestedRangeNotSatisfiable || response.StatusCode >= 500 {
		return true
	}
	for _, detail := range response.Errors {
		switch detail.Code {
		case errcode.ErrorCodeBlobUploadUnknown, errcode.ErrorCodeBlobUploadInvalid, errcode.ErrorCodeDigestInvalid, errcode.ErrorCodeSizeInvalid:
			return true
		}
	}
	return false
}

// errBlobUnknown is that the registry does not have a blob after all.
var errBlobUnknown = errors.New("the registry lacks a blob")

// sendIndex sends the index, unless the registry is known to have it.
func (p *push) sendIndex(ctx context.Context, index *bundle.StoredIndex) error {
	if there, _ := p.has(ctx, bundle.Blob{Stored: index.Digest}); there {
		return nil
	}
	return p.upload(ctx, index.Digest, indexType, index.Bytes())
}

// publish sends the index if that is still to do, and writes the tag, with a look at it
// before and after.
func (p *push) publish(ctx context.Context, index *bundle.StoredIndex, manifest []byte) error {
	if err := p.sendIndex(ctx, index); err != nil {
		return err
	}
	if !p.opts.Force {
		if err := p.expect(ctx, p.current, manifest); err != nil {
			return err
		}
	}
	d := contracts.DigestOf(manifest)
	desc := descriptor(d, int64(len(manifest)), "application/vnd.oci.image.manifest.v1+json")
	err := p.repository.remote.Manifests().PushReference(ctx, desc, bytes.NewReader(manifest), p.opts.Tag)
	if response, answered := errors.AsType[*errcode.ErrorResponse](err); answered {
		for _, detail := range response.Errors {
			if detail.Code == errcode.ErrorCodeManifestBlobUnknown || detail.Code == errcode.ErrorCodeBlobUnknown {
				return errBlobUnknown
			}
		}
	}
	if err != nil {
		return p.repository.translate(err, contracts.StagePush, p.repository.Name+":"+p.opts.Tag)
	}
	return p.expect(ctx, d, manifest)
}

// expect reads the tag and stops when it points elsewhere.
func (p *push) expect(ctx context.Context, want contracts.Digest, manifest []byte) error {
	now, err := p.repository.head(ctx, p.opts.Tag)
	if err := contracts.Except(err, contracts.CodeBundleNotFound); err != nil {
		return err
	}
	if now != want {
		return (&MovedError{p.opts.Tag, want, now, contracts.DigestOf(manifest)}).conflict()
	}
	return nil
}

// resend builds once more and asks for every blob: something that was taken as present
// has been removed.
func (p *push) resend(ctx context.Context, root *os.Root, sources []bundle.Source, index *bundle.StoredIndex, manifest []byte) error {
	p.present, p.fresh = map[contracts.Digest]bool{}, false
	x, err := bundle.Build(ctx, root, sources, p.send)
	if err != nil {
		return p.repository.translate(err, contracts.StagePush, p.repository.Name)
	}
	if err := p.settle(ctx, x); err != nil {
		return err
	}
	return p.publishAgain(ctx, index, manifest)
}

// publishAgain is publish when every blob has just been asked for.
func (p *push) publishAgain(ctx context.Context, index *bundle.StoredIndex, manifest []byte) error {
	err := p.publish(ctx, index, manifest)
	if errors.Is(err, errBlobUnknown) {
		return &contracts.Error{
			Code: contracts.CodeFailed, Stage: contracts.StagePush, Retryable: true,
			Message: "registry " + contracts.Quote(p.repository.Location.Host) + " says that it lacks blobs which it has just taken",
			Hint:    "try again; if it stays so, the registry is broken",
		}
	}
	return err
}

// Tag points another tag to a bundle that is in the repository.
func (r *Repository) Tag(ctx context.Context, d contracts.Digest, tag string) error {
	raw, err := r.verified(ctx, d)
	if err != nil {
		return err
	}
	desc := descriptor(d, int64(len(raw)), "application/vnd.oci.image.manifest.v1+json")
	if err := r.remote.Manifests().PushReference(ctx, desc, bytes.NewReader(raw), tag); err != nil {
		return r.translate(err, contracts.StagePush, r.Name+":"+tag)
	}
	return nil
}

// maxTagPages is how many pages of tags are read: a registry's have 100 tags and more.
const maxTagPages = 10_000

// Tags lists the repository's tags in the registry's order.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	var all []string
	pages := 0
	err := r.remote.Tags(ctx, "", func(page []string) error {
		if pages++; pages > maxTagPages {
			return fmt.Errorf("its list of tags has no end after %d pages", maxTagPages)
		}
		all = append(all, page...)
		return nil
	})
	if err != nil {
		return nil, r.translate(err, contracts.StageResolve, r.Name)
	}
	return all, nil
}
