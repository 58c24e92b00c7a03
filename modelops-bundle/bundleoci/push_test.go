package bundleoci_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

func open(t *testing.T, env *contracts.BundleEnvironment, name string) *bundleoci.Repository {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	repo, err := bundleoci.Open(env, name, bundleoci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func push(t *testing.T, repo *bundleoci.Repository, dir string, opts bundleoci.PushOptions) (*bundleoci.PushResult, error) {
	t.Helper()
	root, sources := scanned(t, dir)
	if opts.Tag == "" {
		opts.Tag = "latest"
	}
	return repo.Push(context.Background(), root, sources, opts)
}

// scanned is a project's directory, open until the test ends, and its files.
func scanned(t *testing.T, dir string) (*os.Root, []bundle.Source) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	sources, err := bundle.Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, sources
}

func mustPush(t *testing.T, repo *bundleoci.Repository, dir string, opts bundleoci.PushOptions) *bundleoci.PushResult {
	t.Helper()
	result, err := push(t, repo, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func write(t *testing.T, files bundletest.Files) string {
	t.Helper()
	dir := t.TempDir()
	files.Write(t, dir)
	return dir
}

func code(err error) contracts.Code {
	if err == nil {
		return ""
	}
	return contracts.AsError(err).Code
}

func TestPushAndFetch(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "team/seir-calibration")
	files := bundletest.Files{"wire.py": "x = 1\n", "run.sh*": "#!/bin/sh\n", "data/big.bin": strings.Repeat("0123456789abcdef", 1<<17), "empty": ""}
	pushed := mustPush(t, repo, write(t, files), bundleoci.PushOptions{})
	if pushed.Ref.Repository != "team/seir-calibration" || pushed.Unchanged || pushed.BytesUploaded == 0 {
		t.Errorf("%+v", pushed)
	}
	resolved, err := repo.Resolve(context.Background(), "latest")
	if err != nil || resolved != pushed.Ref.Digest {
		t.Fatalf("latest is %s, %v; pushed %s", resolved, err, pushed.Ref.Digest)
	}
	b, err := repo.Fetch(context.Background(), resolved)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pushed.Index, b.Index); diff != "" {
		t.Errorf("index (-pushed +fetched):\n%s", diff)
	}
	out := t.TempDir()
	root, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	stats, err := b.Extract(context.Background(), root)
	if err != nil || stats.Files != 4 {
		t.Fatalf("%+v, %v", stats, err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(out, strings.TrimSuffix(path, "*")))
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	if info, err := os.Stat(filepath.Join(out, "run.sh")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("run.sh is not executable: %v", err)
	}
}

func TestRequests(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	dir := write(t, bundletest.Files{"wire.py": "x = 1\n", "data.csv": strings.Repeat("1,2,3\n", 1000)})
	first := mustPush(t, repo, dir, bundleoci.PushOptions{})
	registry.Requests()
	again := mustPush(t, repo, dir, bundleoci.PushOptions{Base: first.Ref.Digest})
	if log := registry.Requests(); !again.Unchanged || len(log) != 1 {
		t.Errorf("an unchanged push made %q", log)
	}
	other := mustPush(t, repo, dir, bundleoci.PushOptions{Tag: "v1", Known: []contracts.Digest{first.Ref.Digest}})
	if log := registry.Requests(); other.Ref != first.Ref || other.BytesUploaded != 0 || len(log) != 5 {
		t.Errorf("the same content to another tag: %+v, %q", other, log)
	}
}

func TestFastForward(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	base := mustPush(t, repo, write(t, bundletest.Files{"a": "1"}), bundleoci.PushOptions{})
	theirs := mustPush(t, repo, write(t, bundletest.Files{"a": "1", "b": "theirs"}), bundleoci.PushOptions{Base: base.Ref.Digest})
	mine := write(t, bundletest.Files{"a": "mine"})
	registry.Requests()
	for name, known := range map[string]contracts.Digest{"an old base": base.Ref.Digest, "no base": ""} {
		_, err := push(t, repo, mine, bundleoci.PushOptions{Base: known})
		if code(err) != contracts.CodeConflict {
			t.Errorf("push with %s: %v", name, err)
		}
	}
	for _, request := range registry.Requests() {
		if !strings.HasPrefix(request, "GET ") && !strings.HasPrefix(request, "HEAD ") {
			t.Errorf("a refused push sent %s", request)
		}
	}
	if now, _ := repo.Resolve(context.Background(), "latest"); now != theirs.Ref.Digest {
		t.Errorf("the tag moved to %s", now)
	}
	if _, err := push(t, repo, write(t, bundletest.Files{"a": "1", "b": "theirs"}), bundleoci.PushOptions{}); err != nil {
		t.Errorf("pushing what is there already: %v", err)
	}
	if _, err := push(t, repo, mine, bundleoci.PushOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if _, err := repo.Fetch(context.Background(), theirs.Ref.Digest); err != nil {
		t.Errorf("their bundle is gone: %v", err)
	}
}

// Somebody moves the tag between the look at it and the write.
func TestLostRace(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		registry := bundletest.NewRegistry(t)
		repo := open(t, registry.Environment(), "seir")
		base := mustPush(t, repo, write(t, bundletest.Files{"a": "1"}), bundleoci.PushOptions{})
		theirs := write(t, bundletest.Files{"a": "theirs"})
		var once atomic.Bool
		trigger := map[string]string{"before": "/blobs/uploads/", "after": "/manifests/latest"}[when]
		method := map[string]string{"before": http.MethodPost, "after": http.MethodHead}[when]
		heads := 0
		registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method != method || !strings.HasSuffix(r.URL.Path, trigger) || once.Load() {
				return false
			}
			if heads++; when == "after" && heads < 2 {
				return false
			}
			once.Store(true)
			mustPush(t, repo, theirs, bundleoci.PushOptions{Force: true})
			return false
		})
		_, err := push(t, repo, write(t, bundletest.Files{"a": "mine"}), bundleoci.PushOptions{Base: base.Ref.Digest})
		if code(err) != contracts.CodeConflict || !once.Load() {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// A registry that collected garbage gets everything once more.
func TestMissingBlobsAreSentAgain(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	dir := write(t, bundletest.Files{"a": "1", "b": "2"})
	first := mustPush(t, repo, dir, bundleoci.PushOptions{})
	var refused atomic.Bool
	registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/v2") || refused.Swap(true) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}`))
		return true
	})
	second := mustPush(t, repo, dir, bundleoci.PushOptions{Tag: "v2", Known: []contracts.Digest{first.Ref.Digest}})
	if second.Ref != first.Ref || !refused.Load() {
		t.Errorf("%+v", second)
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	dir := write(t, bundletest.Files{"a": "1"})
	mustPush(t, repo, dir, bundleoci.PushOptions{})
	answer := func(status int, contentType, body string) {
		registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		})
	}
	unknown := contracts.DigestOf([]byte("unknown"))
	_, err := repo.Fetch(context.Background(), unknown)
	if code(err) != contracts.CodeBundleNotFound {
		t.Errorf("unknown digest: %v", err)
	}
	answer(http.StatusForbidden, "application/json", `{"errors":[{"code":"DENIED","message":"no"}]}`)
	if _, err := repo.Resolve(context.Background(), "latest"); code(err) != contracts.CodeDenied {
		t.Errorf("403: %v", err)
	}
	answer(http.StatusOK, "text/html", "<html>log in</html>")
	if _, err := push(t, repo, dir, bundleoci.PushOptions{}); code(err) != contracts.CodeUnavailable {
		t.Errorf("a login page: %v", err)
	}
	if _, err := repo.Fetch(context.Background(), unknown); code(err) != contracts.CodeUnavailable || !strings.Contains(contracts.AsError(err).Hint, "not a web page") {
		t.Errorf("a login page in place of a bundle: %v", err)
	}
	registry.Intercept(nil)
	registry.RequireLogin("user", "right")
	for name, env := range map[string]*contracts.BundleEnvironment{"none": registry.Environment(), "wrong": withLogin(registry, "user", "wrong")} {
		_, err := push(t, open(t, env, "seir"), dir, bundleoci.PushOptions{})
		if code(err) != contracts.CodeUnauthenticated {
			t.Errorf("%s credentials: %v", name, err)
		}
	}
	if _, err := push(t, open(t, withLogin(registry, "user", "right"), "seir"), dir, bundleoci.PushOptions{}); err != nil {
		t.Errorf("right credentials: %v", err)
	}
	registry.Stop()
	if _, err := push(t, repo, dir, bundleoci.PushOptions{}); code(err) != contracts.CodeUnavailable {
		t.Errorf("registry down: %v", err)
	}
}

