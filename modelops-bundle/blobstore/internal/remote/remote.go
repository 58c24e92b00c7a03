// Package remote is what the stores on a network have in common: how long they wait, the
// client that notices when nothing moves, and reading on after a connection broke.
package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Limits bound how long an operation waits for a service in trouble.
type Limits struct {
	Busy    time.Duration // while it answers that it is busy or broken, or nothing moves; 5 minutes
	Silence time.Duration // while it cannot be reached; 1 minute
	Stall   time.Duration // for the next byte of a connection; 30 seconds
	Pause   time.Duration // before the second try, the mean; 500 milliseconds
}

// WithDefaults has the usual limits in the place of zero values.
func (l Limits) WithDefaults() Limits {
	for _, limit := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&l.Busy, 5 * time.Minute}, {&l.Silence, time.Minute}, {&l.Stall, 30 * time.Second}, {&l.Pause, 500 * time.Millisecond}} {
		if *limit.value == 0 {
			*limit.value = limit.usual
		}
	}
	return l
}

// maxPause is the longest pause of our own choice.
const maxPause = 30 * time.Second

// Backoff is a random pause before the next try, of a mean that doubles with each.
func (l Limits) Backoff(try int) time.Duration {
	longest := min(maxPause, 2*l.Pause<<min(try-1, 16))
	return rand.N(max(longest, 1))
}

// Sleep waits, or ends with the context and is its error.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Passing says whether an answer of this status means that a later one may be another.
func Passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// NewTransport is a transport that gives up connections on which nothing moves for stall.
func NewTransport(stall time.Duration) http.RoundTripper {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	transport.MaxIdleConnsPerHost = 16
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return &watchdog{next: transport, patience: stall}
}

// Reason is why there was no answer. The texts of net/http have the request's address in
// them, and with it a signature: that is left out.
func Reason(err error) string {
	if errors.Is(err, ErrStalled) {
		return ErrStalled.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name " + contracts.Quote(dns.Name) + " does not resolve"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return contracts.Quote(op.Err.Error())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return contracts.Quote(FirstLine(err.Error()))
}

// FirstLine is a text's first line.
func FirstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// Unreachable is the error for a service that did not answer. subject says what failed and
// ends in ": ".
func Unreachable(subject, host string, err error) *contracts.Error {
	e := &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageStore, Retryable: true,
		Message: subject + host + ": " + Reason(err), Hint: "check the network, and the endpoint of the storage"}
	if errors.Is(err, context.DeadlineExceeded) {
		_ = e.Because(context.DeadlineExceeded)
	}
	if IsCertificate(err) {
		e.Retryable = false
		e.Hint = "check the address; behind a proxy that opens TLS, give its authority to the system or in SSL_CERT_FILE"
	}
	return e
}

// IsCertificate says whether the other side is not who it should be, which no second try
// changes.
func IsCertificate(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	return certificate || name || errors.Is(err, http.ErrSchemeMismatch)
}
