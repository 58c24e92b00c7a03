package s3_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/blobstoretest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
)

const googleSecret = "google-secret"

// google stands in for Google Cloud Storage: it checks the dialect and has the S3 server do
// the work.
func google(t *testing.T) *httptest.Server {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Amz-") || name == "If-None-Match" {
				t.Errorf("%s %s has the header %s", r.Method, r.URL.Path, name)
			}
		}
		if got, want := r.Header.Get("Authorization"), googleSignature(r); got != want {
			t.Errorf("%s %s is signed\n%s\nwant\n%s", r.Method, r.URL.Path, got, want)
		}
		passOn(t, w, r, target)
	}))
	t.Cleanup(g.Close)
	return g
}

// googleSignature is the signature that a request must have, from the published algorithm.
func googleSignature(r *http.Request) string {
	date := r.Header.Get("X-Goog-Date")
	scope := date[:8] + "/auto/storage/goog4_request"
	_, signed, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20") + "\n"
	for name := range strings.SplitSeq(signed, ";") {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + value + "\n"
	}
	canonical += "\n" + signed + "\nUNSIGNED-PAYLOAD"
	sum := sha256.Sum256([]byte(canonical))
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := mac(mac(mac(mac([]byte("GOOG4"+googleSecret), date[:8]), "auto"), "storage"), "goog4_request")
	signature := mac(key, "GOOG4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hex.EncodeToString(sum[:]))
	return "GOOG4-HMAC-SHA256 Credential=google-key/" + scope + ", SignedHeaders=" + signed + ", Signature=" + hex.EncodeToString(signature)
}

// passOn has the S3 server do what a request of Google's dialect asks for.
func passOn(t *testing.T, w http.ResponseWriter, r *http.Request, target *url.URL) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	address := *r.URL
	address.Scheme, address.Host = target.Scheme, target.Host
	out, err := http.NewRequestWithContext(r.Context(), r.Method, address.String(), bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	for name, values := range r.Header {
		if rest, ok := strings.CutPrefix(name, "X-Goog-Meta-"); ok {
			name = "X-Amz-Meta-" + rest
		}
		if name != "Authorization" && !strings.HasPrefix(name, "X-Goog-") {
			out.Header[name] = values
		}
	}
	if r.Header.Get("X-Goog-If-Generation-Match") == "0" {
		out.Header.Set("If-None-Match", "*")
	}
	sum := sha256.Sum256(body)
	out.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	response, err := http.DefaultTransport.RoundTrip(signer.SignV4(*out, server.AccessKey, server.SecretKey, "", "us-east-1"))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = response.Body.Close() }()
	for name, values := range response.Header {
		if rest, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			name = "X-Goog-Meta-" + rest
		}
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

func TestGoogle(t *testing.T) {
	g := google(t)
	blobstoretest.Run(t, func(t *testing.T) func() blobstore.Store {
		bucket := newBucket(t)
		storage := &contracts.Storage{Provider: "gcs", Container: bucket.Container, Prefix: "team", AccessKey: "google-key", SecretKey: googleSecret}
		return func() blobstore.Store {
			s, err := s3.OpenGoogle(storage, g.URL, s3.Options{Limits: hasty})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}