func withLogin(registry *bundletest.Registry, username, password string) *contracts.BundleEnvironment {
	env := registry.Environment()
	env.Registry.Username, env.Registry.Password = username, contracts.Secret(password)
	return env
}

// A registry that asks for tokens or uploads elsewhere gets nothing sent there.
func TestNothingGoesElsewhere(t *testing.T) {
	var got atomic.Int64
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "x"})
	}))
	defer attacker.Close()
	elsewhere := strings.Replace(attacker.URL, "127.0.0.1", "localhost", 1)
	registry := bundletest.NewRegistry(t)
	dir := write(t, bundletest.Files{"a": "1"})
	repo := open(t, withLogin(registry, "user", "CANARY"), "seir")
	for name, intercept := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"realm": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+elsewhere+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"upload": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			w.Header().Set("Location", elsewhere+"/upload")
			w.WriteHeader(http.StatusAccepted)
			return true
		},
		"redirected upload": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			http.Redirect(w, r, elsewhere+"/upload", http.StatusTemporaryRedirect)
			return true
		},
	} {
		registry.Intercept(intercept)
		if _, err := push(t, repo, dir, bundleoci.PushOptions{}); err == nil {
			t.Errorf("%s: the push went through", name)
		}
		if n := got.Load(); n != 0 {
			t.Errorf("%s: %d requests went elsewhere", name, n)
		}
	}
}

