package bundleoci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

const (
	maxManifest = 4 << 20 // bytes: what registries accept
	maxStored   = 64 << 20
)

// Bundle is a bundle in a registry: its manifest and index, both verified.
type Bundle struct {
	Ref      contracts.BundleRef
	Manifest []byte
	Index    *bundle.Index
	Layers   []Layer

	config ocispec.Descriptor // of the index
	from   bundle.Fetcher
}

// Layer is a layer of the manifest.
type Layer struct {
	MediaType string           `json:"media_type"`
	Digest    contracts.Digest `json:"digest"`
	Size      int64            `json:"size"`
}

// Resolve is the digest that the tag points to now. There is a [contracts.Error] of
// [contracts.CodeBundleNotFound] when there is no such tag. The manifest comes with it, and
// a [Repository.Fetch] of the digest does not ask for it again.
func (r *Repository) Resolve(ctx context.Context, tag string) (contracts.Digest, error) {
	raw, err := r.manifest(ctx, tag)
	if err != nil {
		return "", err
	}
	d := contracts.DigestOf(raw)
	r.resolved.Store(&resolved{d, raw})
	return d, nil
}

// resolved is the manifest that a tag pointed to.
type resolved struct {
	digest contracts.Digest
	raw    []byte
}

// head is Resolve for whoever wants the digest and no more.
func (r *Repository) head(ctx context.Context, tag string) (contracts.Digest, error) {
	descriptor, err := r.remote.Manifests().Resolve(ctx, tag)
	if err != nil {
		return "", r.translate(err, contracts.StageResolve, r.Name+":"+tag)
	}
	return contracts.ParseDigest(string(descriptor.Digest))
}

// Fetch gets the manifest and the index of the bundle with this digest.
func (r *Repository) Fetch(ctx context.Context, d contracts.Digest) (*Bundle, error) {
	raw, err := r.verified(ctx, d)
	if err != nil {
		return nil, err
	}
	b, err := newBundle(ctx, contracts.BundleRef{Repository: r.Name, Digest: d}, raw, blobs{r}, r.storage.settings != nil)
	if err != nil {
		return nil, err
	}
	b.from = placed{blobs{r}, &stored{r.storage, b.Index}}
	return b, nil
}

// verified gets the manifest with this digest.
func (r *Repository) verified(ctx context.Context, d contracts.Digest) ([]byte, error) {
	if last := r.resolved.Load(); last != nil && last.digest == d {
		return last.raw, nil
	}
	raw, err := r.manifest(ctx, string(d))
	if err != nil {
		return nil, err
	}
	if got := contracts.DigestOf(raw); got != d {
		return nil, &contracts.Error{
			Code: contracts.CodeIntegrity, Stage: contracts.StagePull, Retryable: true,
			Message: fmt.Sprintf("registry %s answered %s with a manifest that has the digest %s", contracts.Quote(r.Location.Host), d, got),
		}
	}
	return raw, nil
}

// newBundle is the bundle of a manifest, whose index it fetches. Without a storage, the
// files format has all in the registry.
func newBundle(ctx context.Context, ref contracts.BundleRef, raw []byte, from bundle.Fetcher, storage bool) (*Bundle, error) {
	b := &Bundle{Ref: ref, Manifest: raw, from: from}
	manifest, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	b.config = manifest.Config
	for _, l := range manifest.Layers {
		b.Layers = append(b.Layers, Layer{l.MediaType, contracts.Digest(l.Digest), l.Size})
	}
	stored, err := b.storedIndex(ctx)
	if err != nil {
		return nil, err
	}
	if manifest.Config.MediaType == pythonIndexType {
		if b.Index, err = readFilesIndex(stored, manifest, storage); err != nil {
			return nil, err
		}
		b.place()
		return b, nil
	}
	if b.Index, err = packedIndex(stored); err != nil {
		return nil, err
	}
	b.place()
	return b, b.checkLayers()
}

// manifest gets a manifest's bytes by tag or digest, and looks at none of them.
func (r *Repository) manifest(ctx context.Context, reference string) ([]byte, error) {
	what := r.Name + ":" + reference
	if d, err := contracts.ParseDigest(reference); err == nil {
		what = contracts.BundleRef{Repository: r.Name, Digest: d}.String()
	}
	described, body, err := r.remote.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return nil, r.translate(err, contracts.StageResolve, what)
	}
	defer body.Close()
	if !strings.HasSuffix(described.MediaType, "json") {
		return nil, r.translate(fmt.Errorf("it answered with %s", described.MediaType), contracts.StageResolve, what)
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case err != nil:
		return nil, r.translate(err, contracts.StageResolve, what)
	case len(raw) > maxManifest:
		return nil, invalidManifest("is larger than 4 MiB")
	}
	return raw, nil
}

