package bundleoci_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

var inFiles = bundleoci.PushOptions{Format: bundle.Files}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

// golden holds got against a file; with UPDATE_GOLDEN it writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "files", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func TestPushFiles(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	files := bundletest.Files{
		"src/model.py": "abcd", "src/__init__.py": "", "src/sub/__init__.py": "", "copy.py": "abcd",
		"data/größe & 2.csv": "a,b\n1,2\n", "run.sh*": "#!/bin/sh\n",
	}
	dir := write(t, files)
	first := mustPush(t, repo, dir, inFiles)
	base := "http://" + registry.Host + "/v2/seir/"
	manifest := get(t, base+"manifests/latest")
	golden(t, "manifest.json", manifest)
	bundled, err := repo.Fetch(context.Background(), first.Ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(manifest, `"digest":"`)
	config, _, _ := strings.Cut(rest, `"`)
	golden(t, "index.json", get(t, base+"blobs/"+config))
	if bundled.Index.Content != first.Index.Content {
		t.Errorf("fetched content %s, pushed %s", bundled.Index.Content, first.Index.Content)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := bundled.Extract(context.Background(), root); err != nil {
		t.Fatal(err)
	}
	for p, want := range files {
		if got, err := root.ReadFile(strings.TrimSuffix(p, "*")); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}

	registry.Requests()
	again := mustPush(t, repo, dir, inFiles)
	if !again.Unchanged || again.Ref != first.Ref || again.BytesUploaded != 0 {
		t.Errorf("pushed again: %+v", again)
	}
	bundletest.Files{"src/model.py": "changed"}.Write(t, dir)
	opts := inFiles
	opts.Base = first.Ref.Digest
	registry.Requests()
	second := mustPush(t, repo, dir, opts)
	asked := 0
	for _, r := range registry.Requests() {
		if strings.HasPrefix(r, "HEAD /v2/seir/blobs/") {
			asked++
		}
	}
	if asked != 2 || second.BytesUploaded < 7 { // the file and the index
		t.Errorf("%d blobs asked for, %d bytes sent", asked, second.BytesUploaded)
	}
	bundletest.Files{"src/model.py": "theirs"}.Write(t, dir)
	if _, err := push(t, repo, dir, opts); code(err) != contracts.CodeConflict {
		t.Errorf("moved: %v", err)
	}
}

// The body of an upload is sent again when the registry asks for patience, and when it
// loses the upload; a blob that it turns out to lack is sent again.
func TestPushFilesOverFaults(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	dir := write(t, bundletest.Files{"big.bin": strings.Repeat("0123456789abcdef", 3<<16), "a": "b"})
	var faults atomic.Int32
	registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || r.ContentLength < 1<<20 {
			return false
		}
		switch faults.Add(1) {
		case 1:
			_, _ = io.CopyN(io.Discard, r.Body, 100)
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		default:
			return false
		}
		return true
	})
	result := mustPush(t, repo, dir, inFiles)
	if faults.Load() != 3 {
		t.Errorf("%d uploads", faults.Load())
	}
	b, err := repo.Fetch(context.Background(), result.Ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(context.Background(), nil); err != nil {
		t.Error(err)
	}
}

// A file that changes after it was named stops the push with its name.
func TestPushFilesChanging(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	dir := write(t, bundletest.Files{"a.txt": "before"})
	var once atomic.Bool
	registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && once.CompareAndSwap(false, true) {
			if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("after it"), 0o644); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	_, err := push(t, repo, dir, inFiles)
	if code(err) != contracts.CodeConflict || !strings.Contains(err.Error(), "a.txt") {
		t.Errorf("%v", err)
	}
}

func TestPlanFiles(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	dir := write(t, bundletest.Files{"a": "1", "b": "1", "c": ""})
	root, sources := scanned(t, dir)
	plan, err := repo.PlanPush(context.Background(), root, sources, bundleoci.PushOptions{Tag: "latest", Format: bundle.Files})
	if err != nil {
		t.Fatal(err)
	}
	result := mustPush(t, repo, dir, inFiles)
	if plan.Ref != result.Ref || plan.Bytes() != result.BytesUploaded || len(plan.Missing) != 3 {
		t.Errorf("planned %+v, pushed %+v", plan, result)
	}
}
