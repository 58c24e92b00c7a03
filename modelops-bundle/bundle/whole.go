package bundle

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/modelops-suite/modelops-go/contracts"
)

// WholeFiles is an index of files that are each a blob of their own, of any size, stored
// as they are: the Python suite's format. The files are by path and have no parts yet.
func WholeFiles(files []File) (*Index, error) {
	x := &Index{Files: files}
	blobs := map[contracts.Digest]int{}
	for i := range files {
		f := &files[i]
		if f.Size == 0 {
			continue
		}
		n, ok := blobs[f.Digest]
		if !ok {
			n = len(x.Blobs)
			blobs[f.Digest] = n
			x.Blobs = append(x.Blobs, Blob{Raw: f.Digest, RawSize: f.Size, Stored: f.Digest, StoredSize: f.Size, Encoding: WholeFile})
		}
		f.Parts = []Part{{Blob: n, Length: f.Size}}
	}
	x.Content = ContentDigest(files)
	return x, x.check()
}

// isWhole says whether the file is a blob of its own.
func (x *Index) isWhole(f *File) bool {
	return len(f.Parts) > 0 && f.Parts[0].Blob < len(x.Blobs) && x.Blobs[f.Parts[0].Blob].Encoding == WholeFile
}

// whole streams a blob to the files that it is, and holds what it was against its digest;
// it may be larger than memory, so it is fetched for each of them.
func (e *extraction) whole(ctx context.Context, blob Blob, uses []use) error {
	for i, u := range uses {
		if e.root != nil && e.mayReuse(blob, uses) && e.copyWhole(blob, u) {
			e.progress.Skip(ended(u.left), u.part.Length)
			continue
		}
		if e.root != nil || i == 0 {
			if err := e.fetchWhole(ctx, blob, u); err != nil {
				return err
			}
		}
		e.progress.Done(ended(u.left), u.part.Length)
	}
	return nil
}

func (e *extraction) fetchWhole(ctx context.Context, blob Blob, u use) error {
	body, err := e.from.Fetch(ctx, blob)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := e.stream(body, blob, u); err != nil {
		return err
	}
	e.fetched.Add(blob.StoredSize)
	return nil
}

// stream writes a file that is a blob of its own, and holds it against its digest.
func (e *extraction) stream(body io.Reader, blob Blob, u use) (err error) {
	h := sha256.New()
	into := io.Writer(h)
	var out *os.File
	if e.root != nil {
		if out, err = e.root.OpenFile(u.file.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(u.file.Mode)); err != nil {
			return unwritable(u.file.Path, err)
		}
		defer out.Close()
		into = io.MultiWriter(h, out)
	}
	n, err := io.Copy(into, io.LimitReader(body, blob.RawSize+1))
	if err == nil && out != nil {
		err = out.Close()
	}
	if onDisk := (*fs.PathError)(nil); errors.As(err, &onDisk) {
		return unwritable(u.file.Path, err)
	}
	if err != nil {
		return err
	}
	if got := contracts.DigestFromSum([sha256.Size]byte(h.Sum(nil))); n != blob.RawSize || got != blob.Raw {
		return &contracts.Error{
			Code: contracts.CodeIntegrity, Stage: contracts.StagePull, Retryable: true,
			Message: fmt.Sprintf("%s came with another digest or size than %s of %d bytes", contracts.Quote(u.file.Path), blob.Raw, blob.RawSize),
		}
	}
	return nil
}
