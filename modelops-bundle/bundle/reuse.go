package bundle

import (
	"context"
	"io"
	"os"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Local is a directory that may have what an extraction needs: an older version of the
// bundle. What is taken from it is held against its digest, and fetched if it is not that.
type Local struct {
	Root  *os.Root
	Index *Index // of what lies there
}

// place is where bytes lie in a file.
type place struct {
	path   string
	offset int64
}

// places are where the directory says that it has bytes, by their digest: chunks of large
// files, and whole files that are not in chunks.
func (l *Local) places() map[contracts.Digest]place {
	if l == nil {
		return nil
	}
	places := map[contracts.Digest]place{}
	for i := range l.Index.Files {
		f := &l.Index.Files[i]
		if f.Size < packLimit || l.Index.isWhole(f) {
			places[f.Digest] = place{f.Path, 0}
			continue
		}
		var at int64
		for _, part := range f.Parts {
			places[l.Index.Blobs[part.Blob].Raw] = place{f.Path, at}
			at += part.Length
		}
	}
	return places
}

// excerpt gives the raw bytes of blobs from a place in a file.
type excerpt struct {
	root *os.Root
	place
}

// Fetch opens the place.
func (x *excerpt) Fetch(_ context.Context, blob Blob) (io.ReadCloser, error) {
	f, err := x.root.Open(x.path)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, x.offset, blob.RawSize), f}, nil
}

// reuse makes the raw bytes of a blob from what the directory has, and says whether it has
// all that is needed of them.
func (e *extraction) reuse(blob Blob, uses []use, raw []byte) bool {
	if blob.Kind == Chunk {
		return e.take(blob.Raw, raw)
	}
	for _, u := range uses {
		if !e.take(u.file.Digest, raw[u.part.Offset:u.part.Offset+u.part.Length]) {
			return false
		}
	}
	return true
}

// mayReuse says whether the directory claims to have all that is needed of a blob.
func (e *extraction) mayReuse(blob Blob, uses []use) bool {
	has := func(d contracts.Digest) bool { _, ok := e.places[d]; return ok }
	if blob.Kind != Pack {
		return has(blob.Raw)
	}
	return !slices.ContainsFunc(uses, func(u use) bool { return !has(u.file.Digest) })
}

// take reads the bytes of a digest from the directory, and says whether they are there:
// what its index says is held against the bytes themselves.
func (e *extraction) take(digest contracts.Digest, raw []byte) bool {
	at := e.places[digest]
	f, err := e.local.Root.Open(at.path)
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := io.ReadFull(io.NewSectionReader(f, at.offset, int64(len(raw))), raw); err != nil {
		return false
	}
	return contracts.DigestOf(raw) == digest
}

// copyWhole copies a file that is a blob of its own from the directory, and says whether it
// was there.
func (e *extraction) copyWhole(blob Blob, u use) bool {
	f, err := e.local.Root.Open(e.places[blob.Raw].path)
	if err != nil {
		return false
	}
	defer f.Close()
	if e.stream(f, blob, u) == nil {
		return true
	}
	_ = e.root.Remove(u.file.Path) // it is fetched instead
	return false
}
