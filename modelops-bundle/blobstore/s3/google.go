package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/modelops-suite/modelops-go/contracts"
)

func openGoogle(storage *contracts.Storage, endpoint string, opts Options) (*Store, error) {
	if storage.AccessKey == "" {
		return nil, &contracts.Error{Code: contracts.CodeUnauthenticated, Stage: contracts.StageEnvironment,
			Message: "the storage has no access_key", Hint: "make an HMAC key: gcloud storage hmac create ACCOUNT, and write storage.access_key and secret_key"}
	}
	s, settings, err := prepare(storage, endpoint, opts)
	if err != nil {
		return nil, err
	}
	s.region = "auto"
	settings.Region = s.region
	settings.BucketLookup = minio.BucketLookupPath
	settings.Creds = credentials.NewStatic("", "", "", credentials.SignatureAnonymous) // signed below
	settings.Transport = &googleSigner{access: storage.AccessKey, secret: storage.SecretKey, next: settings.Transport}
	return s.connect(settings)
}

// googleSigner makes Google's dialect of what the library sends: it takes the precondition of
// a creation only in a header of its own, and its headers only in requests that have none of
// Amazon's and are signed by its own name.
type googleSigner struct {
	access string
	secret contracts.Secret
	next   http.RoundTripper
}

// RoundTrip translates, signs and sends the request.
func (g *googleSigner) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	rename(req.Header, "X-Amz-", "X-Goog-")
	if req.Header.Get("If-None-Match") == "*" {
		req.Header.Del("If-None-Match")
		req.Header.Set("X-Goog-If-Generation-Match", "0")
	}
	g.sign(req, time.Now().UTC())
	response, err := g.next.RoundTrip(req)
	if err == nil {
		rename(response.Header, "X-Goog-Meta-", "X-Amz-Meta-")
	}
	return response, err
}

func rename(header http.Header, from, to string) {
	for name, values := range header {
		if rest, ok := strings.CutPrefix(name, from); ok {
			delete(header, name)
			header[to+rest] = values
		}
	}
}

// sign is the signature with the algorithm GOOG4-HMAC-SHA256. What is sent is not part of it:
// the connection is encrypted.
func (g *googleSigner) sign(req *http.Request, now time.Time) {
	const algorithm, unsigned = "GOOG4-HMAC-SHA256", "UNSIGNED-PAYLOAD"
	stamp := now.Format("20060102T150405Z")
	scope := []string{stamp[:8], "auto", "storage", "goog4_request"}
	req.Header.Set("X-Goog-Date", stamp)
	req.Header.Set("X-Goog-Content-Sha256", unsigned)

	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	signed := map[string]string{"host": host}
	for name, values := range req.Header {
		if strings.HasPrefix(name, "X-Goog-") {
			signed[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	names := make([]string, 0, len(signed))
	for name := range signed {
		names = append(names, name)
	}
	slices.Sort(names)
	var headers strings.Builder
	for _, name := range names {
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(signed[name]))
	}
	list := strings.Join(names, ";")
	query := strings.ReplaceAll(req.URL.Query().Encode(), "+", "%20")
	canonical := strings.Join([]string{req.Method, req.URL.EscapedPath(), query, headers.String(), list, unsigned}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{algorithm, stamp, strings.Join(scope, "/"), hex.EncodeToString(sum[:])}, "\n")

	key := []byte("GOOG4" + g.secret.Reveal())
	for _, part := range append(scope, text) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	req.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%x", algorithm, g.access, strings.Join(scope, "/"), list, key))
}
