package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Fetcher gives the stored bytes of a blob. They are verified by the caller.
type Fetcher interface {
	Fetch(ctx context.Context, blob Blob) (io.ReadCloser, error)
}

// Extract writes the bundle's files below root, which must not have any of them yet, and
// returns how many stored bytes it fetched. A file is created with its mode less the
// process's umask. Every byte is held against the index; when Extract fails, root holds an
// unfinished bundle that the caller must throw away.
func (x *Index) Extract(ctx context.Context, root *os.Root, from Fetcher) (fetched int64, err error) {
	return x.ExtractFiles(ctx, root, from, ExtractOptions{})
}

// ExtractOptions say what is extracted, and how. The zero value is for everything.
type ExtractOptions struct {
	Want func(File) bool // nil for every file
	// Local is a directory to take bytes from, where it has them; nil for none.
	Local    *Local
	Progress Progress // nil for nobody
}

// ExtractFiles is Extract with options.
func (x *Index) ExtractFiles(ctx context.Context, root *os.Root, from Fetcher, opts ExtractOptions) (fetched int64, err error) {
	e := &extraction{index: x, root: root, from: from, uses: make([][]use, len(x.Blobs)), progress: watched(opts.Progress), local: opts.Local, places: opts.Local.places(), stored: newArena(fetchedLimit), raw: newArena(decodedLimit)}
	if err := e.prepare(opts.Want); err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, uses := range e.uses {
		if len(uses) == 0 {
			continue
		}
		group.Go(func() error { return e.blob(ctx, x.Blobs[i], uses) })
	}
	err = group.Wait()
	return e.fetched.Load(), err
}

// Verify fetches every blob and holds every byte against the index, and writes nothing.
// progress may be nil.
func (x *Index) Verify(ctx context.Context, from Fetcher, progress Progress) (fetched int64, err error) {
	return x.ExtractFiles(ctx, nil, from, ExtractOptions{Progress: progress})
}

// fetchedLimit and decodedLimit bound the bytes that are under way: as they came, and
// decompressed.
const (
	fetchedLimit = 32 << 20
	decodedLimit = 24 << 20
)

type extraction struct {
	index *Index
	root  *os.Root // nil when nothing is to be written
	from  Fetcher
	uses  [][]use // of each blob

	local   *Local
	places  map[contracts.Digest]place // of what may be here
	fetched atomic.Int64               // stored bytes

	stored, raw *arena // of what is under way

	progress Progress
}

// use is a part of a blob and where it goes.
type use struct {
	file *File
	part Part
	at   int64         // in the file
	left *atomic.Int64 // parts of the file that are not written yet
}

// prepare makes the directories, the empty files and the large ones, and notes who uses
// which blob.
func (e *extraction) prepare(want func(File) bool) error {
	made := map[string]bool{".": true}
	files, empty, bytes := 0, 0, int64(0)
	for i := range e.index.Files {
		f := &e.index.Files[i]
		if want != nil && !want(*f) {
			continue
		}
		files, bytes = files+1, bytes+f.Size
		if f.Size == 0 {
			empty++
		}
		if dir := path.Dir(f.Path); e.root != nil && !made[dir] {
			if err := e.root.MkdirAll(dir, 0o755); err != nil {
				return unwritable(dir, err)
			}
			made[dir] = true
		}
		if f.Size == 0 || f.Size >= packLimit && !e.index.isWhole(f) {
			if err := e.create(f, nil); err != nil {
				return err
			}
		}
		var at int64
		left := new(atomic.Int64)
		left.Store(int64(len(f.Parts)))
		for _, part := range f.Parts {
			e.uses[part.Blob] = append(e.uses[part.Blob], use{f, part, at, left})
			at += part.Length
		}
	}
	e.progress.Plan(files, bytes)
	e.progress.Done(empty, 0)
	return nil
}

func (e *extraction) create(f *File, data []byte) error {
	if e.root == nil {
		return nil
	}
	out, err := e.root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(f.Mode))
	if err != nil {
		return unwritable(f.Path, err)
	}
	_, err = out.Write(data)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return unwritable(f.Path, err)
	}
	return nil
}

