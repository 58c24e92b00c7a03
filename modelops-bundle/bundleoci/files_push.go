package bundleoci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

const (
	// fileType is what the Python suite calls the layer of a file, which is no tar.
	fileType = "application/vnd.oci.image.layer.v1.tar"
	// fileUploads is how many files are sent at a time.
	fileUploads = 8
)

// filesDocument is an index in the files format with every field that the Python suite
// reads. Its keys are sorted, as the Python suite writes them. The time is always the
// same: a bundle's digest depends on its files alone.
type filesDocument struct {
	Created  string                   `json:"created"`
	Files    map[string]filesDocEntry `json:"files"`
	Metadata struct{}                 `json:"metadata"`
	Tool     filesTool                `json:"tool"`
	Version  string                   `json:"version"`
}

type filesDocEntry struct {
	BlobRef   *string          `json:"blobRef"` // always null: nothing is in blob storage
	Digest    contracts.Digest `json:"digest"`
	MediaType *string          `json:"mediaType"` // always null
	Path      string           `json:"path"`
	Size      int64            `json:"size"`
	Storage   string           `json:"storage"`
}

type filesTool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// filesBundle is a bundle in the files format that is to be pushed.
type filesBundle struct {
	index            *bundle.Index
	stored, manifest []byte // the index and the manifest, as they lie in the registry
	blobs            []fileBlob
}

// fileBlob is a layer, and one of the files that have its bytes.
type fileBlob struct {
	Layer
	source bundle.Source
}

func newFilesBundle(ctx context.Context, root *os.Root, sources []bundle.Source, cache *bundle.Cache) (*filesBundle, error) {
	if paths := storedPaths(sources); len(paths) > 0 {
		return nil, &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StagePush,
			Message: fmt.Sprintf("%s (%s first) should lie in the storage, and the files format keeps all in the registry", contracts.Count(len(paths), "file", "files"), contracts.Quote(paths[0])),
			Hint:    "write storage.mode: oci-only into .modelops-bundle/config.yaml, or push in the packed format",
		}
	}
	files, err := bundle.Identify(ctx, root, sources, bundle.Files, cache)
	if err != nil {
		return nil, err
	}
	b := &filesBundle{stored: marshalFilesIndex(files)}
	b.manifest = filesManifest(files, b.stored)
	if len(b.manifest) > maxManifest {
		return nil, invalidManifest("would be larger than 4 MiB in the files format; push in the packed format, leave files out, or split the project")
	}
	if b.index, err = bundle.WholeFiles(files); err != nil {
		return nil, err
	}
	seen := map[contracts.Digest]bool{}
	for i, f := range files {
		if !seen[f.Digest] {
			seen[f.Digest] = true
			b.blobs = append(b.blobs, fileBlob{Layer{fileType, f.Digest, f.Size}, sources[i]})
		}
	}
	return b, nil
}