// parseManifest reads a manifest of the packed format, and says what it is otherwise.
func parseManifest(raw []byte) (*ocispec.Manifest, error) {
	var m struct {
		ocispec.Manifest
		Manifests json.RawMessage `json:"manifests"`
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(raw, &keys) != nil || json.Unmarshal(raw, &m) != nil {
		return nil, invalidManifest("is not JSON of a manifest")
	}
	for _, exact := range []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests"} {
		for key := range keys {
			if key != exact && strings.EqualFold(key, exact) { // other readers do not take it for the key
				return nil, invalidManifest("has the key " + contracts.Quote(key) + " for " + exact)
			}
		}
	}
	switch {
	case m.Manifests != nil:
		return nil, notABundle("it is an image index")
	case m.MediaType != ocispec.MediaTypeImageManifest:
		return nil, notABundle("its media type is " + contracts.Quote(m.MediaType))
	case m.Config.MediaType == pythonIndexType:
		// no artifact type
	case m.ArtifactType != ArtifactType || m.Config.MediaType != indexType:
		return nil, notABundle("its artifact type is " + contracts.Quote(m.ArtifactType))
	}
	if len(m.Layers) > bundle.MaxBlobs {
		return nil, invalidManifest("has too many layers")
	}
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if _, err := contracts.ParseDigest(string(d.Digest)); err != nil || d.Size < 0 || d.Size == 0 && m.Config.MediaType != pythonIndexType {
			return nil, invalidManifest("has a descriptor without a valid digest and size")
		}
		if len(d.URLs) > 0 {
			return nil, invalidManifest("has a layer that is fetched from elsewhere")
		}
	}
	if m.Config.Size > maxStored {
		return nil, invalidManifest("has an index of impossible size")
	}
	return &m.Manifest, nil
}

func notABundle(why string) error {
	return &contracts.Error{
		Code: contracts.CodeInvalidBundle, Stage: contracts.StagePull,
		Message: "the reference does not name a bundle: " + why,
	}
}

func invalidManifest(why string) error {
	return &contracts.Error{
		Code: contracts.CodeInvalidBundle, Stage: contracts.StagePull,
		Message: "the bundle's manifest " + why,
	}
}

// storedIndex fetches the index as it is stored.
func (b *Bundle) storedIndex(ctx context.Context) ([]byte, error) {
	return bundle.ReadBlob(ctx, b.from, bundle.Blob{Stored: contracts.Digest(b.config.Digest), StoredSize: b.config.Size})
}

// packedIndex reads an index of the packed format.
func packedIndex(stored []byte) (*bundle.Index, error) {
	x, err := bundle.ParseIndex(stored)
	if err != nil {
		return nil, err
	}
	for _, blob := range x.Blobs {
		if blob.Encoding == bundle.WholeFile {
			return nil, invalidManifest("has a blob of the files format in an index of the packed one")
		}
	}
	return x, nil
}

// checkLayers holds the layers against the index: a registry keeps what is a layer, and
// nothing else.
func (b *Bundle) checkLayers() error {
	want := layers(b.Index)
	if len(want) != len(b.Layers) {
		return invalidManifest("has other layers than its index has blobs")
	}
	for i, l := range want {
		if b.Layers[i] != l {
			return invalidManifest(fmt.Sprintf("has another layer %d than its index", i))
		}
	}
	return nil
}

// layers are the layers of a manifest for an index: its blobs in the registry, each digest
// once.
func layers(x *bundle.Index) []Layer {
	all := make([]Layer, 0, len(x.Blobs))
	seen := make(map[contracts.Digest]bool, len(x.Blobs))
	for _, blob := range x.Blobs {
		if !blob.Storage && !seen[blob.Stored] {
			seen[blob.Stored] = true
			all = append(all, Layer{mediaType(blob), blob.Stored, blob.StoredSize})
		}
	}
	return all
}

func mediaType(b bundle.Blob) string {
	t := packType
	if b.Kind == bundle.Chunk {
		t = chunkType
	}
	if b.Encoding == bundle.Zstd {
		t += zstdSuffix
	}
	return t
}

// blobs is a repository as bundle.Fetcher.
type blobs struct{ *Repository }

func descriptor(d contracts.Digest, size int64, mediaType string) ocispec.Descriptor {
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(d), Size: size}
}

// ExtractStats is what an extraction did.
type ExtractStats struct {
	Files        int
	BytesFetched int64
}

// Extract writes the bundle's files below root, which must have none of them yet. Every
// byte is verified. When it fails, root holds an unfinished bundle.
func (b *Bundle) Extract(ctx context.Context, root *os.Root) (ExtractStats, error) {
	return b.ExtractFiles(ctx, root, bundle.ExtractOptions{})
}

// ExtractFiles is Extract with options.
func (b *Bundle) ExtractFiles(ctx context.Context, root *os.Root, opts bundle.ExtractOptions) (ExtractStats, error) {
	var stats ExtractStats
	want := opts.Want
	opts.Want = func(f bundle.File) bool {
		if want != nil && !want(f) {
			return false
		}
		stats.Files++
		return true
	}
	fetched, err := b.Index.ExtractFiles(ctx, root, b.from, opts)
	stats.BytesFetched = fetched
	return stats, err
}

// Verify fetches every byte of the bundle and holds it against its digest. progress may be
// nil.
func (b *Bundle) Verify(ctx context.Context, progress bundle.Progress) (bytesFetched int64, err error) {
	return b.Index.Verify(ctx, b.from, progress)
}

// newManifest is the manifest of an index, byte for byte: its digest is the bundle's.
func newManifest(x *bundle.Index, stored *bundle.StoredIndex) []byte {
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       descriptor(stored.Digest, stored.Size, indexType),
		Layers:       []ocispec.Descriptor{},
	}
	for _, l := range layers(x) {
		m.Layers = append(m.Layers, descriptor(l.Digest, l.Size, l.MediaType))
	}
	raw, err := json.Marshal(m)
	if err != nil { // strings and numbers only
		panic(err)
	}
	return raw
}
