package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
)

// proxy passes requests on to the server, unless a fault takes one.
type proxy struct {
	*httptest.Server
	next http.Handler

	mu     sync.Mutex
	faults []fault // one for each request, in their order; nil passes it on
}

// fault answers a request in the place of the server, or with its help.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

func newProxy(t *testing.T) *proxy {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{next: httputil.NewSingleHostReverseProxy(target)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	var f fault
	if len(p.faults) > 0 {
		f, p.faults = p.faults[0], p.faults[1:]
	}
	p.mu.Unlock()
	if f == nil {
		p.next.ServeHTTP(w, r)
		return
	}
	f(w, r, p.next)
}

// suffer is what happens to the next requests.
func (p *proxy) suffer(faults ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
}

// left is how many faults did not happen.
func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.faults)
}

func (p *proxy) through(storage *contracts.Storage) *contracts.Storage {
	other := *storage
	other.Endpoint = p.URL
	return &other
}

func answer(status int, kind, body string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// refusal is an answer of the service. Its text is not for messages.
func refusal(status int, code string) fault {
	return answer(status, "application/xml", "<Error><Code>"+code+"</Code><Message>canary-of-the-service</Message></Error>")
}

// lost has the server do it, and drops the answer.
func lost(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// dropped drops the request.
func dropped(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// cut breaks the connection after n bytes of the answer's body; with stall it stays open
// and nothing more comes.
func cut(n int, stall bool) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		recorder := httptest.NewRecorder()
		next.ServeHTTP(recorder, r)
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(recorder.Body.Bytes()[:n])
		_ = http.NewResponseController(w).Flush()
		if stall {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
}

// A Create whose answer got lost has made the object, and says so; one that meets another's
// says that.
func TestCreateAnswerLost(t *testing.T) {
	p, storage := newProxy(t), newBucket(t)
	s := open(t, p.through(storage), s3.Options{Limits: hasty})
	p.suffer(lost)
	if err := s.Create(t.Context(), "k", []byte("mine")); err != nil {
		t.Errorf("Create = %v", err)
	}
	p.suffer(lost, dropped)
	if err := s.Create(t.Context(), "k", []byte("theirs")); !errors.Is(err, blobstore.ErrExists) {
		t.Errorf("Create = %v, want ErrExists", err)
	}
	if p.left() > 0 {
		t.Error("a fault did not happen")
	}
	if got, err := blobstore.Read(t.Context(), s, "k", 100); err != nil || string(got) != "mine" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Trouble that passes is waited out by every operation, a large Put's parts and end included.
func TestPassingTrouble(t *testing.T) {
	p, storage := newProxy(t), newBucket(t)
	s := open(t, p.through(storage), s3.Options{Limits: hasty})
	trouble := []fault{refusal(503, "SlowDown"), dropped, refusal(500, "InternalError"), answer(502, "text/html", "<h1>"), refusal(409, "ConditionalRequestConflict")}
	large := bytes.Repeat([]byte("0123456789abcdef"), 20<<16) // 20 MiB
	for name, operation := range map[string]func() error{
		"create": func() error { return s.Create(t.Context(), "created", []byte("x")) },
		"put":    func() error { return s.Put(t.Context(), "put", strings.NewReader("x")) },
		"large":  func() error { return s.Put(t.Context(), "large", io.MultiReader(bytes.NewReader(large))) },
		"delete": func() error { return s.Delete(t.Context(), "gone") },
		"list": func() error {
			for _, err := range s.List(t.Context(), "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		p.suffer(trouble...)
		if err := operation(); err != nil || p.left() > 0 {
			t.Errorf("%s = %v, with %d faults to come", name, err, p.left())
		}
	}
	p.suffer(nil, nil, nil, lost) // the request that makes the object of its parts
	if err := s.Put(t.Context(), "large", io.MultiReader(bytes.NewReader(large))); err != nil {
		t.Errorf("an end whose answer got lost: %v", err)
	}
	if got, err := blobstore.Read(t.Context(), s, "large", 1<<30); err != nil || !bytes.Equal(got, large) {
		t.Errorf("the object has %d bytes, %v", len(got), err)
	}
}

// A read goes on where it broke off, in the same version, or ends in an error.
func TestReadGoesOn(t *testing.T) {
	p, storage := newProxy(t), newBucket(t)
	s := open(t, p.through(storage), s3.Options{Limits: hasty})
	content := bytes.Repeat([]byte("0123456789"), 1000)
	if err := s.Put(t.Context(), "k", bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	p.suffer(cut(10, false), cut(5000, false), refusal(503, "SlowDown"), cut(20, true))
	if got, err := blobstore.Read(t.Context(), s, "k", 1<<20); err != nil || !bytes.Equal(got, content) || p.left() > 0 {
		t.Errorf("got %d bytes, %v, with %d faults to come", len(got), err, p.left())
	}
	p.suffer(cut(10, false), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := open(t, storage, s3.Options{}).Put(t.Context(), "k", strings.NewReader("another")); err != nil {
			t.Error(err)
		}
		next.ServeHTTP(w, r)
	})
	if got, err := blobstore.Read(t.Context(), s, "k", 1<<20); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("got %d bytes of an object that was written anew, %v", len(got), err)
	}
}

// What is no storage is not taken for one, and refusals say what to do; no text of the
// service, key or address with a signature is in them.
func TestRefusals(t *testing.T) {
	p, storage := newProxy(t), newBucket(t)
	s := open(t, p.through(storage), s3.Options{Limits: s3.Limits{Busy: 50 * time.Millisecond, Silence: 50 * time.Millisecond, Pause: time.Millisecond}})
	for name, c := range map[string]struct {
		fault fault
		code  contracts.Code
		says  string
	}{
		"page":       {answer(200, "text/html", "<h1>log in</h1>"), contracts.CodeUnavailable, "no S3 storage"},
		"other 404":  {answer(404, "text/plain", "404 page not found"), contracts.CodeUnavailable, "no S3 storage"},
		"proxy":      {answer(407, "text/html", ""), contracts.CodeUnavailable, "HTTPS_PROXY"},
		"redirect":   {refusal(301, "PermanentRedirect"), contracts.CodeInvalidEnvironment, "region"},
		"forbidden":  {refusal(403, "AccessDenied"), contracts.CodeDenied, "s3:GetObject"},
		"bad key":    {refusal(403, "SignatureDoesNotMatch"), contracts.CodeUnauthenticated, "secret_key"},
		"clock":      {refusal(403, "RequestTimeTooSkewed"), contracts.CodeUnauthenticated, "clock"},
		"busy":       {refusal(503, "SlowDown"), contracts.CodeUnavailable, "busy"},
		"no bucket":  {refusal(404, "NoSuchBucket"), contracts.CodeNotFound, "no bucket"},
		"unforeseen": {refusal(418, "Teapot"), contracts.CodeFailed, "Teapot"},
	} {
		var faults []fault
		for range 200 {
			faults = append(faults, c.fault)
		}
		p.suffer(faults...)
		_, err := s.Get(t.Context(), "k")
		e := contracts.AsError(err)
		if e == nil || e.Code != c.code || !strings.Contains(e.Message+e.Hint, c.says) || errors.Is(err, blobstore.ErrNotFound) {
			t.Errorf("%s: %+v, want code %q and %q", name, e, c.code, c.says)
			continue
		}
		for _, secret := range []string{storage.SecretKey.Reveal(), storage.AccessKey, "canary-of-the-service", "Signature="} {
			if strings.Contains(e.Message+e.Hint, secret) {
				t.Errorf("%s: %q in %q", name, secret, e.Message+e.Hint)
			}
		}
	}
}

// A deadline ends the waiting.
func TestDeadline(t *testing.T) {
	p := newProxy(t)
	p.next = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := open(t, p.through(server.Bucket("bucket")), s3.Options{}).Put(ctx, "k", strings.NewReader("x"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put = %v", err)
	}
}
