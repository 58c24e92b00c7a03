package bundle

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	// straightBuffer is how much of a blob that goes straight to its places is in memory.
	straightBuffer = 256 << 10
	// straightUses is to how many places it goes at most: each is an open file.
	straightUses = 4
)

// straight writes a chunk that is stored as it is to its places while it comes, and holds
// it against its digest as it goes. What came wrong is written over by the next try; when
// there is none, the whole extraction has failed.
func (e *extraction) straight(ctx context.Context, blob Blob, uses []use) error {
	err := e.land(ctx, e.from, blob, uses)
	if own, ok := errors.AsType[*contracts.Error](err); ok && own.Code == contracts.CodeIntegrity {
		err = e.land(ctx, e.from, blob, uses)
	}
	if err != nil {
		return err
	}
	e.fetched.Add(blob.StoredSize)
	for _, u := range uses {
		e.progress.Done(ended(u.left), u.part.Length)
	}
	return nil
}

// copied writes a chunk to its places from the directory that has it, and says whether it
// did. If not, what is there now must be written over.
func (e *extraction) copied(ctx context.Context, blob Blob, uses []use) bool {
	if e.land(ctx, &excerpt{e.local.Root, e.places[blob.Raw]}, blob.plain(), uses) != nil {
		return false
	}
	for _, u := range uses {
		e.progress.Skip(ended(u.left), u.part.Length)
	}
	return true
}

// land writes a blob that is stored as it is to its places while it comes.
func (e *extraction) land(ctx context.Context, from Fetcher, blob Blob, uses []use) error {
	places, err := e.open(uses)
	defer closeAll(places)
	if err != nil {
		return err
	}
	buf, err := e.stored.get(ctx, straightBuffer)
	if err != nil {
		return err
	}
	defer e.stored.put(buf)
	err = receive(ctx, from, blob, buf, func(data []byte, at int64) error {
		for i, place := range places {
			if _, err := place.WriteAt(data, uses[i].at+at); err != nil {
				return unwritable(uses[i].file.Path, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, place := range places {
		if err := place.Close(); err != nil {
			return unwritable(uses[i].file.Path, err)
		}
	}
	return nil
}

// open opens the file of each use, in their order; none when nothing is to be written.
func (e *extraction) open(uses []use) ([]*os.File, error) {
	if e.root == nil {
		return nil, nil
	}
	var places []*os.File
	for _, u := range uses {
		f, err := e.root.OpenFile(u.file.Path, os.O_WRONLY, 0)
		if err != nil {
			return places, unwritable(u.file.Path, err)
		}
		places = append(places, f)
	}
	return places, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // again, where all went well
	}
}

// receive fetches a blob, gives its stored bytes to write as they come, and holds them
// against size and digest.
func receive(ctx context.Context, from Fetcher, blob Blob, buf []byte, write func(data []byte, at int64) error) error {
	body, err := from.Fetch(ctx, blob)
	if err != nil {
		return err
	}
	defer body.Close()
	h := sha256.New()
	var at int64
	for at < blob.StoredSize {
		n, err := io.ReadFull(body, buf[:min(int64(len(buf)), blob.StoredSize-at)])
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return wrongSize(blob)
		}
		if err != nil {
			return err
		}
		h.Write(buf[:n])
		if err := write(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	if n, _ := body.Read(buf[:1]); n > 0 {
		return wrongSize(blob)
	}
	if got := contracts.DigestFromSum([sha256.Size]byte(h.Sum(nil))); got != blob.Stored {
		return wrongDigest(blob, got)
	}
	return nil
}