func marshalFilesIndex(files []bundle.File) []byte {
	doc := filesDocument{
		Created: "1970-01-01T00:00:00.000000Z", Files: make(map[string]filesDocEntry, len(files)),
		Tool: filesTool{Name: "modelops-bundle", Version: "0.1.0"}, Version: "1.0",
	}
	for _, f := range files {
		doc.Files[f.Path] = filesDocEntry{Digest: f.Digest, Path: f.Path, Size: f.Size, Storage: "oci"}
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(doc); err != nil { // strings and numbers only
		panic(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// filesManifest has a layer for each file, with its path for a title, by path. Files of
// the same bytes have equal layers but for the title.
func filesManifest(files []bundle.File, index []byte) []byte {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    descriptor(contracts.DigestOf(index), int64(len(index)), pythonIndexType),
		Layers:    []ocispec.Descriptor{},
	}
	for _, f := range files {
		layer := descriptor(f.Digest, f.Size, fileType)
		layer.Annotations = map[string]string{ocispec.AnnotationTitle: f.Path}
		m.Layers = append(m.Layers, layer)
	}
	raw, err := json.Marshal(m)
	if err != nil { // strings and numbers only
		panic(err)
	}
	return raw
}

func (b *filesBundle) result(r *Repository, tag string, current contracts.Digest) PushResult {
	d := contracts.DigestOf(b.manifest)
	return PushResult{Ref: contracts.BundleRef{Repository: r.Name, Digest: d}, Index: b.index, Tag: tag, Unchanged: current == d}
}

// prepareFiles makes the bundle, and refuses to move a tag that somebody else moved.
func (p *push) prepareFiles(ctx context.Context, root *os.Root, sources []bundle.Source) (*filesBundle, PushResult, error) {
	if err := p.survey(ctx); err != nil {
		return nil, PushResult{}, err
	}
	b, err := newFilesBundle(ctx, root, sources, p.opts.Cache)
	if err != nil {
		return nil, PushResult{}, p.repository.translate(err, contracts.StagePush, p.repository.Name)
	}
	result := b.result(p.repository, p.opts.Tag, p.current)
	if !p.opts.Force && p.current != "" && p.current != p.opts.Base && !result.Unchanged {
		return nil, result, (&MovedError{p.opts.Tag, p.opts.Base, p.current, result.Ref.Digest}).conflict()
	}
	return b, result, nil
}

// pushFiles is Push in the files format. Every file is read once to name it, and those
// that the registry lacks once more to send them.
func (r *Repository) pushFiles(ctx context.Context, root *os.Root, sources []bundle.Source, opts PushOptions) (*PushResult, error) {
	p := &push{repository: r, opts: opts, present: map[contracts.Digest]bool{}}
	b, result, err := p.prepareFiles(ctx, root, sources)
	if err != nil {
		return nil, err
	}
	if result.Unchanged {
		return &result, nil
	}
	if err := p.mount(ctx); err != nil {
		return nil, err
	}
	if opts.Progress != nil {
		files, bytes := len(b.index.Files), b.index.Size()
		opts.Progress.Plan(files, bytes)
		opts.Progress.Skip(files-len(b.blobs), bytes-b.bytes()) // what is there twice
	}
	if err := p.sendFiles(ctx, root, b.blobs); err != nil {
		return nil, err
	}
	err = p.publish(ctx, bundle.IndexOf(b.stored), b.manifest)
	if errors.Is(err, errBlobUnknown) { // something that was taken as present has been removed
		p.present, p.fresh, p.opts.Progress = map[contracts.Digest]bool{}, false, nil
		if err := p.sendFiles(ctx, root, b.blobs); err != nil {
			return nil, err
		}
		err = p.publishAgain(ctx, bundle.IndexOf(b.stored), b.manifest)
	}
	if err != nil {
		return nil, err
	}
	p.count(&result)
	return &result, nil
}

func (b *filesBundle) bytes() int64 {
	var n int64
	for _, blob := range b.blobs {
		n += blob.Size
	}
	return n
}

// sendFiles sends what the registry lacks, as streams from the disk.
func (p *push) sendFiles(ctx context.Context, root *os.Root, blobs []fileBlob) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fileUploads)
	for _, blob := range blobs {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			sent, err := p.sendFile(ctx, root, blob)
			switch {
			case err != nil || p.opts.Progress == nil:
			case sent:
				p.opts.Progress.Done(1, blob.Size)
			default:
				p.opts.Progress.Skip(1, blob.Size)
			}
			return err
		})
	}
	return group.Wait()
}

// sendFile sends one file, unless the registry has its bytes. A file that is not what it
// was when it was hashed stops the push with its name.
func (p *push) sendFile(ctx context.Context, root *os.Root, blob fileBlob) (sent bool, err error) {
	if has, _ := p.has(ctx, bundle.Blob{Stored: blob.Digest}); has {
		return false, nil
	}
	f, err := blob.source.Open(root)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sent, err = p.stream(ctx, blob.Layer, func() io.Reader { return section{io.NewSectionReader(f, 0, blob.Size)} })
	if changed := blob.source.Unchanged(f); changed != nil {
		return false, changed
	}
	return sent, err
}

// stream sends a layer that is too large to be held.
func (p *push) stream(ctx context.Context, l Layer, body func() io.Reader) (sent bool, err error) {
	if l.Size == 0 {
		body = func() io.Reader { return bytes.NewReader(nil) }
	}
	sent, err = p.put(ctx, descriptor(l.Digest, l.Size, l.MediaType), body)
	if err != nil {
		return false, p.repository.translate(err, contracts.StagePush, "blob "+string(l.Digest)+" of "+p.repository.Name)
	}
	p.mu.Lock()
	p.present[l.Digest] = true
	p.mu.Unlock()
	if sent {
		p.uploaded.Add(l.Size)
	}
	return sent, nil
}

