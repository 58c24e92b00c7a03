package bundletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// PushPython pushes the files as the Python suite does, to the tag "latest": an index with
// the time in it, a raw layer for each file in any order, and manifest text with blanks.
func PushPython(t testing.TB, r *Registry, repository string, files Files) contracts.BundleRef {
	t.Helper()
	entries := map[string]any{}
	var layers []string
	for path, content := range files {
		d := r.putBlob(t, repository, content)
		entries[path] = map[string]any{"path": path, "digest": d, "size": len(content), "storage": "oci", "mediaType": nil, "blobRef": nil}
		layers = append(layers, fmt.Sprintf(`{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": %d, "digest": %q, "annotations": {"org.opencontainers.image.title": %q}}`, len(content), d, path))
	}
	slices.Sort(layers)
	rand.Shuffle(len(layers), func(i, j int) { layers[i], layers[j] = layers[j], layers[i] })
	index, err := json.MarshalIndent(map[string]any{
		"version": "1.0", "created": time.Now().UTC().Format("2006-01-02T15:04:05.000000") + "Z", "metadata": map[string]string{},
		"tool": map[string]string{"name": "modelops-bundle", "version": "0.1.0"}, "files": entries,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	config := r.putBlob(t, repository, string(index))
	manifest := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", `+
		`"config": {"mediaType": "application/vnd.modelops.bundle.index.v1+json", "size": %d, "digest": %q}, "layers": [%s]}`,
		len(index), config, strings.Join(layers, ", "))
	r.put(t, http.MethodPut, repository+"/manifests/latest", "application/vnd.oci.image.manifest.v1+json", manifest)
	return contracts.BundleRef{Repository: repository, Digest: contracts.DigestOf([]byte(manifest))}
}

func (r *Registry) putBlob(t testing.TB, repository, content string) contracts.Digest {
	t.Helper()
	d := contracts.DigestOf([]byte(content))
	r.put(t, http.MethodPost, repository+"/blobs/uploads/?digest="+string(d), "application/octet-stream", content)
	return d
}

func (r *Registry) put(t testing.TB, method, path, mediaType, content string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+r.Host+"/v2/"+path, bytes.NewReader([]byte(content)))
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
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}
