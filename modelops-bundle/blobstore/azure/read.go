package azure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/modelops-suite/modelops-go/contracts"
)

// reader reads one version of a blob to its end, over as many connections as that takes.
type reader struct {
	ctx   context.Context
	store *Store
	key   string

	body     io.ReadCloser // nil between two connections
	etag     *azcore.ETag
	size, at int64
	tries    int       // connections since the last byte
	moved    time.Time // when the last byte came
}

// open asks for what is not read yet.
func (r *reader) open() error {
	opts := &blob.DownloadStreamOptions{}
	if r.etag != nil {
		opts.Range.Offset = r.at
		opts.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: r.etag}}
	}
	answer, err := r.store.blob(r.key).DownloadStream(r.ctx, opts)
	if bloberror.HasCode(err, bloberror.ConditionNotMet) {
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageStore, Retryable: true,
			Message: "storage: cannot read " + contracts.Quote(r.key) + ": it was written anew while it was read", Hint: "try again"}
	}
	if err != nil {
		return r.store.translate("read", r.key, err)
	}
	switch {
	case answer.ContentLength == nil || answer.ETag == nil:
		err = errors.New("an answer without length or ETag")
	case r.etag == nil:
		r.etag, r.size, r.moved = answer.ETag, *answer.ContentLength, time.Now()
	case *answer.ETag != *r.etag || *answer.ContentLength != r.size-r.at:
		err = fmt.Errorf("asked for the bytes from %d to %d, and got %d", r.at, r.size, *answer.ContentLength)
	}
	if err != nil {
		_ = answer.Body.Close()
		return r.store.translate("read", r.key, err)
	}
	r.body = answer.Body
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.at == r.size {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.size-r.at)])
		if n > 0 {
			r.at, r.tries, r.moved = r.at+int64(n), 0, time.Now()
		}
		if err != nil && r.at < r.size {
			_ = r.body.Close()
			r.body = nil
		}
		if n > 0 {
			return n, nil
		}
		if err != nil {
			if err := r.again(err); err != nil {
				return 0, err
			}
		}
	}
}

// again waits before the next connection; it is an error when there is to be none.
func (r *reader) again(cause error) error {
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if cause == io.EOF {
		cause = io.ErrUnexpectedEOF
	}
	if time.Since(r.moved) > r.store.limits.Busy {
		return r.store.translate("read", r.key, cause)
	}
	r.tries++
	if err := sleep(r.ctx, backoff(r.store.limits.Pause, r.tries)); err != nil {
		return err
	}
	return nil
}

// Close gives the connection up.
func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