// sendLayers sends the layers of a bundle in the files format from elsewhere, and what it
// has in the storage.
func (p *push) sendLayers(ctx context.Context, b *Bundle) error {
	distinct := map[contracts.Digest]Layer{}
	var total int64
	for _, l := range b.Layers {
		if _, ok := distinct[l.Digest]; !ok {
			distinct[l.Digest] = l
			total += l.Size
		}
	}
	for _, blob := range b.Index.Blobs {
		if blob.Storage {
			total += blob.StoredSize
		}
	}
	progress := p.opts.Progress
	if progress != nil {
		progress.Plan(0, total)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fileUploads)
	for _, l := range distinct {
		group.Go(func() error {
			if has, _ := p.has(ctx, bundle.Blob{Stored: l.Digest}); !has {
				body := func() io.Reader { return newFetched(ctx, b.from, l) }
				if _, err := p.stream(ctx, l, body); err != nil {
					return err
				}
			}
			if progress != nil {
				progress.Done(0, l.Size)
			}
			return nil
		})
	}
	for _, blob := range b.Index.Blobs {
		if !blob.Storage {
			continue
		}
		group.Go(func() error {
			layer := Layer{Digest: blob.Stored, Size: blob.StoredSize}
			if err := p.storeFrom(ctx, blob, newFetched(ctx, b.from, layer)); err != nil {
				return err
			}
			if progress != nil {
				progress.Done(0, blob.StoredSize)
			}
			return nil
		})
	}
	return group.Wait()
}

// fetched is a layer from elsewhere as the body of a request. It ends with an error when it
// is not what its digest says.
type fetched struct {
	ctx   context.Context
	from  bundle.Fetcher
	layer Layer
	hash  hash.Hash // of what was read

	mu     sync.Mutex    // a request's body can be closed while it is read
	body   io.ReadCloser // nil until it is read
	closed bool
}

func newFetched(ctx context.Context, from bundle.Fetcher, l Layer) *fetched {
	return &fetched{ctx: ctx, from: from, layer: l, hash: sha256.New()}
}

func (f *fetched) Read(p []byte) (int, error) {
	body, err := f.open()
	if err != nil {
		return 0, err
	}
	n, err := body.Read(p)
	f.hash.Write(p[:n])
	if err == io.EOF && contracts.DigestFromSum([sha256.Size]byte(f.hash.Sum(nil))) != f.layer.Digest {
		return n, &contracts.Error{
			Code: contracts.CodeIntegrity, Stage: contracts.StagePush, Retryable: true,
			Message: "blob " + string(f.layer.Digest) + " came with another digest",
		}
	}
	return n, err
}

func (f *fetched) open() (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fs.ErrClosed
	}
	var err error
	if f.body == nil {
		f.body, err = f.from.Fetch(f.ctx, bundle.Blob{Stored: f.layer.Digest, StoredSize: f.layer.Size})
	}
	return f.body, err
}

func (f *fetched) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.body == nil {
		return nil
	}
	return f.body.Close()
}

func (f *fetched) replay() (io.ReadCloser, error) {
	return newFetched(f.ctx, f.from, f.layer), nil
}

// section is a file's bytes as the body of a request. Who opened the file closes it.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

func (s section) replay() (io.ReadCloser, error) {
	f, offset, n := s.Outer()
	return section{io.NewSectionReader(f, offset, n)}, nil
}

// planFiles is PlanPush in the files format.
func (r *Repository) planFiles(ctx context.Context, root *os.Root, sources []bundle.Source, opts PushOptions) (*PushPlan, error) {
	p := &push{repository: r, opts: opts, present: map[contracts.Digest]bool{}}
	b, result, err := p.prepareFiles(ctx, root, sources)
	if err != nil {
		return nil, err
	}
	plan := &PushPlan{PushResult: result, Current: p.current, Missing: []Layer{}, MissingStored: []StorageBlob{}}
	layers := []Layer{{pythonIndexType, contracts.DigestOf(b.stored), int64(len(b.stored))}}
	for _, blob := range b.blobs {
		layers = append(layers, blob.Layer)
	}
	for _, l := range layers {
		lacks, err := p.lacks(ctx, l)
		if err != nil {
			return nil, err
		}
		if lacks {
			plan.Missing = append(plan.Missing, l)
		}
	}
	slices.SortFunc(plan.Missing, func(a, b Layer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return plan, nil
}
