package bundleoci_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// fault answers a request in the registry's place, or says that it does not. n counts the
// requests of the same method and path, from 0; serve is what the registry answers.
type fault func(w http.ResponseWriter, req *http.Request, n int, serve http.Handler) bool

// faulty is a registry behind a proxy that has faults.
type faulty struct {
	registry *bundletest.Registry
	env      *contracts.BundleEnvironment
	handler  http.HandlerFunc

	mu    sync.Mutex
	seen  map[string]int
	fault fault
	log   []string
}

func newFaulty(t *testing.T) *faulty {
	f := &faulty{registry: bundletest.NewRegistry(t), seen: map[string]int{}}
	next := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: f.registry.Host})
	f.handler = func(w http.ResponseWriter, req *http.Request) {
		f.mu.Lock()
		key := req.Method + " " + req.URL.Path
		n, fault := f.seen[key], f.fault
		f.seen[key]++
		f.log = append(f.log, key+" "+req.Header.Get("Range"))
		f.mu.Unlock()
		if fault == nil || !fault(w, req, n, next) {
			next.ServeHTTP(w, req)
		}
	}
	server := httptest.NewServer(f.handler)
	t.Cleanup(server.Close)
	f.env = f.registry.Environment()
	f.env.Registry.LoginServer = strings.TrimPrefix(server.URL, "http://")
	return f
}

// set begins to have a fault, and forgets what was asked.
func (f *faulty) set(do fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.log = do, nil
	clear(f.seen)
}

