//go:build unix

package cache

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

// A bundle that the Python suite pushed is kept and verified like any other.
func TestPythonBundle(t *testing.T) {
	n := newNode(t)
	send := func(method, path, mediaType, body string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+n.registry.Host+"/v2/team/seir/"+path, bytes.NewReader([]byte(body)))
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
	large := strings.Repeat("0123456789abcdef", 1<<17)
	d := contracts.DigestOf([]byte(large))
	index := fmt.Sprintf(`{"version": "1.0", "files": {"d/large.bin": {"path": "d/large.bin", "digest": %q, "size": %d, "storage": "oci"}}}`, d, len(large))
	di := contracts.DigestOf([]byte(index))
	send(http.MethodPost, "blobs/uploads/?digest="+string(d), "application/octet-stream", large)
	send(http.MethodPost, "blobs/uploads/?digest="+string(di), "application/octet-stream", index)
	const image = "application/vnd.oci.image.manifest.v1+json"
	manifest := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": %q, "config": {"mediaType": "application/vnd.modelops.bundle.index.v1+json", "size": %d, "digest": %q}, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": %d, "digest": %q}]}`,
		image, len(index), di, len(large), d)
	send(http.MethodPut, "manifests/python", image, manifest)
	n.ref.Digest = contracts.DigestOf([]byte(manifest))

	e := n.ensure()
	if got, err := os.ReadFile(filepath.Join(e.Path, "d", "large.bin")); err != nil || string(got) != large {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	c, err := Open(n.root)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(context.Background(), n.ref.Digest); err != nil {
		t.Error(err)
	}
	if err := rewrite(e.Path, "d/large.bin", func(data []byte) []byte { data[0] = 'x'; return data }); err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(context.Background(), n.ref.Digest); err == nil {
		t.Error("a changed file was verified")
	}
}
