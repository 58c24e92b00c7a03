package ocilayout

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

const (
	writers  = 8       // blobs that a directory takes at a time
	maxUSTAR = 8 << 30 // bytes: what is larger needs GNU's form of a header
)

// Image is what is written: a manifest, and everything that it needs.
type Image struct {
	Entry    Entry // of which the descriptor is made from Manifest
	Manifest []byte
	// Extra is content that the manifest does not name, and that goes along.
	Extra []ocispec.Descriptor
	// Open gives the content of a descriptor of the manifest. It is held against size and
	// digest here. It is called from several goroutines at a time.
	Open func(context.Context, ocispec.Descriptor) (io.ReadCloser, error)
}

// Written says what a layout took.
type Written struct {
	Blobs int   // that were written, the manifest included
	Bytes int64 // of the same
}

// WriteTar writes the image to a tar file that is not there yet, or replaces the one that
// is. Equal images make equal files. The file has its name when it is whole.
func WriteTar(ctx context.Context, path string, image Image) (written Written, err error) {
	needs, err := image.ready()
	if err != nil {
		return written, err
	}
	index, err := marshalIndex([]ocispec.Descriptor{image.Entry.descriptor()})
	if err != nil {
		return written, err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return written, unwritable(path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	t := &tarWriter{tar.NewWriter(f)}
	err = errors.Join(t.file(ocispec.ImageLayoutFile, marker()), t.file(ocispec.ImageIndexFile, index),
		t.file(blobPath(image.Entry.Descriptor.Digest), image.Manifest))
	written = Written{1, int64(len(image.Manifest))}
	ahead, stop := image.readAhead(ctx, needs)
	defer stop()
	for i := 0; err == nil && i < len(needs); i++ {
		if err = t.header(blobPath(needs[i].Digest), needs[i].Size); err == nil {
			err = ahead.copy(ctx, t, needs[i])
		}
		written.Blobs, written.Bytes = written.Blobs+1, written.Bytes+needs[i].Size
	}
	if err == nil {
		err = t.Close()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = atomicfile.SyncDir(dir)
	}
	return written, unwritable(path, err)
}

type tarWriter struct{ *tar.Writer }

func (t *tarWriter) header(name string, size int64) error {
	format := tar.FormatUSTAR
	if size >= maxUSTAR {
		format = tar.FormatGNU
	}
	return t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: format})
}

func (t *tarWriter) file(name string, data []byte) error {
	if err := t.header(name, int64(len(data))); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}

