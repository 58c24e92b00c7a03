package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// watchdog gives up a connection on which nothing moves.
type watchdog struct {
	next     http.RoundTripper
	patience time.Duration
}

// ErrStalled is why a connection was given up.
var ErrStalled = errors.New("nothing moved on the connection for too long")

// RoundTrip sends the request.
func (w *watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(w.patience, func() { cancel(ErrStalled) })
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &moving{ReadCloser: req.Body, moved: func() { timer.Reset(w.patience) }}
		req.GetBody = nil
	}
	response, err := w.next.RoundTrip(req)
	timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrStalled) {
			err = ErrStalled
		}
		cancel(nil)
		return nil, err
	}
	response.Body = &watched{ReadCloser: response.Body, ctx: ctx, cancel: cancel, timer: timer, patience: w.patience}
	return response, nil
}

// moving tells of each read of a request's body.
type moving struct {
	io.ReadCloser
	moved func()
}

func (m *moving) Read(p []byte) (int, error) {
	m.moved()
	return m.ReadCloser.Read(p)
}

// watched is a response's body, whose reads have to bring something in time.
type watched struct {
	io.ReadCloser
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	patience time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.patience)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	if err != nil && errors.Is(context.Cause(w.ctx), ErrStalled) {
		err = ErrStalled
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
