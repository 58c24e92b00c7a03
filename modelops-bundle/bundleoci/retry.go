package bundleoci

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// patience is the one policy by which requests are tried again.
type patience struct {
	// total is how long a request is tried while nothing comes of it.
	total time.Duration
	// wait is how long a registry that says when to come back is waited for.
	wait time.Duration
	// absent is total for a registry that is not there: nobody listens, or has the name.
	absent time.Duration
	// stall is how long a connection may be silent in the middle of a body.
	stall time.Duration
	// handshake is how long a new connection may take until it is encrypted.
	handshake time.Duration
	// first and most bound the pauses between tries.
	first, most time.Duration
}

// newPatience is the policy for whoever waits this long.
func newPatience(total time.Duration) patience {
	if total == 0 {
		total = defaultPatience
	}
	return patience{
		total: total, wait: 15 * total, absent: total / 8, stall: total / 4, handshake: min(10*time.Second, total/4),
		first: min(500*time.Millisecond, total/40), most: total / 2,
	}
}

// defaultPatience has a request tried for a minute, and a throttled one for a quarter of
// an hour.
const defaultPatience = time.Minute

// pause is how long to wait before the next try: a random part of a time that doubles, and
// never less than what the registry asks for.
func (p patience) pause(try int, asked time.Duration) time.Duration {
	limit := min(p.first<<min(try, 16), p.most)
	return asked + p.first/10 + rand.N(limit)
}

// retrier sends a request again when it failed in a way that may pass. Requests share what
// the registry says about when to come back: one that is throttled speaks for all.
type retrier struct {
	next     http.RoundTripper
	patience patience

	mu    sync.Mutex
	quiet time.Time // nothing is sent before
}

// RoundTrip sends the request until it is answered, or patience ends. The answer is the
// last one, whatever it is.
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if body, ok := req.Body.(replayed); ok && req.GetBody == nil {
		req = req.Clone(ctx)
		req.GetBody = body.replay
	}
	start := time.Now()
	for try := 0; ; try++ {
		if err := r.await(ctx); err != nil {
			return nil, err
		}
		response, err := r.once(req)
		if !again(req, response, err) {
			return response, err
		}
		asked, told := retryAfter(response, time.Now())
		limit := r.patience.total
		switch {
		case told:
			limit = r.patience.wait
		case absent(err):
			limit = r.patience.absent
		}
		pause := r.patience.pause(try, asked)
		if time.Since(start)+pause > limit {
			return response, err
		}
		if req.Body != nil && req.Body != http.NoBody {
			body, bodyErr := req.GetBody()
			if bodyErr != nil {
				return response, err
			}
			req = req.Clone(ctx)
			req.Body = body
		}
		if response != nil {
			_, _ = io.CopyN(io.Discard, response.Body, maxDrain)
			response.Body.Close()
		}
		if told {
			r.hold(time.Now().Add(asked))
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// replayed is a body of a kind that net/http does not know, and that can be sent again.
type replayed interface {
	replay() (io.ReadCloser, error)
}

// maxDrain is how much of an answer is read so that its connection can be used again.
const maxDrain = 64 << 10

// once sends the request, and gives up when its body is not taken.
func (r *retrier) once(req *http.Request) (*http.Response, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return r.next.RoundTrip(req)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	dog := time.AfterFunc(r.patience.stall, func() { cancel(errStalled) })
	sent := req.Clone(ctx)
	sent.Body = &watchedBody{req.Body, dog, r.patience.stall}
	response, err := r.next.RoundTrip(sent)
	dog.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		cancel(nil)
		return response, err
	}
	response.Body = &cancelling{response.Body, func() { cancel(nil) }}
	return response, nil
}

// errStalled is that a connection was silent for too long.
var errStalled error = stalled{}

type stalled struct{}

func (stalled) Error() string   { return "the connection stalled" }
func (stalled) Timeout() bool   { return true }
func (stalled) Temporary() bool { return true }

// watchedBody puts the end off each time that some of it is taken. When all is, it is the
// answer that is waited for, which has a limit of its own.
type watchedBody struct {
	io.ReadCloser
	dog   *time.Timer
	stall time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.dog.Stop()
	} else {
		b.dog.Reset(b.stall)
	}
	return n, err
}

// cancelling ends its request's context with the body.
type cancelling struct {
	io.ReadCloser
	cancel func()
}

func (b *cancelling) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// await is until the registry may be asked.
func (r *retrier) await(ctx context.Context) error {
	r.mu.Lock()
	rest := time.Until(r.quiet)
	r.mu.Unlock()
	if rest <= 0 {
		return nil
	}
	return sleep(ctx, rest+rand.N(r.patience.first))
}

func (r *retrier) hold(until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.After(r.quiet) {
		r.quiet = until
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// again says whether a failure may pass.
func again(req *http.Request, response *http.Response, err error) bool {
	if req.Context().Err() != nil || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	// What became of an upload's session is not known: whoever uploads looks, and begins anew.
	if req.Method == http.MethodPut && req.URL.Query().Has("digest") {
		return err == nil && (response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable)
	}
	if err == nil {
		switch response.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return passing(err)
}

// passing says whether an error is of the network's passing kind, rather than one of who
// is asked or what for.
func passing(err error) bool {
	if _, own := errors.AsType[*contracts.Error](err); own {
		return false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	if record || authority || certificate {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound || dns.IsTemporary || dns.IsTimeout
	}
	_, network := errors.AsType[net.Error](err)
	return network || ofHTTP2(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// ofHTTP2 says whether an error is the end of a connection or a stream of HTTP/2, as when a
// load balancer is drained. net/http keeps the types of these errors to itself.
func ofHTTP2(err error) bool {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	text := err.Error()
	return strings.HasPrefix(text, "http2: ") || strings.HasPrefix(text, "stream error: ") || strings.HasPrefix(text, "connection error: ")
}

// absent says whether there is nobody to answer.
func absent(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound || errors.Is(err, syscall.ECONNREFUSED)
}

// retryAfter is how long the registry asks to be left alone, in seconds or as a date, if it
// says so in an answer that means it. What makes no sense is not there.
func retryAfter(response *http.Response, now time.Time) (time.Duration, bool) {
	if response == nil {
		return 0, false
	}
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil && date.After(now) {
		return date.Sub(now), true
	}
	return 0, false
}
