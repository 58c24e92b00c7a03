package bundleoci_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/provider"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/ocilayout"
)

// Files that the Python suite put into blob storage come from the environment's, at the
// key of their digest, whatever their pointers say.
func TestPythonBlobs(t *testing.T) {
	connection := azuritetest.Start(t).ConnectionString()
	storage := &contracts.Storage{Provider: "azurite", Container: "bundle-blobs", Prefix: "blobs", ConnectionString: contracts.Secret(connection)}
	made, err := azure.Open(storage, azure.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Make(context.Background()); err != nil {
		t.Fatal(err)
	}
	registry := bundletest.NewRegistry(t)
	env := environmentOf(registry, "dev", storage)
	store, err := provider.Open(env, provider.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("0123456789abcdef", 3<<16)
	hex := contracts.DigestOf([]byte(large)).Hex()
	key := hex[:2] + "/" + hex[2:4] + "/" + hex
	if err := store.Put(context.Background(), key, strings.NewReader(large)); err != nil {
		t.Fatal(err)
	}
	d := pushPython(t, registry, blobIndex(t, map[string]string{"large": large}, map[string]string{"a.py": "x\n"}, "azure://elsewhere/aa/bb/cc"), "x\n")
	b, err := openPlace(t, env).Fetch(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	hasFiles(t, b, map[string]string{"large": large, "a.py": "x\n"})
	if blobs := b.StorageBlobs(); len(blobs) != 1 || blobs[0].Key != key {
		t.Errorf("%v", blobs)
	}

	// Without a storage it is refused, with every file; and with one that lacks it, too.
	_, err = open(t, registry.Environment(), "seir").Fetch(context.Background(), d)
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeUnsupported || len(e.Problems) != 1 || e.Problems[0].Field != "large" {
		t.Errorf("without a storage: %v", err)
	}
	other, err := openPlace(t, environmentOf(registry, "other", directory(t))).Fetch(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Verify(context.Background(), nil); code(err) != contracts.CodeNotFound || !strings.Contains(err.Error(), key) {
		t.Errorf("another storage: %v", err)
	}

	// It is carried elsewhere with its blobs.
	path := filepath.Join(t.TempDir(), "one.tar")
	if _, err := b.Export(context.Background(), path, "latest", nil); err != nil {
		t.Fatal(err)
	}
	far := openPlace(t, environmentOf(bundletest.NewRegistry(t), "far", directory(t)))
	importTar(t, far, path)
	there, err := far.Fetch(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	hasFiles(t, there, map[string]string{"large": large, "a.py": "x\n"})

	// Other bytes at the key are noticed.
	if err := store.Put(context.Background(), key, strings.NewReader("y"+large[1:])); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(context.Background(), nil); code(err) != contracts.CodeIntegrity {
		t.Errorf("spoiled: %v", err)
	}
}

// Pointers that the Python suite does not write are refused, also where there is a storage.
func TestPythonBlobPointers(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	repo := openPlace(t, environmentOf(registry, "dev", directory(t)))
	for _, uri := range []string{"", "http://169.254.169.254/metadata", "azure://bundle-blobs/x?sv=2024&sig=SECRET", "fs:///a\r\nb", "/etc/shadow"} {
		d := pushPython(t, registry, blobIndex(t, map[string]string{"w": "data"}, nil, uri))
		if _, err := repo.Fetch(context.Background(), d); code(err) != contracts.CodeInvalidBundle {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

func blobIndex(t *testing.T, blobs, layers map[string]string, uri string) string {
	t.Helper()
	entries := map[string]any{}
	for p, body := range layers {
		entries[p] = map[string]any{"path": p, "digest": contracts.DigestOf([]byte(body)), "size": len(body), "storage": "oci", "blobRef": nil}
	}
	for p, body := range blobs {
		entries[p] = map[string]any{"path": p, "digest": contracts.DigestOf([]byte(body)), "size": len(body), "storage": "blob", "blobRef": map[string]any{"uri": uri, "etag": nil}}
	}
	raw, err := json.Marshal(map[string]any{"version": "1.0", "files": entries})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func hasFiles(t *testing.T, b *bundleoci.Bundle, files map[string]string) {
	t.Helper()
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
}

func importTar(t *testing.T, to *bundleoci.Repository, path string) {
	t.Helper()
	layout, err := ocilayout.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer layout.Close()
	b, err := bundleoci.FromLayout(context.Background(), layout, layout.Entries[0].Entry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Import(context.Background(), b, bundleoci.PushOptions{Tag: "latest"}); err != nil {
		t.Fatal(err)
	}
}