// A download may be redirected, without the credential.
func TestRedirectedDownload(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	ref := bundletest.Push(t, registry, "seir", bundletest.Files{"a": "1"})
	var leaked atomic.Bool
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		http.Redirect(w, r, "http://"+registry.Host+r.URL.Path+"?direct", http.StatusTemporaryRedirect)
	}))
	defer storage.Close()
	registry.RequireLogin("", "")
	registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || r.URL.RawQuery == "direct" {
			return false
		}
		http.Redirect(w, r, storage.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	b, err := open(t, withLogin(registry, "user", "CANARY"), "seir").Fetch(context.Background(), ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(context.Background(), nil); err != nil {
		t.Error(err)
	}
	if leaked.Load() {
		t.Error("the credential went along")
	}
}

func TestHostileManifests(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	ref := bundletest.Push(t, registry, "seir", bundletest.Files{"a": "1"})
	repo := open(t, registry.Environment(), "seir")
	b, err := repo.Fetch(context.Background(), ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	good := string(b.Manifest)
	for name, spoiled := range map[string]string{
		"not json":         "<html>",
		"an image index":   `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`,
		"another artifact": strings.Replace(good, "bundle.v2", "bundle.v9", 1),
		"the Python suite": strings.Replace(good, "bundle.index.v2+json+zstd", "bundle.index.v1+json", 1),
		"another layer":    strings.Replace(good, string(b.Layers[0].Digest), string(contracts.DigestOf(nil)), 1),
		"bad digest":       strings.Replace(good, "sha256:", "sha256:../", 1),
		"foreign layer":    strings.Replace(good, `"size":`, `"urls":["http://x/"],"size":`, 1),
		"huge index":       strings.Replace(good, `"size":`, `"size":9`+"99999999", 1),
		"layer type":       strings.Replace(good, "bundle.pack.v2", "bundle.chunk.v2", 1),
	} {
		t.Run(name, func(t *testing.T) {
			registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				_, _ = w.Write([]byte(spoiled))
				return true
			})
			_, err := repo.Fetch(context.Background(), contracts.DigestOf([]byte(spoiled)))
			if c := code(err); c != contracts.CodeInvalidBundle && c != contracts.CodeUnsupported {
				t.Errorf("%s %v", c, err)
			}
			if _, err = repo.Fetch(context.Background(), ref.Digest); code(err) != contracts.CodeIntegrity && code(err) != contracts.CodeUnavailable {
				t.Errorf("under another digest: %s %v", code(err), err)
			}
		})
	}
}

