package bundleoci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// transfer is a blob's stored bytes as they come. A connection that breaks, ends too early
// or falls silent is replaced by one that goes on where it was, or begins again and is
// skipped to there where the registry has no ranges. Whoever reads holds the bytes against
// the blob's digest: what was put together wrongly is noticed.
type transfer struct {
	ctx        context.Context
	repository *Repository
	blob       bundle.Blob

	at     int64 // bytes that were read
	body   io.ReadCloser
	cancel context.CancelCauseFunc
	dog    *time.Timer
	tries  int       // since the last byte came
	since  time.Time // when the first of them failed
}

// Fetch gives a blob's stored bytes, as bundle.Fetcher asks.
func (r blobs) Fetch(ctx context.Context, b bundle.Blob) (io.ReadCloser, error) {
	d := &transfer{ctx: ctx, repository: r.Repository, blob: b}
	if err := d.open(); err != nil {
		return nil, d.translate(err)
	}
	return d, nil
}

// Read reads on, over as many connections as it takes.
func (d *transfer) Read(p []byte) (int, error) {
	for {
		if d.at >= d.blob.StoredSize { // one byte more is looked for, and never waited for again
			return d.end(p)
		}
		n, err := d.read(p)
		if n > 0 {
			d.at += int64(n)
			d.tries = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if err := d.again(err); err != nil {
			return 0, d.translate(err)
		}
	}
}

// end is the end of a blob that has all its bytes.
func (d *transfer) end(p []byte) (int, error) {
	if d.body == nil {
		return 0, io.EOF
	}
	n, err := d.read(p)
	if n == 0 && err != nil {
		err = io.EOF
	}
	return n, err
}

// read reads from the connection that there is, and opens one if there is none.
func (d *transfer) read(p []byte) (int, error) {
	if d.body == nil {
		if err := d.open(); err != nil {
			return 0, err
		}
	}
	d.dog.Reset(d.repository.patience.stall)
	n, err := d.body.Read(p)
	d.dog.Stop()
	if err == io.EOF && d.at+int64(n) < d.blob.StoredSize {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// again closes the connection, and waits before the next. It returns err when patience is
// at its end.
func (d *transfer) again(err error) error {
	d.Close()
	if d.ctx.Err() != nil {
		return d.ctx.Err()
	}
	if !passing(err) {
		return err
	}
	if d.tries == 0 {
		d.since = time.Now()
	}
	pause := d.repository.patience.pause(d.tries, 0)
	d.tries++
	if time.Since(d.since)+pause > d.repository.patience.total {
		return err
	}
	return sleep(d.ctx, pause)
}

// open asks for the blob from where the download is.
func (d *transfer) open() error {
	response, err := d.request()
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.at > 0 || response.StatusCode == http.StatusPartialContent && !d.continues(response) {
		d.drop(response)
		if response, err = d.requestFrom(0); err != nil {
			return err
		}
	}
	switch {
	case response.StatusCode == http.StatusPartialContent && d.continues(response):
	case response.StatusCode == http.StatusOK:
		if size := response.ContentLength; size >= 0 && size != d.blob.StoredSize {
			d.drop(response)
			return fmt.Errorf("it has %d bytes instead of %d", size, d.blob.StoredSize)
		}
		if err := d.skip(response.Body); err != nil {
			d.drop(response)
			return err
		}
	default:
		defer d.drop(response)
		return refusal(response)
	}
	d.body = response.Body
	return nil
}

// continues says whether a part of the blob is the one that was asked for.
func (d *transfer) continues(response *http.Response) bool {
	return response.Header.Get("Content-Range") == fmt.Sprintf("bytes %d-%d/%d", d.at, d.blob.StoredSize-1, d.blob.StoredSize)
}

// skip reads what is here already.
func (d *transfer) skip(body io.Reader) error {
	for rest := d.at; rest > 0; {
		d.dog.Reset(d.repository.patience.stall)
		n, err := io.CopyN(io.Discard, body, min(rest, 1<<20))
		rest -= n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *transfer) drop(response *http.Response) {
	response.Body.Close()
	d.cancel(nil)
}

func (d *transfer) request() (*http.Response, error) { return d.requestFrom(d.at) }

// requestFrom sends a request of its own to the registry's address: where a redirect led
// the last time may no longer be allowed.
func (d *transfer) requestFrom(at int64) (*http.Response, error) {
	r := d.repository
	ctx, cancel := context.WithCancelCause(auth.AppendRepositoryScope(d.ctx, r.remote.Reference, auth.ActionPull))
	d.cancel = cancel
	d.dog = time.AfterFunc(time.Hour, func() { cancel(errStalled) })
	d.dog.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address("blobs", string(d.blob.Stored)), nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	response, err := r.remote.Client.Do(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	response.Body = &stalling{response.Body, ctx}
	return response, nil
}

// stalling calls a read that was ended for its silence by its name.
type stalling struct {
	io.ReadCloser
	ctx context.Context
}

func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF && errors.Is(context.Cause(s.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

// Close ends the download.
func (d *transfer) Close() error {
	if d.body == nil {
		return nil
	}
	d.dog.Stop()
	err := d.body.Close()
	d.cancel(nil)
	d.body = nil
	return err
}

func (d *transfer) translate(err error) error {
	return d.repository.translate(err, contracts.StagePull, "blob "+string(d.blob.Stored)+" of "+d.repository.Name)
}
