package azure

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/modelops-suite/modelops-go/contracts"
)

// newTransport is a client that follows no redirect: the storage makes none, and the
// request carries its signature.
func newTransport(stall time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	transport.MaxIdleConnsPerHost = 16
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return &http.Client{
		Transport:     &watchdog{next: transport, patience: stall},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answers refuses answers that are not the storage's: those of a proxy, or of a web page.
type answers struct{ host string }

// Do sends the request.
func (a *answers) Do(req *policy.Request) (*http.Response, error) {
	response, err := req.Next()
	if err != nil || response.Header.Get("x-ms-request-id") != "" || passing(response) {
		return response, err
	}
	_ = response.Body.Close()
	e := &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageStore,
		Message: "storage: what answers for " + contracts.Quote(a.host) + " is no Azure storage: " + contracts.Quote(response.Status+" "+response.Header.Get("Content-Type")),
		Hint:    "check the endpoint; a proxy or a login page may be in between: see HTTPS_PROXY and NO_PROXY"}
	if response.StatusCode == http.StatusProxyAuthRequired {
		e.Message = "storage: the proxy on the way to " + contracts.Quote(a.host) + " asks for a login"
		e.Hint = "give it in HTTPS_PROXY, or name the host in NO_PROXY"
	}
	return nil, e
}

// watchdog gives up a connection on which nothing moves.
type watchdog struct {
	next     http.RoundTripper
	patience time.Duration
}

var errStalled = errors.New("nothing moved on the connection for too long")

// RoundTrip sends the request.
func (w *watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(w.patience, func() { cancel(errStalled) })
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &moving{ReadCloser: req.Body, moved: func() { timer.Reset(w.patience) }}
		req.GetBody = nil
	}
	response, err := w.next.RoundTrip(req)
	timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
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
	if err != nil && errors.Is(context.Cause(w.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
