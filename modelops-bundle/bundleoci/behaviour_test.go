package bundleoci_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// net027: what a tag pointed to when it was asked for is what is pulled.
func TestTagMoves(t *testing.T) {
	f := newFaulty(t)
	first := bundletest.Push(t, f.registry, "seir", faultFiles)
	repo := f.open(t, 8*time.Second)
	digest, err := repo.Resolve(t.Context(), "latest")
	if err != nil || digest != first.Digest {
		t.Fatal(digest, err)
	}
	bundletest.Push(t, f.registry, "seir", bundletest.Files{"wire.py": "other = 1\n"})
	if err := pull(t, repo, digest); err != nil {
		t.Error(err)
	}
}

// net037: a download is not followed to this machine's cloud, whatever the registry says.
func TestRedirectInward(t *testing.T) {
	for _, to := range []string{"http://169.254.169.254/metadata/identity", "http://[fe80::1]/x", "http://[::ffff:169.254.169.254]/x", "file:///etc/passwd"} {
		f := newFaulty(t)
		ref := bundletest.Push(t, f.registry, "seir", faultFiles)
		repo := f.open(t, time.Second)
		f.set(blob(func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		err := pull(t, repo, ref.Digest)
		if err == nil || strings.HasPrefix(to, "http:") && code(err) != contracts.CodeDenied {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// net039: a download that breaks off behind a redirect is asked for at the registry again,
// whose next redirect has a signature that is still valid; and no signature is told.
func TestRedirectExpires(t *testing.T) {
	f := newFaulty(t)
	ref := bundletest.Push(t, f.registry, "seir", faultFiles)
	repo := f.open(t, 8*time.Second)
	var signature, refused atomic.Int64
	bodies := make(chan []byte, 100)
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body := <-bodies
		if req.URL.Query().Get("sig") != fmt.Sprintf("CANARY%d", signature.Load()) {
			refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if at := from(req); at > 0 {
			part(w, body, at, at, len(body))
			return
		}
		whole(w, body, len(body)/2)
	}))
	defer storage.Close()
	f.set(blob(func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
		bodies <- body
		w.Header().Set("Location", fmt.Sprintf("%s/blob?sig=CANARY%d", storage.URL, signature.Add(1)))
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	b, err := repo.Fetch(t.Context(), ref.Digest) // the index, in two pieces
	if err != nil || refused.Load() != 0 || signature.Load() != 2 {
		t.Fatalf("%v, %d refused, %d redirects", err, refused.Load(), signature.Load())
	}
	f.set(blob(func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
		bodies <- body
		w.Header().Set("Location", storage.URL+"/blob?sig=CANARY-expired")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	if _, err := b.Verify(t.Context(), nil); err == nil || strings.Contains(err.Error()+contracts.AsError(err).Text(), "CANARY") {
		t.Errorf("%v", err)
	}
}

// net046: a list of tags goes on at the registry, and has an end.
func TestTagPages(t *testing.T) {
	var elsewhere atomic.Int64
	attacker := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer attacker.Close()
	for name, next := range map[string]string{"another host": strings.Replace(attacker.URL, "127.0.0.1", "localhost", 1) + "/v2/seir/tags/list", "itself": "/v2/seir/tags/list?last=a"} {
		f := newFaulty(t)
		repo := f.open(t, time.Second)
		f.set(func(w http.ResponseWriter, req *http.Request, _ int, _ http.Handler) bool {
			w.Header().Set("Link", "<"+next+`>; rel="next"`)
			_, _ = w.Write([]byte(`{"name":"seir","tags":["a"]}`))
			return true
		})
		if tags, err := repo.Tags(t.Context()); err == nil {
			t.Errorf("%s: %d tags", name, len(tags))
		}
		if elsewhere.Load() != 0 {
			t.Errorf("%s: %d requests went there", name, elsewhere.Load())
		}
	}
}
