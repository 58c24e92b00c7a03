package bundle

import (
	"fmt"

	"github.com/modelops-suite/modelops-go/contracts"
)

// check holds the index against every rule of the format, and sets the kinds of the
// blobs.
func (x *Index) check() error {
	if len(x.Files) > maxFileCount || len(x.Blobs) > MaxBlobs {
		return invalid("it has too many files or blobs")
	}
	if err := x.checkBlobs(); err != nil {
		return err
	}
	if err := x.checkPaths(); err != nil {
		return err
	}
	use := tiling{index: x, filled: make([]int64, len(x.Blobs)), seen: map[blobKey]bool{}, empty: contracts.DigestOf(nil)}
	for i := range x.Files {
		if err := use.add(&x.Files[i]); err != nil {
			return err
		}
	}
	for i, filled := range use.filled {
		if filled != x.Blobs[i].RawSize {
			return invalid(fmt.Sprintf("blob %d is not used as a whole", i))
		}
	}
	if ContentDigest(x.Files) != x.Content {
		return &contracts.Error{
			Code: contracts.CodeIntegrity, Stage: contracts.StagePull,
			Message: "the bundle's index does not have the content digest that it claims",
		}
	}
	return nil
}

func (x *Index) checkBlobs() error {
	for i, b := range x.Blobs {
		switch {
		case b.Raw == "" || b.Stored == "":
			return invalid(fmt.Sprintf("blob %d has no digest", i))
		case b.RawSize <= 0 || b.RawSize > maxBlobSize && b.Encoding != WholeFile || b.RawSize > maxFile || b.StoredSize <= 0 || b.StoredSize > b.RawSize:
			return invalid(fmt.Sprintf("blob %d has an impossible size", i))
		case b.Encoding != Identity && b.Encoding != Zstd && b.Encoding != WholeFile:
			return invalid(fmt.Sprintf("blob %d has the unknown encoding %s", i, contracts.Quote(string(b.Encoding))))
		case b.Encoding != Zstd && (b.Raw != b.Stored || b.RawSize != b.StoredSize):
			return invalid(fmt.Sprintf("blob %d is stored as it is, under another digest", i))
		}
	}
	return nil
}

func (x *Index) checkPaths() error {
	paths := make([]string, len(x.Files))
	for i, f := range x.Files {
		paths[i] = f.Path
		if i > 0 && f.Path <= x.Files[i-1].Path {
			return invalid("its files are not in the order of their paths")
		}
	}
	if problems := CheckPaths(paths); len(problems) > 0 {
		return &contracts.Error{
			Code: contracts.CodeInvalidBundle, Stage: contracts.StagePull,
			Message: "the bundle has files that cannot be in one", Problems: problems,
		}
	}
	return nil
}

// tiling follows how files use blobs.
type tiling struct {
	index  *Index
	filled []int64 // of each blob, how far its parts have come
	next   int     // the blob whose first use is next
	seen   map[blobKey]bool
	empty  contracts.Digest
}

func (t *tiling) add(f *File) error {
	bad := func(why string) error { return invalid(contracts.Quote(f.Path) + " " + why) }
	if f.Size < 0 || f.Size > maxFile {
		return bad("has an impossible size")
	}
	if f.Digest == "" {
		return bad("has no digest")
	}
	if f.Size == 0 && f.Digest != t.empty {
		return bad("is empty, and has the digest of something")
	}
	kind := Pack
	if f.Size >= packLimit {
		kind = Chunk
	}
	if t.index.isWhole(f) {
		kind = Whole
	}
	if kind != Chunk && len(f.Parts) > 1 || f.Size > 0 && len(f.Parts) == 0 {
		return bad("has the wrong number of parts")
	}
	rest := f.Size
	for _, part := range f.Parts {
		if part.Blob >= len(t.index.Blobs) {
			return bad("has a part in a blob that is not there")
		}
		if part.Length <= 0 || part.Length > rest {
			return bad("has parts that do not add up to its size")
		}
		rest -= part.Length
		if why := t.place(part, kind); why != "" {
			return bad(why)
		}
	}
	switch {
	case rest != 0:
		return bad("has parts that do not add up to its size")
	case kind == Whole && f.Digest != t.index.Blobs[f.Parts[0].Blob].Raw:
		return bad("does not have the digest of its blob")
	case kind == Chunk && f.Digest != chunksDigest(f.Parts, t.index.Blobs):
		return bad("does not have the digest of its chunks")
	}
	return nil
}

// place puts a part where the blob's last one ended, or at the start of a blob that
// serves a second time.
func (t *tiling) place(part Part, kind Kind) string {
	blob := &t.index.Blobs[part.Blob]
	switch {
	case part.Blob > t.next:
		return "uses a blob before its turn"
	case part.Blob == t.next:
		key := blobKey{blob.Raw, kind}
		if t.seen[key] {
			return "uses a blob that is there twice"
		}
		t.next++
		t.seen[key], blob.Kind = true, kind
	case blob.Kind != kind:
		return "uses a blob of the other kind"
	}
	if (kind == Whole) != (blob.Encoding == WholeFile) {
		return "uses a blob of the other kind"
	}
	if kind != Pack && (part.Offset != 0 || part.Length != blob.RawSize) {
		return "uses a part of a chunk"
	}
	at := t.filled[part.Blob]
	if at == blob.RawSize {
		at = 0
	}
	if part.Offset != at || part.Length > blob.RawSize-part.Offset {
		return "overlaps another file, leaves a gap, or reaches over the end of a blob"
	}
	t.filled[part.Blob] = part.Offset + part.Length
	return ""
}
