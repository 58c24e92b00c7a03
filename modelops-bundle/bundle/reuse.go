package bundle

import (
	"io"
	"os"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Local is a directory that may have what an extraction needs: an older version of the
// bundle. What is taken from it is held against its digest, and fetched if it is not that.
type Local struct {
	Root  *os.Root
	Index *Index // of what lies there
}

// place is where a chunk lies in a file.
type place struct {
	path   string
	offset int64
}

// chunks are the places of the chunks of large files.
func (l *Local) chunks() map[contracts.Digest]place {
	if l == nil {
		return nil
	}
	places := map[contracts.Digest]place{}
	for _, f := range l.Index.Files {
		if f.Size < packLimit {
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

// take reads a blob's raw bytes from the directory, and says whether they are there.
func (e *extraction) take(blob Blob, raw []byte) bool {
	at, ok := e.places[blob.Raw]
	if !ok {
		return false
	}
	f, err := e.local.Root.Open(at.path)
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := io.ReadFull(io.NewSectionReader(f, at.offset, blob.RawSize), raw); err != nil {
		return false
	}
	return contracts.DigestOf(raw) == blob.Raw
}