func TestManifestIsGolden(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	ref := bundletest.Push(t, registry, "seir", bundletest.Files{"a": "hello\n", "run*": "x"})
	const want = "sha256:0d61705f8cd49d16f014daeb382645055f7a6ccc2ea3108d1b3e40dded730eac"
	if string(ref.Digest) != want {
		b, err := open(t, registry.Environment(), "seir").Fetch(context.Background(), ref.Digest)
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("the bundle digest is %s, want %s: the format changed\n%s", ref.Digest, want, b.Manifest)
	}
}

// The index does not wait until the registry has taken the last blob: on a slow link that
// is three journeys more.
func TestIndexWithLastBlob(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	both := make(chan struct{})
	var begun atomic.Int64
	registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/blobs/uploads/") {
			return false
		}
		if begun.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
			return false
		case <-req.Context().Done():
		case <-time.After(10 * time.Second):
			t.Errorf("%d of two uploads were begun", begun.Load())
		}
		http.Error(w, "{}", http.StatusBadRequest)
		return true
	})
	mustPush(t, open(t, registry.Environment(), "seir"), write(t, bundletest.Files{"wire.py": "x = 1\n"}), bundleoci.PushOptions{})
}

// What a tag resolved to is not fetched again by its digest.
func TestManifestOnce(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	pushed := bundletest.Push(t, registry, "seir", bundletest.Files{"wire.py": "x = 1\n"})
	repo := open(t, registry.Environment(), "seir")
	registry.Requests()
	digest, err := repo.Resolve(t.Context(), "latest")
	if err != nil {
		t.Fatal(err)
	}
	b, err := repo.Fetch(t.Context(), digest)
	if err != nil || b.Ref != pushed {
		t.Fatal(b, err)
	}
	requests := registry.Requests()
	if len(requests) != 2 || requests[0] != "GET /v2/seir/manifests/latest" || !strings.HasPrefix(requests[1], "GET /v2/seir/blobs/sha256:") {
		t.Errorf("requests: %q", requests)
	}
}

// An index that is refused ends the push at once: what is still on its way is given up.
func TestIndexRefused(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	sending := make(chan struct{})
	var begun atomic.Int64
	registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/blobs/uploads/") {
			return false
		}
		if begun.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, req.Body) // whose end is seen when it has been read
			close(sending)
			select {
			case <-req.Context().Done():
			case <-time.After(20 * time.Second):
				t.Error("a blob was waited for after the index had been refused")
			}
			return true
		}
		<-sending
		http.Error(w, `{"errors":[{"code":"DENIED","message":"no"}]}`, http.StatusForbidden)
		return true
	})
	_, err := push(t, open(t, registry.Environment(), "seir"), write(t, bundletest.Files{"wire.py": "x = 1\n"}), bundleoci.PushOptions{})
	if code(err) != contracts.CodeDenied {
		t.Errorf("the push ended with %v", err)
	}
}
