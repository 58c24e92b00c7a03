// Package bundletest gives tests a registry in this process, with a log of what it was
// asked and room for faults, and bundles in it. Every module's tests use it; tests of what
// only a real registry can show start one.
package bundletest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/provider"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
)

// Registry is an OCI registry on the loopback, which ends with its test.
type Registry struct {
	Host string // 127.0.0.1:port

	server    *httptest.Server
	mu        sync.Mutex
	requests  []string
	intercept func(http.ResponseWriter, *http.Request) bool
	username  string
	password  string
}

// NewRegistry starts an empty registry that asks nobody who they are.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{}
	next := ociserver.New(ocimem.New(), nil)
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.admit(w, req) {
			next.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(r.server.Close)
	r.Host = strings.TrimPrefix(r.server.URL, "http://")
	return r
}

// Stop closes the registry before its test ends: from then on nothing listens there.
func (r *Registry) Stop() { r.server.Close() }

// RequireLogin makes the registry refuse whoever does not come with these.
func (r *Registry) RequireLogin(username, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.username, r.password = username, password
}

// Intercept calls f before each request is served; when f answers true, it has served
// the request. Nil ends it.
func (r *Registry) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intercept = f
}

// Requests is the log since it was last read: method, blank, path.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.requests
	r.requests = nil
	return log
}

func (r *Registry) admit(w http.ResponseWriter, req *http.Request) bool {
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.Path)
	intercept, username, password := r.intercept, r.username, r.password
	r.mu.Unlock()
	if username != "" {
		if u, p, _ := req.BasicAuth(); u != username || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return false
		}
	}
	return intercept == nil || !intercept(w, req)
}

// Environment is an environment named "test" whose registry this is, without storage.
func (r *Registry) Environment() *contracts.BundleEnvironment {
	return &contracts.BundleEnvironment{
		Environment: "test",
		Registry:    contracts.Registry{Provider: "docker", LoginServer: r.Host},
	}
}

// Files is a directory's content: slash-separated paths to bytes. A path that ends in
// "*" is executable.
type Files map[string]string

// Write makes the files below dir.
func (f Files) Write(t testing.TB, dir string) {
	t.Helper()
	for path, content := range f {
		path, executable := strings.CutSuffix(path, "*")
		mode := os.FileMode(0o644)
		if executable {
			mode = 0o755
		}
		full := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// Push pushes the files as a bundle, with the tag "latest", and answers with its
// reference.
func Push(t testing.TB, r *Registry, repository string, files Files) contracts.BundleRef {
	t.Helper()
	return PushTo(t, r.Environment(), repository, files)
}

// PushTo is Push to an environment. When it has a storage, all bytes lie there.
func PushTo(t testing.TB, env *contracts.BundleEnvironment, repository string, files Files) contracts.BundleRef {
	t.Helper()
	dir := t.TempDir()
	files.Write(t, dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := bundle.Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	if env.Storage != nil {
		bundle.Place(sources, contracts.ProjectStorage{Mode: "blob-only"})
	}
	repo, err := bundleoci.Open(env, repository, bundleoci.Options{
		Storage: func() (blobstore.Store, error) { return provider.Open(env, provider.Limits{}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := repo.Push(context.Background(), root, sources, bundleoci.PushOptions{Tag: "latest", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	return result.Ref
}