// asked is how many requests there were that begin with prefix.
func (f *faulty) asked(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.log {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func (f *faulty) open(t *testing.T, patience time.Duration) *bundleoci.Repository {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	repo, err := bundleoci.Open(f.env, "seir", bundleoci.Options{Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// status answers with a status and a Retry-After.
func status(code int, after string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ int, _ http.Handler) bool {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(code)
		return true
	}
}

// hangUp resets the connection.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// times has a fault only the first n times that something is asked for.
func times(n int, f fault) fault {
	return func(w http.ResponseWriter, req *http.Request, i int, serve http.Handler) bool {
		return i < n && f(w, req, i, serve)
	}
}

// blob has a fault for downloads of blobs. The body is the whole blob's.
func blob(f func(w http.ResponseWriter, req *http.Request, n int, body []byte)) fault {
	return func(w http.ResponseWriter, req *http.Request, n int, serve http.Handler) bool {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		whole := req.Clone(req.Context())
		whole.Header.Del("Range")
		answer := httptest.NewRecorder()
		serve.ServeHTTP(answer, whole)
		f(w, req, n, answer.Body.Bytes())
		return true
	}
}

// whole answers with the body, as if there were no ranges, and breaks off after some of it.
func whole(w http.ResponseWriter, body []byte, until int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if until < len(body) {
		_, _ = w.Write(body[:until])
		_ = http.NewResponseController(w).Flush()
		hangUp(w)
		return
	}
	_, _ = w.Write(body)
}

// from is the first byte that a request asks for.
func from(req *http.Request) int {
	var at int
	_, _ = fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &at)
	return at
}

func part(w http.ResponseWriter, body []byte, at, claimed, until int) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", claimed, len(body)-1, len(body)))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(body[at:min(until, len(body))])
	if until < len(body) {
		_ = http.NewResponseController(w).Flush()
		hangUp(w)
	}
}

var faultFiles = bundletest.Files{"wire.py": "x = 1\n", "big.bin": strings.Repeat("0123456789abcdef!", 1<<17)}

// pull fetches and extracts, and compares with what was pushed.
func pull(t *testing.T, repo *bundleoci.Repository, d contracts.Digest) error {
	t.Helper()
	b, err := repo.Fetch(t.Context(), d)
	if err != nil {
		return err
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := b.Extract(t.Context(), root); err != nil {
		return err
	}
	for path, want := range faultFiles {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	return nil
}

// digestHeader has manifests come with another Docker-Content-Digest, or with none.
func digestHeader(value string) fault {
	return func(w http.ResponseWriter, req *http.Request, _ int, serve http.Handler) bool {
		if !strings.Contains(req.URL.Path, "/manifests/") {
			return false
		}
		answer := httptest.NewRecorder()
		serve.ServeHTTP(answer, req)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Del("Docker-Content-Digest")
		if value != "" {
			w.Header().Set("Docker-Content-Digest", value)
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return true
	}
}

// TestPullFaults, and other tests, have the rows of the list of what registries do. Beside
// those that are named by their number:
//
//	net008 a token expires               acrauth: TestExpiry and others with its token service; TestRotation
//	net012 nobody listens                TestNobodyThere
//	net034, net035, net036 redirects     acrauth: TestHostileRedirect; TestRedirectedDownload
//	net040, net041, net042 realms        acrauth: TestHostileRealm; TestNothingGoesElsewhere
//	net043, net044 token services        acrauth: TestTokenServiceFaults, TestHostileRedirect
//	net045 uploads sent elsewhere        TestNothingGoesElsewhere
//	net052, net053, net054 Azure storage blobstore/azure: TestErrors, TestWrittenWhileRead; TestStorageOfAnotherEnvironment
//	net055 a proxy with a password       bundle-worker/internal/cli: TestProxyPassword
//	net031, net057 TLS, HTTP/2           TestHandshakeStalls, TestGoAway
//	net037 redirects inward              TestRedirectInward, TestRedirectInwardByName
//	net058 a herd                        TestHerd; bundle-worker/internal/cli: TestScript/ensure-local_crowd: one node asks once
func TestPullFaults(t *testing.T) {
	const half = 100
	resumable := func(w http.ResponseWriter, req *http.Request, _ int, body []byte) {
		at := from(req)
		step := max(len(body)/5, half)
		if at == 0 {
			whole(w, body, step)
		} else {
			part(w, body, at, at, at+step)
		}
	}
	for name, test := range map[string]struct {
		fault    fault
		want     contracts.Code
		patience time.Duration
		asked    int // at most, of anything; 0 for any number
	}{
		"net001 throttled, counting down": {asked: 6, fault: func(w http.ResponseWriter, r *http.Request, n int, h http.Handler) bool {
			return n < 2 && strings.Contains(r.URL.Path, "/manifests/") && status(429, strconv.Itoa(2-n))(w, r, n, h)
		}},
		"throttled for a second": {fault: times(1, status(429, "1"))},
		"net002 throttled until a date": {fault: func(w http.ResponseWriter, r *http.Request, n int, h http.Handler) bool {
			return n == 0 && status(429, time.Now().Add(2*time.Second).UTC().Format(http.TimeFormat))(w, r, n, h)
		}},
		"net003 throttled for a day":           {fault: status(429, "86400"), want: contracts.CodeUnavailable, asked: 1},
		"net004 Retry-After is negative":       {fault: times(2, status(429, "-1"))},
		"net004 Retry-After is no number":      {fault: times(2, status(429, "abc"))},
		"net004 Retry-After is no real number": {fault: times(2, status(429, "1e9"))},
		"net005 unavailable for a second":      {fault: times(1, status(503, "1"))},
		"net006 500, 502 and then well": {fault: func(w http.ResponseWriter, r *http.Request, n int, h http.Handler) bool {
			return n < 2 && status([]int{500, 502}[n], "")(w, r, n, h)
		}},
		"net007 500 for ever": {fault: status(500, ""), want: contracts.CodeUnavailable, patience: time.Second},
		"net009 401 for ever": {fault: status(401, ""), want: contracts.CodeUnauthenticated, asked: 2},
		"net011 404":          {fault: status(404, ""), want: contracts.CodeBundleNotFound, asked: 1},
		"net013 reset before the answer": {fault: times(2, func(w http.ResponseWriter, _ *http.Request, _ int, _ http.Handler) bool {
			hangUp(w)
			return true
		})},
		"breaks off again and again, with ranges": {fault: blob(resumable)},
		"breaks off, without ranges": {fault: blob(func(w http.ResponseWriter, _ *http.Request, n int, body []byte) {
			whole(w, body, []int{len(body) / 3, len(body) / 2, len(body)}[min(n, 2)])
		})},
		"breaks off, and refuses ranges": {fault: blob(func(w http.ResponseWriter, req *http.Request, n int, body []byte) {
			if from(req) > 0 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			whole(w, body, []int{len(body) / 2, len(body)}[min(n, 1)])
		})},
		"net018 answers with another range": {fault: blob(func(w http.ResponseWriter, req *http.Request, n int, body []byte) {
			if at := from(req); at > 0 {
				part(w, body, 0, 0, len(body))
				return
			}
			whole(w, body, []int{len(body) / 2, len(body)}[min(n, 1)])
		})},
		"net019 lies about the range": {fault: blob(func(w http.ResponseWriter, req *http.Request, n int, body []byte) {
			if at := from(req); at > 0 {
				part(w, bytes.Repeat([]byte{'x'}, len(body)), at, at, len(body))
				return
			}
			whole(w, body, []int{len(body) / 2, len(body)}[min(n, 1)])
		})},
		"net022 wrong bytes for ever": {want: contracts.CodeIntegrity, fault: blob(func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
			body[len(body)/2] ^= 1
			whole(w, body, len(body))
		})},
		"net023 wrong bytes once": {fault: blob(func(w http.ResponseWriter, _ *http.Request, n int, body []byte) {
			if n == 0 {
				body[len(body)/2] ^= 1
			}
			whole(w, body, len(body))
		})},
		"falls silent in the middle": {patience: 2 * time.Second, fault: blob(func(w http.ResponseWriter, req *http.Request, n int, body []byte) {
			if n > 0 {
				part(w, body, from(req), from(req), len(body))
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
		})},
		"net025 no digest in the header":       {fault: digestHeader("")},
		"net026 no digest's form":              {fault: digestHeader("garbage"), want: contracts.CodeUnavailable},
		"net026 a digest of another algorithm": {fault: digestHeader("sha512:" + strings.Repeat("ab", 64)), want: contracts.CodeUnavailable},
		"net056 a proxy that compresses": {want: contracts.CodeUnavailable, fault: blob(func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			zipped := gzip.NewWriter(w)
			_, _ = zipped.Write(body)
			_ = zipped.Close()
		})},
		"net024 another manifest": {want: contracts.CodeIntegrity, fault: func(w http.ResponseWriter, req *http.Request, _ int, _ http.Handler) bool {
			if !strings.Contains(req.URL.Path, "/manifests/") {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", req.URL.Path[strings.LastIndex(req.URL.Path, "/")+1:])
			_, _ = io.WriteString(w, `{"schemaVersion":2}`)
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			ref := bundletest.Push(t, f.registry, "seir", faultFiles)
			if test.patience == 0 {
				test.patience = 8 * time.Second
			}
			repo := f.open(t, test.patience)
			f.set(test.fault)
			if got := code(pull(t, repo, ref.Digest)); got != test.want {
				t.Errorf("error %q, want %q", got, test.want)
			}
			if n := f.asked(""); test.asked > 0 && n > test.asked {
				t.Errorf("%d requests: %q", n, f.log)
			}
		})
	}
}

func TestResumeGoesOn(t *testing.T) {
	f := newFaulty(t)
	ref := bundletest.Push(t, f.registry, "seir", faultFiles)
	repo := f.open(t, 8*time.Second)
	f.set(blob(func(w http.ResponseWriter, req *http.Request, _ int, body []byte) {
		if at := from(req); at > 0 {
			part(w, body, at, at, len(body))
			return
		}
		whole(w, body, len(body)/2)
	}))
	if err := pull(t, repo, ref.Digest); err != nil {
		t.Fatal(err)
	}
	ranges := 0
	for _, line := range f.log {
		if strings.Contains(line, "bytes=") {
			ranges++
		}
	}
	if blobs := f.asked("GET /v2/seir/blobs/"); ranges == 0 || blobs != 2*ranges {
		t.Errorf("%d requests for blobs, of them %d for ranges", blobs, ranges)
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFaulty(t)
	f.env.Registry.LoginServer = listener.Addr().String()
	listener.Close()
	_, err = f.open(t, time.Second).Resolve(t.Context(), "latest")
	if code(err) != contracts.CodeUnavailable {
		t.Error(err)
	}
}

func TestPushFaults(t *testing.T) {
	method := func(name string, f fault) fault {
		return func(w http.ResponseWriter, req *http.Request, n int, serve http.Handler) bool {
			key := req.Method + " " + strings.Split(req.URL.Path, "/")[3] // v2, seir, blobs or manifests
			return strings.HasPrefix(key, name) && f(w, req, n, serve)
		}
	}
	answer := func(code int, name string) fault {
		return func(w http.ResponseWriter, req *http.Request, _ int, _ http.Handler) bool {
			_, _ = io.Copy(io.Discard, req.Body)
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"no"}]}`, name)
			return true
		}
	}
	reset := func(w http.ResponseWriter, req *http.Request, _ int, _ http.Handler) bool {
		_, _ = io.CopyN(io.Discard, req.Body, 1000)
		hangUp(w)
		return true
	}
	var once sync.Map // by digest: an upload begun anew has another address
	oncePerBlob := func(f fault) fault {
		return func(w http.ResponseWriter, req *http.Request, n int, serve http.Handler) bool {
			if _, was := once.LoadOrStore(req.URL.Query().Get("digest"), true); was {
				return false
			}
			return f(w, req, n, serve)
		}
	}
	for name, test := range map[string]struct {
		fault fault
		want  contracts.Code
	}{
		"upload cannot begin for a while": {fault: method("POST blobs", times(2, answer(503, "UNAVAILABLE")))},
		"upload breaks off":               {fault: method("PUT blobs", oncePerBlob(reset))},
		"upload is lost":                  {fault: method("PUT blobs", oncePerBlob(answer(404, "BLOB_UPLOAD_UNKNOWN")))},
		"upload came wrong":               {fault: method("PUT blobs", oncePerBlob(answer(400, "DIGEST_INVALID")))},
		"answer to an upload is lost": {fault: method("PUT blobs", oncePerBlob(func(w http.ResponseWriter, req *http.Request, _ int, serve http.Handler) bool {
			serve.ServeHTTP(httptest.NewRecorder(), req)
			hangUp(w)
			return true
		}))},
		"uploads never arrive":           {fault: method("PUT blobs", answer(404, "BLOB_UPLOAD_UNKNOWN")), want: contracts.CodeBundleNotFound},
		"net050 manifest fails once":     {fault: method("PUT manifests", times(1, answer(500, "UNKNOWN")))},
		"net050 manifest fails for ever": {fault: method("PUT manifests", answer(500, "UNKNOWN")), want: contracts.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			once.Clear()
			f := newFaulty(t)
			before := bundletest.Push(t, f.registry, "seir", bundletest.Files{"a": "before"})
			repo := f.open(t, 3*time.Second)
			f.set(test.fault)
			result, err := push(t, repo, write(t, faultFiles), bundleoci.PushOptions{Base: before.Digest})
			if code(err) != test.want {
				t.Fatal(err)
			}
			f.set(nil)
			now, resolveErr := repo.Resolve(t.Context(), "latest")
			switch {
			case resolveErr != nil:
				t.Fatal(resolveErr)
			case err != nil && now != before.Digest:
				t.Errorf("a push that failed moved the tag to %s", now)
			case err == nil && now != result.Ref.Digest:
				t.Errorf("the tag is %s", now)
			case err == nil:
				if err := pull(t, repo, now); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
