package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

// What Put reads beyond partSize is sent in parts, some at a time. An object has at most
// maxParts of them, which makes 156 GiB; memory is partSize × (partsAtOnce + 1) for each Put.
const (
	partSize    = 16 << 20
	partsAtOnce = 2
	maxParts    = 10_000
)

// writerKey is the name in an object's metadata of the token of the call that wrote it.
const writerKey = "modelopswriter"

func (s *Store) ready(ctx context.Context, key string) error {
	if err := blobstore.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// Get opens the object. What is read is of one version of it, whole, or ends in an error.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := s.ready(ctx, key); err != nil {
		return nil, err
	}
	failed := func(err error) error { return s.translate("read", key, err) }
	object := &remote.Object{Limits: s.limits, Failed: failed,
		From: func(ctx context.Context, at int64, version string) (rest *remote.Rest, err error) {
			err = s.attempt(ctx, "read", key, func(int) error {
				rest, err = s.get(ctx, key, at, version)
				return err
			})
			return rest, err
		}}
	return object.Open(ctx)
}

func (s *Store) get(ctx context.Context, key string, at int64, version string) (*remote.Rest, error) {
	var opts minio.GetObjectOptions
	if version != "" {
		if err := opts.SetMatchETag(version); err != nil {
			return nil, err
		}
	}
	if at > 0 {
		if err := opts.SetRange(at, 0); err != nil {
			return nil, err
		}
	}
	body, info, _, err := s.client.GetObject(ctx, s.bucket, s.prefix+key, opts)
	if has(err, minio.PreconditionFailed) {
		return nil, remote.Rewritten(key)
	}
	if err != nil {
		return nil, err
	}
	if info.ETag == "" || info.Size < 0 {
		_ = body.Close()
		return nil, errors.New("an answer without length or ETag")
	}
	return &remote.Rest{Body: body, Version: info.ETag, Size: info.Size}, nil
}

// Create writes an object that is not there yet.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	writer := rand.Text()
	opts := options(writer)
	opts.SetMatchETagExcept("*")
	err := s.send(ctx, key, bytes.NewReader(data), opts)
	if errors.Is(err, errCondition) {
		return s.whose(ctx, key, writer, blobstore.ErrExists)
	}
	return err
}

// Put writes the object, a part at a time when it is large.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	writer := rand.Text()
	whole, known := r.(*bytes.Reader) // is sent as it is
	if !known || whole.Len() > partSize {
		first, err := nextPart(r)
		if err != nil {
			return err // of the caller's own reader
		}
		if len(first) == partSize {
			return s.putParts(ctx, key, writer, first, r)
		}
		whole = bytes.NewReader(first)
	}
	return s.send(ctx, key, whole, options(writer))
}

func options(writer string) minio.PutObjectOptions {
	return minio.PutObjectOptions{ContentType: "application/octet-stream", UserMetadata: map[string]string{writerKey: writer}}
}

// send writes an object in one request.
func (s *Store) send(ctx context.Context, key string, data *bytes.Reader, opts minio.PutObjectOptions) error {
	size, start := int64(data.Len()), data.Size()-int64(data.Len())
	sum, err := digest(data, start)
	if err != nil {
		return err
	}
	return s.attempt(ctx, "write", key, func(int) error {
		_, err := s.client.PutObject(ctx, s.bucket, s.prefix+key, io.NewSectionReader(data, start, size), size, "", sum, opts)
		return err
	})
}

func digest(data *bytes.Reader, start int64) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(data, start, data.Size()-start))
	return hex.EncodeToString(h.Sum(nil)), err
}

// nextPart is the next bytes of r: fewer than partSize are the last ones.
func nextPart(r io.Reader) ([]byte, error) {
	var buffer bytes.Buffer
	_, err := io.Copy(&buffer, io.LimitReader(r, partSize))
	return buffer.Bytes(), err
}

// putParts sends an object of which first is the beginning. Nothing of it can be seen before
// the last request, and what was sent is given up when that is not reached.
func (s *Store) putParts(ctx context.Context, key, writer string, first []byte, r io.Reader) (err error) {
	name := s.prefix + key
	var upload string
	if err := s.attempt(ctx, "write", key, func(int) (err error) {
		upload, err = s.client.NewMultipartUpload(ctx, s.bucket, name, options(writer))
		return err
	}); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.abort(ctx, name, upload)
		}
	}()
	parts, err := s.sendParts(ctx, key, upload, first, r)
	if err != nil {
		return err
	}
	return s.attempt(ctx, "write", key, func(try int) error {
		_, err := s.client.CompleteMultipartUpload(ctx, s.bucket, name, upload, parts, options(writer))
		if try > 1 && has(err, "NoSuchUpload") { // an earlier try did it, and its answer got lost
			return nil
		}
		return err
	})
}

func (s *Store) sendParts(ctx context.Context, key, upload string, part []byte, r io.Reader) ([]minio.CompletePart, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	var parts []*minio.CompletePart
	var err error
	for len(part) > 0 && err == nil && groupCtx.Err() == nil {
		if len(parts) == maxParts {
			err = &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageStore,
				Message: "storage: cannot write " + contracts.Quote(key) + ": it is larger than 156 GiB"}
			break
		}
		done, data := &minio.CompletePart{PartNumber: len(parts) + 1}, part
		parts = append(parts, done)
		group.Go(func() (err error) {
			done.ETag, err = s.sendPart(groupCtx, key, upload, done.PartNumber, data)
			return err
		})
		if len(data) < partSize {
			break
		}
		part, err = nextPart(r)
	}
	if sent := group.Wait(); err == nil {
		err = sent
	}
	list := make([]minio.CompletePart, len(parts))
	for i, part := range parts {
		list[i] = *part
	}
	return list, err
}

