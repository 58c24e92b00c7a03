package remote

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Rest is an answer: an object's bytes from some offset to its end.
type Rest struct {
	Body    io.ReadCloser
	Version string // the ETag
	Size    int64  // of the body, in bytes
}

// Object reads one version of an object to its end, over as many connections as that takes.
type Object struct {
	Limits Limits
	// From opens the object at an offset, in that version of it, or in any for "".
	From func(ctx context.Context, at int64, version string) (*Rest, error)
	// Failed is the error of a read in the store's terms.
	Failed func(err error) error
}

// Open opens the object; the caller closes it. The reads end with ctx.
func (o *Object) Open(ctx context.Context) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, object: o}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// Rewritten is the error for an object that has another version than it had.
func Rewritten(key string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageStore, Retryable: true,
		Message: "storage: cannot read " + contracts.Quote(key) + ": it was written anew while it was read", Hint: "try again"}
}

type reader struct {
	ctx    context.Context
	object *Object

	body     io.ReadCloser // nil between two connections
	version  string
	size, at int64
	tries    int       // connections since the last byte
	moved    time.Time // when the last byte came
}

// open asks for what is not read yet.
func (r *reader) open() error {
	rest, err := r.object.From(r.ctx, r.at, r.version)
	if err != nil {
		return err
	}
	switch {
	case r.version == "":
		r.version, r.size, r.moved = rest.Version, rest.Size, time.Now()
	case rest.Version != r.version || rest.Size != r.size-r.at:
		_ = rest.Body.Close()
		return r.object.Failed(fmt.Errorf("asked for the bytes from %d to %d, and got %d", r.at, r.size, rest.Size))
	}
	r.body = rest.Body
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
	if time.Since(r.moved) > r.object.Limits.Busy {
		return r.object.Failed(cause)
	}
	r.tries++
	return Sleep(r.ctx, r.object.Limits.Backoff(r.tries))
}

// Close gives the connection up.
func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