func (e *extraction) blob(ctx context.Context, blob Blob, uses []use) error {
	if blob.Kind == Whole {
		return e.whole(ctx, blob, uses)
	}
	direct := blob.Kind == Chunk && len(uses) <= straightUses
	switch reusable := e.mayReuse(blob, uses); {
	case reusable && direct:
		if e.copied(ctx, blob, uses) {
			return nil
		}
	case reusable:
		room, err := e.raw.get(ctx, blob.RawSize)
		if err != nil {
			return err
		}
		if e.reuse(blob, uses, room) {
			defer e.raw.put(room)
			return e.write(blob, uses, room, e.progress.Skip)
		}
		e.raw.put(room)
	}
	if direct && blob.Encoding == Identity {
		return e.straight(ctx, blob, uses)
	}
	buf, err := e.stored.get(ctx, blob.StoredSize)
	if err != nil {
		return err
	}
	defer e.stored.put(buf)
	stored, err := readBlob(ctx, e.from, blob, buf)
	if err != nil {
		return err
	}
	raw := stored
	if blob.Encoding != Identity {
		room, err := e.raw.get(ctx, blob.RawSize)
		if err != nil {
			return err
		}
		defer e.raw.put(room)
		if raw, err = blob.decodeInto(stored, room); err != nil {
			return err
		}
	}
	e.fetched.Add(blob.StoredSize)
	return e.write(blob, uses, raw, e.progress.Done)
}

// write puts the bytes of a blob into the files that use it.
func (e *extraction) write(blob Blob, uses []use, raw []byte, tell func(files int, bytes int64)) error {
	var err error
	for _, u := range uses {
		data := raw[u.part.Offset : u.part.Offset+u.part.Length]
		if blob.Kind == Chunk {
			err = e.writeAt(u, data)
		} else if got := contracts.DigestOf(data); got != u.file.Digest {
			err = &contracts.Error{
				Code: contracts.CodeIntegrity, Stage: contracts.StagePull,
				Message: fmt.Sprintf("%s has the digest %s, and the bundle's index says %s", contracts.Quote(u.file.Path), got, u.file.Digest),
			}
		} else {
			err = e.create(u.file, data)
		}
		if err != nil {
			return err
		}
		tell(ended(u.left), u.part.Length)
	}
	return nil
}

func (e *extraction) writeAt(u use, data []byte) error {
	if e.root == nil {
		return nil
	}
	out, err := e.root.OpenFile(u.file.Path, os.O_WRONLY, 0)
	if err != nil {
		return unwritable(u.file.Path, err)
	}
	_, err = out.WriteAt(data, u.at)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return unwritable(u.file.Path, err)
	}
	return nil
}

// ReadBlob fetches a blob's stored bytes and holds them against size and digest. What came
// wrong once, as by way of a broken proxy, is fetched anew.
func ReadBlob(ctx context.Context, from Fetcher, blob Blob) ([]byte, error) {
	return readBlob(ctx, from, blob, make([]byte, blob.StoredSize))
}

// readBlob is ReadBlob into a buffer of the blob's size.
func readBlob(ctx context.Context, from Fetcher, blob Blob, stored []byte) ([]byte, error) {
	data, err := readOnce(ctx, from, blob, stored)
	if own, ok := errors.AsType[*contracts.Error](err); ok && own.Code == contracts.CodeIntegrity {
		return readOnce(ctx, from, blob, stored)
	}
	return data, err
}

func readOnce(ctx context.Context, from Fetcher, blob Blob, stored []byte) ([]byte, error) {
	body, err := from.Fetch(ctx, blob)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, stored)
	if err == nil {
		var extra [1]byte
		if m, _ := body.Read(extra[:]); m > 0 {
			n++
		}
	}
	switch {
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return nil, err
	case int64(n) != blob.StoredSize:
		return nil, wrongSize(blob)
	}
	if got := contracts.DigestOf(stored); got != blob.Stored {
		return nil, wrongDigest(blob, got)
	}
	return stored, nil
}

func wrongSize(blob Blob) error {
	return &contracts.Error{
		Code: contracts.CodeIntegrity, Stage: contracts.StagePull,
		Message: fmt.Sprintf("blob %s does not have the %d bytes that the bundle says", blob.Stored, blob.StoredSize), Retryable: true,
	}
}

func wrongDigest(blob Blob, got contracts.Digest) error {
	return &contracts.Error{
		Code: contracts.CodeIntegrity, Stage: contracts.StagePull,
		Message: fmt.Sprintf("blob %s came with the digest %s", blob.Stored, got), Retryable: true,
	}
}