func (s *Store) sendPart(ctx context.Context, key, upload string, number int, data []byte) (etag string, err error) {
	sum := sha256.Sum256(data)
	err = s.attempt(ctx, "write", key, func(int) error {
		part, err := s.client.PutObjectPart(ctx, s.bucket, s.prefix+key, upload, number, bytes.NewReader(data), int64(len(data)),
			minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:])})
		etag = part.ETag
		return err
	})
	return etag, err
}

// abortTimeout bounds how long giving up an upload may take: the bucket's own rules remove
// what stays.
const abortTimeout = 10 * time.Second

func (s *Store) abort(ctx context.Context, name, upload string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = s.client.AbortMultipartUpload(ctx, s.bucket, name, upload)
}

// whose is nil when the object is this writer's, and others when it is somebody else's.
func (s *Store) whose(ctx context.Context, key, writer string, others error) error {
	var info minio.ObjectInfo
	err := s.attempt(ctx, "write", key, func(int) (err error) {
		info, err = s.client.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
		return err
	})
	if errors.Is(err, blobstore.ErrNotFound) {
		return (&contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageStore, Retryable: true,
			Message: "storage: cannot write " + contracts.Quote(key) + ": it was written and deleted by others meanwhile", Hint: "try again"}).Because(others)
	}
	if err != nil {
		return err
	}
	for name, value := range info.UserMetadata {
		if strings.EqualFold(name, writerKey) && value == writer {
			return nil
		}
	}
	return others
}

// Delete removes the object.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	err := s.attempt(ctx, "delete", key, func(int) error {
		return s.client.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	})
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil
	}
	return err
}

// List asks for a page of objects when the one before has been taken.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blobstore.Entry, error] {
	return func(yield func(blobstore.Entry, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(blobstore.Entry{}, err)
			return
		}
		last, ended, moved := "", false, time.Now()
		err := s.attemptSince(ctx, &moved, "list", prefix, func(int) error {
			opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}
			if last != "" { // the tries before this came so far
				opts.StartAfter = s.prefix + last
			}
			for info := range s.client.ListObjectsIter(ctx, s.bucket, opts) {
				if info.Err != nil {
					return info.Err
				}
				entry, ok := s.entry(info)
				if !ok {
					continue
				}
				if entry.Key <= last {
					return s.disorder()
				}
				last = entry.Key
				if ended = !yield(entry, nil); ended {
					return nil
				}
				moved = time.Now()
			}
			return nil
		})
		if err != nil && !ended {
			yield(blobstore.Entry{}, err)
		}
	}
}

// entry is false for what is no object of ours.
func (s *Store) entry(info minio.ObjectInfo) (blobstore.Entry, bool) {
	key, ok := strings.CutPrefix(info.Key, s.prefix)
	return blobstore.Entry{Key: key, Size: info.Size, Modified: info.LastModified}, ok && blobstore.CheckKey(key) == nil
}

// disorder is the error for a bucket that is not sorted, as Amazon's directory buckets are.
func (s *Store) disorder() *contracts.Error {
	return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageStore,
		Message: "storage: bucket " + contracts.Quote(s.bucket) + " does not list objects in the order of their names",
		Hint:    "use a general purpose bucket"}
}

// attempt does something until it succeeds, fails for good, or has taken too long. op gets
// the number of the try, from 1.
func (s *Store) attempt(ctx context.Context, verb, what string, op func(try int) error) error {
	began := time.Now()
	return s.attemptSince(ctx, &began, verb, what, op)
}

// attemptSince is attempt for what may come further with each try: began is when it last
// did.
func (s *Store) attemptSince(ctx context.Context, began *time.Time, verb, what string, op func(try int) error) error {
	for try := 1; ; try++ {
		err := op(try)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		limit := s.patience(err)
		pause := s.limits.Backoff(try)
		if limit == 0 || time.Since(*began)+pause > limit {
			return s.translate(verb, what, err)
		}
		if err := remote.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// patience is how long what failed like this is tried again.
func (s *Store) patience(err error) time.Duration {
	if own, ok := errors.AsType[*contracts.Error](err); ok {
		if own.Retryable && own.Code != contracts.CodeConflict {
			return s.limits.Busy
		}
		return 0
	}
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		switch {
		case remote.Passing(answer.StatusCode), answer.StatusCode == http.StatusConflict && isConcurrent(answer.Code),
			answer.Code == "SlowDown", answer.Code == "InternalError", answer.Code == "RequestTimeout":
			return s.limits.Busy
		case answer.Code == "ExistingObjectIsDirectory": // of gateways to a file system: a delete removed the directory under the write
			return s.limits.Silence
		}
		return 0
	}
	switch {
	case errors.Is(err, remote.ErrStalled): // a server is there
		return s.limits.Busy
	case remote.IsCertificate(err):
		return 0
	}
	return s.limits.Silence
}

// isConcurrent says whether a conflict is with a request that is still under way.
func isConcurrent(code string) bool {
	return code == "ConditionalRequestConflict" || code == "OperationAborted"
}
