package ocilayout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Layout is a layout that can be read.
type Layout struct {
	Path    string
	Entries []Manifest

	files files
}

// Manifest is an entry of a layout that was read.
type Manifest struct {
	Entry
	original ocispec.Descriptor
}

// files are the files of a layout, in a directory or a tar file.
type files interface {
	// open opens a regular file, or answers fs.ErrNotExist.
	open(name string) (file io.ReadCloser, size int64, err error)
	Close() error
}

// errNoIndex is that a layout has nothing in it.
var errNoIndex = errors.New("no index.json")

// Open reads a layout in a directory or a tar file. Its error is a [contracts.Error]; of
// [contracts.CodeInvalidBundle] when it breaks a rule.
func Open(path string) (*Layout, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	l := &Layout{Path: path}
	switch {
	case info.IsDir():
		var root *os.Root
		if root, err = os.OpenRoot(path); err != nil {
			return nil, unreadable(path, err)
		}
		l.files = directory{root}
	case info.Mode().IsRegular():
		if l.files, err = openTar(path); err != nil {
			return nil, err
		}
	default:
		return nil, invalid(path, "it is neither a directory nor a file")
	}
	if err := l.load(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close lets go of the files.
func (l *Layout) Close() error { return l.files.Close() }

func (l *Layout) load() error {
	var version ocispec.ImageLayout
	if err := l.parse(ocispec.ImageLayoutFile, &version); err != nil {
		return err
	}
	if version.Version != ocispec.ImageLayoutVersion {
		return invalid(l.Path, "its version is "+contracts.Quote(version.Version))
	}
	var index ocispec.Index
	if err := l.parse(ocispec.ImageIndexFile, &index); err != nil {
		return err
	}
	for _, d := range index.Manifests {
		if _, err := contracts.ParseDigest(string(d.Digest)); err != nil || d.Size <= 0 || d.Size > maxManifest {
			return invalid(l.Path, "index.json has a manifest without a valid digest and size")
		}
		l.Entries = append(l.Entries, Manifest{entry(d), d})
	}
	return nil
}

func (l *Layout) parse(name string, into any) error {
	f, size, err := l.files.open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e := invalid(l.Path, "it has no "+name)
		if name == ocispec.ImageIndexFile {
			return e.Because(errNoIndex)
		}
		return e
	case err != nil:
		return unreadable(l.Path, err)
	}
	defer f.Close()
	if size > maxIndex {
		return invalid(l.Path, name+" is larger than 4 MiB")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxIndex))
	if err != nil {
		return unreadable(l.Path, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return invalid(l.Path, name+" is not JSON of what it should be")
	}
	return nil
}

// Manifest reads a manifest, which has the digest that the entry says.
func (l *Layout) Manifest(e Entry) ([]byte, error) {
	f, err := l.Blob(context.Background(), contracts.Digest(e.Descriptor.Digest), e.Descriptor.Size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return nil, unreadable(l.Path, err)
	}
	if got := contracts.DigestOf(data); string(got) != string(e.Descriptor.Digest) {
		return nil, broken(l.Path, fmt.Sprintf("manifest %s has the digest %s", e.Descriptor.Digest, got))
	}
	return data, nil
}

// Blob opens content of the layout that has the size. Whoever reads it holds it against
// the digest.
func (l *Layout) Blob(_ context.Context, d contracts.Digest, size int64) (io.ReadCloser, error) {
	f, there, err := l.files.open(blobsDir + d.Hex())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, invalid(l.Path, "blob "+string(d)+" is missing")
	case err != nil:
		return nil, unreadable(l.Path, err)
	case there != size:
		f.Close()
		return nil, broken(l.Path, fmt.Sprintf("blob %s has %d bytes, and should have %d", d, there, size))
	}
	return f, nil
}

// directory is a layout in a directory. No link is followed.
type directory struct{ *os.Root }

func (d directory) open(name string) (io.ReadCloser, int64, error) {
	info, err := d.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file", name)
	}
	f, err := d.Open(name)
	if err != nil {
		return nil, 0, err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(info, now) {
		err = fmt.Errorf("%s was replaced while it was opened", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, now.Size(), nil
}

func broken(path, what string) error {
	return &contracts.Error{
		Code: contracts.CodeIntegrity, Stage: contracts.StagePull,
		Message: "the OCI image layout " + contracts.Quote(path) + " is damaged: " + what,
		Hint:    "copy it again from where it was made, or export it again",
	}
}

func unreadable(path string, err error) error {
	if own, ok := errors.AsType[*contracts.Error](err); ok {
		return own
	}
	e := &contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StagePull,
		Message: contracts.Quote(path) + " cannot be read: " + contracts.Quote(err.Error()),
	}
	if errors.Is(err, fs.ErrNotExist) {
		e.Code, e.Message = contracts.CodeNotFound, "there is no "+contracts.Quote(path)
		e.Hint = "name a directory or a tar file that export made"
	}
	return e.Because(err)
}
