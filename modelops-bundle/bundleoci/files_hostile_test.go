package bundleoci_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

type hostileRow struct {
	ID       string
	Verdict  string
	Why      string
	Raw      *string
	Manifest json.RawMessage
	Index    json.RawMessage
}

func hostileRows(t *testing.T, name string) []hostileRow {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "hostile", name))
	if err != nil {
		t.Fatal(err)
	}
	var rows []hostileRow
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// read serves a manifest and what it may refer to, whatever they are, and reads every byte
// of the bundle.
func read(t *testing.T, manifest string, blobs ...string) error {
	t.Helper()
	registry := bundletest.NewRegistry(t)
	served := map[string]string{}
	for _, b := range blobs {
		served["/v2/seir/blobs/"+string(contracts.DigestOf([]byte(b)))] = b
	}
	d := contracts.DigestOf([]byte(manifest))
	served["/v2/seir/manifests/"+string(d)] = manifest
	registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		body, ok := served[r.URL.Path]
		if ok {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", string(contracts.DigestOf([]byte(body))))
			_, _ = w.Write([]byte(body))
		}
		return ok
	})
	b, err := open(t, registry.Environment(), "seir").Fetch(context.Background(), d)
	if err != nil {
		return err
	}
	_, err = b.Verify(context.Background(), nil)
	return err
}

func judge(t *testing.T, row hostileRow, err error) {
	t.Helper()
	switch {
	case row.Verdict == "accept" && err != nil:
		t.Errorf("%s: %v", row.Why, err)
	case row.Verdict == "reject" && err == nil:
		t.Errorf("%s: taken", row.Why)
	case err != nil && code(err) == contracts.CodeInternal:
		t.Errorf("%s: %v", row.Why, err)
	}
}

// TestHostileFilesManifests puts the manifests of the table in the files format's terms.
func TestHostileFilesManifests(t *testing.T) {
	index := pythonIndex(t, map[string]string{"src/model.py": "data"})
	inFormat := strings.NewReplacer(
		"application/vnd.modelops.bundle.index+json", "application/vnd.modelops.bundle.index.v1+json",
		string(contracts.DigestOf([]byte("{}"))), string(contracts.DigestOf([]byte(index))),
		`"size": 2}`, fmt.Sprintf(`"size": %d}`, len(index)),
	)
	const titles, layers = "the index has the paths; titles are not read", "a layer is bytes with a digest, whatever is said of it"
	other := map[string]string{
		"man014": "the format has no artifact type", "man015": "the format has no artifact type",
		"man043": titles, "man045": titles, "man046": titles, "man047": titles, "man048": titles,
		"man053": layers, "man054": layers, "man057": layers,
	}
	for _, row := range hostileRows(t, "manifests.json") {
		if row.Raw == nil && len(row.Manifest) == 0 || other[row.ID] != "" {
			continue // described rather than given, or not of this format
		}
		t.Run(row.ID, func(t *testing.T) {
			manifest := string(row.Manifest)
			if row.Raw != nil {
				manifest = *row.Raw
			}
			judge(t, row, read(t, inFormat.Replace(manifest), index, "data"))
		})
	}
}

func TestHostileFilesIndexes(t *testing.T) {
	for _, row := range hostileRows(t, "bundle_indexes.json") {
		if row.ID == "idx002" {
			continue // needs a storage: TestPythonBlobs
		}
		t.Run(row.ID, func(t *testing.T) {
			index := string(row.Index)
			if row.Raw != nil {
				index = *row.Raw
			}
			layer := `{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 4, "digest": "` + string(contracts.DigestOf([]byte("data"))) + `"}`
			if !strings.Contains(index, `"oci"`) {
				layer = ""
			}
			manifest, err := json.Marshal(map[string]any{
				"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
				"config": map[string]any{"mediaType": "application/vnd.modelops.bundle.index.v1+json", "size": len(index), "digest": contracts.DigestOf([]byte(index))},
				"layers": json.RawMessage("[" + layer + "]"),
			})
			if err != nil {
				t.Fatal(err)
			}
			judge(t, row, read(t, string(manifest), index, "data"))
		})
	}
}
