package bundleoci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

func request(t *testing.T, method, url, mediaType string, body []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// pushPython pushes what the Python suite would: layers in the order given, repeated.
func pushPython(t *testing.T, registry *bundletest.Registry, index string, layers ...string) contracts.Digest {
	t.Helper()
	base := "http://" + registry.Host + "/v2/seir/"
	describe := func(body, mediaType string) string {
		d := contracts.DigestOf([]byte(body))
		request(t, http.MethodPost, base+"blobs/uploads/?digest="+string(d), "application/octet-stream", []byte(body))
		return fmt.Sprintf(`{"mediaType": %q, "size": %d, "digest": %q}`, mediaType, len(body), d)
	}
	config := describe(index, "application/vnd.modelops.bundle.index.v1+json")
	var all []string
	for _, l := range layers {
		all = append(all, describe(l, "application/vnd.oci.image.layer.v1.tar"))
	}
	manifest := `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": ` + config +
		`, "layers": [` + strings.Join(all, ", ") + `]}`
	request(t, http.MethodPut, base+"manifests/latest", "application/vnd.oci.image.manifest.v1+json", []byte(manifest))
	return contracts.DigestOf([]byte(manifest))
}

func pythonIndex(t *testing.T, files map[string]string) string {
	t.Helper()
	entries := map[string]any{}
	for p, body := range files {
		entries[p] = map[string]any{"path": p, "digest": contracts.DigestOf([]byte(body)), "size": len(body), "storage": "oci", "mediaType": nil, "blobRef": nil}
	}
	raw, err := json.MarshalIndent(map[string]any{
		"version": "1.0", "created": "2026-01-01T00:00:00.000001Z", "metadata": map[string]string{},
		"tool": map[string]string{"name": "modelops-bundle", "version": "0.1.0"}, "files": entries,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestPythonBundle(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	big := strings.Repeat("0123456789abcdef", 3<<17) // 6 MiB
	huge := strings.Repeat("x", 17<<20)              // larger than any blob of ours
	files := map[string]string{"b.py": "x\n", "a/__init__.py": "", "a/b/__init__.py": "", "big": big, "copy": big, "huge": huge}
	d := pushPython(t, registry, pythonIndex(t, files), huge, "", big, "x\n", "", big)
	b, err := open(t, registry.Environment(), "seir").Fetch(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := b.Index.Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.ParseIndex(stored.Bytes()); err != nil { // as a cache keeps it
		t.Error(err)
	}
	if _, err := b.Verify(context.Background(), nil); err != nil {
		t.Error(err)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := b.Extract(context.Background(), root); err != nil {
		t.Fatal(err)
	}
	for p, want := range files {
		if got, err := root.ReadFile(p); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", p, len(got), err)
		}
	}
	registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, string(contracts.DigestOf([]byte(big)))) {
			return false
		}
		_, _ = w.Write([]byte("y" + big[1:]))
		return true
	})
	if _, err := b.Verify(context.Background(), nil); code(err) != contracts.CodeIntegrity {
		t.Errorf("spoiled: %v", err)
	}
}

func TestHostilePythonIndexes(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := open(t, registry.Environment(), "seir")
	good := pythonIndex(t, map[string]string{"a.py": "abcd"})
	if _, err := repo.Fetch(context.Background(), pushPython(t, registry, good, "abcd")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"version":        {`"1.0"`, `"2.0"`},
		"leaves":         {"a.py", "../a.py"},
		"key and path":   {`"path": "a.py"`, `"path": "b.py"`},
		"negative":       {`"size": 4`, `"size": -1`},
		"too large":      {`"size": 4`, `"size": 9223372036854775808`},
		"size":           {`"size": 4`, `"size": 5`},
		"storage":        {`"oci"`, `"both"`},
		"blob storage":   {`"oci"`, `"blob"`},
		"mode":           {`"size": 4`, `"size": 4, "mode": "4755"`},
		"link":           {`"size": 4`, `"size": 4, "type": "symlink"`},
		"not a layer":    {"sha256:", "sha256:0"},
		"reserved":       {"a.py", "CON"},
		"no digest":      {`"digest"`, `"other"`},
		"not an index":   {"{", "["},
		"absolute":       {"a.py", "/a.py"},
		"of the project": {"a.py", ".modelops-bundle/config.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			index := strings.ReplaceAll(good, change[0], change[1])
			_, err := repo.Fetch(context.Background(), pushPython(t, registry, index, "abcd"))
			if c := code(err); c != contracts.CodeInvalidBundle && c != contracts.CodeUnsupported {
				t.Errorf("%s %v", c, err)
			}
		})
	}
}
