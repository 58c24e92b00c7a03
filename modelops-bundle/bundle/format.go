package bundle

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Format is how a bundle keeps its files. It decides what a file's identity is, so that
// two sides can only be compared in one format.
type Format string

// The formats.
const (
	// Packed is ours: small files in packs, large ones in chunks, with modes. A large file's
	// digest is over its chunks.
	Packed Format = "packed"
	// Files is the Python suite's: each file is a blob, with its plain SHA-256 for a digest,
	// and there are no modes.
	Files Format = "files"
)

// Format is the format that the index is of.
func (x *Index) Format() Format {
	if len(x.Blobs) > 0 && x.Blobs[0].Encoding == WholeFile {
		return Files
	}
	return Packed
}

// Identify is the files below root as a bundle of the format has them, in [Files] without
// their parts. What the cache knows is not read; nil is for none, and each format needs
// one of its own.
func Identify(ctx context.Context, root *os.Root, sources []Source, format Format, cache *Cache) ([]File, error) {
	if format == Files {
		return identifyWhole(ctx, root, sources, cache)
	}
	x, err := Builder{Cache: cache}.Build(ctx, root, sources)
	if err != nil {
		return nil, err
	}
	return x.Files, nil
}

// identifyWhole hashes several files at a time, each as a stream.
func identifyWhole(ctx context.Context, root *os.Root, sources []Source, cache *Cache) ([]File, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	files := make([]File, len(sources))
	read := cache != nil && len(sources) != cache.sources
	for i, source := range sources {
		files[i] = File{Path: source.Path, Mode: Regular, Size: source.Info.Size(), Digest: contracts.DigestOf(nil)}
		if files[i].Size == 0 {
			continue
		}
		if cache != nil {
			if known, ok := cache.lookup(source); ok && len(known.parts) == 0 {
				files[i].Digest = known.digest
				continue
			}
		}
		read = true
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var err error
			files[i].Digest, err = hashWhole(ctx, root, source)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if cache != nil && read {
		cache.learn(sources, &Index{Files: files})
	}
	return files, nil
}

func hashWhole(ctx context.Context, root *os.Root, source Source) (contracts.Digest, error) {
	f, err := source.Open(root)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, cancelable{ctx, f}); err != nil || n != source.Info.Size() {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", changed(source, err)
	}
	if err := source.Unchanged(f); err != nil {
		return "", err
	}
	return contracts.DigestFromSum([sha256.Size]byte(h.Sum(nil))), nil
}

// cancelable ends when its context does.
type cancelable struct {
	ctx context.Context
	io.Reader
}

func (c cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

// Open opens the file below root, if it is still the one that the scan saw.
func (s Source) Open(root *os.Root) (*os.File, error) { return openUnchanged(root, s) }

// Unchanged makes sure that the open file is still the one that the scan saw.
func (s Source) Unchanged(f *os.File) error { return stillUnchanged(f, s) }

// SameFile says whether the file below root is f of a bundle of the format. The error is
// fs.ErrNotExist when there is none.
func SameFile(root *os.Root, f File, format Format) (bool, error) {
	info, err := root.Lstat(f.Path)
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != f.Size {
		return false, nil
	}
	files, err := Identify(context.Background(), root, []Source{{Path: f.Path, Mode: modeOf(info), Info: info}}, format, nil)
	if err != nil {
		return false, err
	}
	return files[0].Identity() == f.Identity(), nil
}