// WriteDir adds the image to the layout in dir, which is made when it is not there. What
// lies there already is not fetched again, and a tag of the layout moves last.
func WriteDir(ctx context.Context, dir string, image Image) (written Written, err error) {
	needs, err := image.ready()
	if err != nil {
		return written, err
	}
	manifests, err := prepare(dir)
	if err != nil {
		return written, err
	}
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	took := make([]bool, len(needs))
	for i, d := range needs {
		group.Go(func() (err error) {
			took[i], err = image.store(limited, dir, d)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return written, err
	}
	for i, d := range needs {
		if took[i] {
			written.Blobs, written.Bytes = written.Blobs+1, written.Bytes+d.Size
		}
	}
	own := image.Entry.descriptor()
	path := filepath.Join(dir, filepath.FromSlash(blobPath(own.Digest)))
	if there, err := has(path, own); err != nil || !there {
		if err := errors.Join(err, atomicfile.Write(path, image.Manifest, 0o644)); err != nil {
			return written, unwritable(path, err)
		}
		written.Blobs, written.Bytes = written.Blobs+1, written.Bytes+own.Size
	}
	manifests = slices.DeleteFunc(manifests, func(d ocispec.Descriptor) bool {
		e := entry(d)
		return e.Tag != "" && e.Tag == image.Entry.Tag || e.Tag == "" && d.Digest == own.Digest
	})
	index, err := marshalIndex(append(manifests, own))
	if err != nil {
		return written, err
	}
	return written, unwritable(dir, atomicfile.Write(filepath.Join(dir, ocispec.ImageIndexFile), index, 0o644))
}

// prepare makes a layout of dir, or reads the manifests of the one that it is.
func prepare(dir string) ([]ocispec.Descriptor, error) {
	entries, err := os.ReadDir(dir)
	if err := ignoreAbsence(err); err != nil {
		return nil, unwritable(dir, err)
	}
	var manifests []ocispec.Descriptor
	markerPath := filepath.Join(dir, ocispec.ImageLayoutFile)
	if len(entries) > 0 {
		if _, err := os.Lstat(markerPath); err != nil {
			return nil, &contracts.Error{
				Code: contracts.CodeConflict, Stage: contracts.StagePull,
				Message: contracts.Quote(dir) + " holds something else than an OCI image layout",
				Hint:    "name a directory that is not there, one that is empty, or a layout; or a file that ends in .tar",
			}
		}
		l, err := Open(dir)
		if err != nil && !errors.Is(err, errNoIndex) { // an export that was stopped has none yet
			return nil, err
		}
		if l != nil {
			for _, e := range l.Entries {
				manifests = append(manifests, e.original)
			}
			defer l.Close()
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, unwritable(dir, err)
	}
	if len(entries) == 0 { // before anything else: it says what the rest is
		if err := atomicfile.Write(markerPath, marker(), 0o644); err != nil {
			return nil, unwritable(dir, err)
		}
	}
	return manifests, unwritable(dir, os.MkdirAll(filepath.Join(dir, filepath.FromSlash(blobsDir)), 0o755))
}

// store writes a blob of a directory, and says whether it was not there.
func (i Image) store(ctx context.Context, dir string, d ocispec.Descriptor) (bool, error) {
	path := filepath.Join(dir, filepath.FromSlash(blobPath(d.Digest)))
	if there, err := has(path, d); err != nil || there {
		return false, unwritable(path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return false, unwritable(path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = i.copy(ctx, f, d)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return true, unwritable(path, err)
}

// has says whether a file has the content that it should have.
func has(path string, d ocispec.Descriptor) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != d.Size {
		return false, ignoreAbsence(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return digest.NewDigest(digest.SHA256, h) == d.Digest, nil
}

// copy copies the content of a descriptor, and fails unless it is that.
func (i Image) copy(ctx context.Context, w io.Writer, d ocispec.Descriptor) error {
	body, err := i.Open(ctx, d)
	if err != nil {
		return err
	}
	defer body.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(body, d.Size))
	if err != nil {
		return err
	}
	more, _ := io.ReadFull(body, make([]byte, 1))
	if got := digest.NewDigest(digest.SHA256, h); n+int64(more) != d.Size || got != d.Digest {
		return &contracts.Error{
			Code: contracts.CodeIntegrity, Stage: contracts.StagePull, Retryable: true,
			Message: fmt.Sprintf("blob %s came with other content than its %d bytes", d.Digest, d.Size),
		}
	}
	return nil
}

// ready completes the entry and lists what the manifest needs, each digest once.
func (i *Image) ready() ([]ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(i.Manifest, &m); err != nil {
		return nil, fmt.Errorf("the manifest is not JSON: %w", err)
	}
	i.Entry.Descriptor = ocispec.Descriptor{
		MediaType: m.MediaType, Digest: digest.Digest(contracts.DigestOf(i.Manifest)), Size: int64(len(i.Manifest)), ArtifactType: m.ArtifactType,
	}
	var needs []ocispec.Descriptor
	seen := map[digest.Digest]bool{i.Entry.Descriptor.Digest: true}
	for _, d := range slices.Concat([]ocispec.Descriptor{m.Config}, m.Layers, i.Extra) {
		if _, err := contracts.ParseDigest(string(d.Digest)); err != nil {
			return nil, err
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			needs = append(needs, d)
		}
	}
	return needs, nil
}

func ignoreAbsence(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// unwritable explains an error of this machine's files; an error that explains itself, or
// none, stays what it is.
func unwritable(path string, err error) error {
	if _, own := errors.AsType[*contracts.Error](err); err == nil || own || errors.Is(err, context.Canceled) {
		return err
	}
	return (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StagePull,
		Message: contracts.Quote(path) + " cannot be written: " + contracts.Quote(err.Error()),
		Hint:    "check its directory, its permissions and the room on the disk",
	}).Because(err)
}
