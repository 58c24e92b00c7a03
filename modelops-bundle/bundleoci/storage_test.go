package bundleoci_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/provider"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3test"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// environmentOf is an environment of the registry with a storage of its own; nil for none.
func environmentOf(registry *bundletest.Registry, name string, storage *contracts.Storage) *contracts.BundleEnvironment {
	env := registry.Environment()
	env.Environment, env.Storage = name, storage
	return env
}

func directory(t *testing.T) *contracts.Storage {
	return &contracts.Storage{Provider: "fs", Container: filepath.Join(t.TempDir(), "storage")}
}

func openPlace(t *testing.T, env *contracts.BundleEnvironment) *bundleoci.Repository {
	t.Helper()
	r, err := bundleoci.Open(env, "seir", bundleoci.Options{Storage: func() (blobstore.Store, error) { return provider.Open(env, provider.Limits{}) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pushBy pushes a directory by the rules.
func pushBy(t *testing.T, r *bundleoci.Repository, dir string, rules contracts.ProjectStorage) (*bundleoci.PushResult, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := bundle.Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	bundle.Place(sources, rules)
	return r.Push(context.Background(), root, sources, bundleoci.PushOptions{Tag: "latest", Force: true})
}

func mustPushBy(t *testing.T, r *bundleoci.Repository, dir string, rules contracts.ProjectStorage) *bundleoci.PushResult {
	t.Helper()
	result, err := pushBy(t, r, dir, rules)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// extracted pulls into a new directory and compares it with another.
func extracted(t *testing.T, r *bundleoci.Repository, d contracts.Digest, like string) error {
	t.Helper()
	b, err := r.Fetch(context.Background(), d)
	if err != nil {
		return err
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := b.Extract(context.Background(), root); err != nil {
		return err
	}
	if diff := cmp.Diff(digestsIn(t, like), digestsIn(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = b.Verify(context.Background(), nil)
	return err
}

// digestsIn is the files of a directory, with the digests of their bytes.
func digestsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(contracts.DigestOf(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func random(t *testing.T, size int) string {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// study is a project with small files and one of 3 MiB.
func study(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bundletest.Files{"a.py": "print(1)\n", "data/big.bin": random(t, 3<<20), "data/small.csv": "1,2\n", "run*": "#!/bin/sh\n"}.Write(t, dir)
	return dir
}

var auto = contracts.ProjectStorage{Mode: "auto", ThresholdBytes: 2 << 20}

// Wherever its bytes are, a bundle has the same content and the same index; the layers
// say where.
func TestStorageModes(t *testing.T) {
	azurite, server := azuritetest.Start(t), s3test.Start(t)
	emulator := &contracts.Storage{Provider: "azurite", Container: "bundle-blobs", Prefix: "team", ConnectionString: contracts.Secret(azurite.ConnectionString())}
	emulated, err := azure.Open(emulator, azure.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bucket := server.Bucket("bundle-blobs")
	served, err := s3.Open(bucket, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(emulated.Make(t.Context()), served.Make(t.Context())); err != nil {
		t.Fatal(err)
	}
	dir := study(t)
	registry := bundletest.NewRegistry(t)
	base := mustPushBy(t, openPlace(t, environmentOf(registry, "none", nil)), dir, contracts.ProjectStorage{})
	for name, storage := range map[string]*contracts.Storage{"fs": directory(t), "azurite": emulator, "s3": bucket} {
		t.Run(name, func(t *testing.T) {
			r := openPlace(t, environmentOf(registry, name, storage))
			digests := map[contracts.Digest]string{base.Ref.Digest: "oci-only"}
			for _, rules := range []contracts.ProjectStorage{auto, {Mode: "blob-only"}} {
				result := mustPushBy(t, r, dir, rules)
				if other := digests[result.Ref.Digest]; other != "" {
					t.Errorf("%s has the bundle digest of %s", rules.Mode, other)
				}
				digests[result.Ref.Digest] = rules.Mode
				if result.Index.Content != base.Index.Content || result.BytesStored == 0 {
					t.Errorf("%s: content %s, want %s; %d bytes stored", rules.Mode, result.Index.Content, base.Index.Content, result.BytesStored)
				}
				if err := extracted(t, r, result.Ref.Digest, dir); err != nil {
					t.Errorf("%s: %v", rules.Mode, err)
				}
				if again := mustPushBy(t, r, dir, rules); !again.Unchanged || again.BytesUploaded != 0 {
					t.Errorf("%s again: %d bytes uploaded", rules.Mode, again.BytesUploaded)
				}
				b, err := r.Fetch(t.Context(), result.Ref.Digest)
				if err != nil {
					t.Fatal(err)
				}
				stored, err := b.Index.Seal(nil)
				if err != nil {
					t.Fatal(err)
				}
				if want, _ := base.Index.Seal(nil); stored.Digest != want.Digest {
					t.Errorf("%s has another index", rules.Mode)
				}
				for _, f := range b.Index.Files {
					want := "registry"
					if f.Path == "data/big.bin" || rules.Mode == "blob-only" {
						want = "storage"
					}
					if got := b.Where(f); got != want {
						t.Errorf("%s: %s is in the %s", rules.Mode, f.Path, got)
					}
				}
			}
		})
	}
}

// A blob that a file of the registry has too is a layer, whichever file comes first.
func TestStorageSharedChunks(t *testing.T) {
	same := random(t, 3<<20)
	for name, files := range map[string]bundletest.Files{
		"registry first": {"a.bin": same, "b.dat": same},
		"storage first":  {"a.dat": same, "b.bin": same},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files.Write(t, dir)
			registry := bundletest.NewRegistry(t)
			rules := contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"*.bin"}}
			result := mustPushBy(t, openPlace(t, environmentOf(registry, "dev", directory(t))), dir, rules)
			if err := extracted(t, openPlace(t, environmentOf(registry, "dev", nil)), result.Ref.Digest, dir); err != nil {
				t.Errorf("without storage: %v", err)
			}
		})
	}
}

// The environment decides where the storage is: what one does not have is sent there, also
// when the registry has the bundle already.
func TestStorageOfAnotherEnvironment(t *testing.T) {
	dir := study(t)
	registry := bundletest.NewRegistry(t)
	one, two := openPlace(t, environmentOf(registry, "one", directory(t))), openPlace(t, environmentOf(registry, "two", directory(t)))
	first := mustPushBy(t, one, dir, auto)
	err := extracted(t, two, first.Ref.Digest, dir)
	if code(err) != contracts.CodeNotFound || !strings.Contains(err.Error(), "data/big.bin") || !strings.Contains(err.Error(), "environment two") {
		t.Errorf("in an environment that lacks it: %v", err)
	}
	err = extracted(t, openPlace(t, environmentOf(registry, "bare", nil)), first.Ref.Digest, dir)
	if code(err) != contracts.CodeNotFound || !strings.Contains(err.Error(), "has no storage") {
		t.Errorf("in an environment without storage: %v", err)
	}
	second := mustPushBy(t, two, dir, auto)
	if second.Ref != first.Ref || !second.Unchanged || second.BytesStored != first.BytesStored {
		t.Errorf("the second push: %+v", second)
	}
	if err := extracted(t, two, first.Ref.Digest, dir); err != nil {
		t.Error(err)
	}
}

// A project that needs a storage is refused where there is none, before anything is sent.
func TestStorageRefused(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	r := openPlace(t, environmentOf(registry, "bare", nil))
	_, err := pushBy(t, r, study(t), auto)
	if code(err) != contracts.CodeUnsupported || !strings.Contains(err.Error(), "data/big.bin") {
		t.Errorf("%v", err)
	}
	for _, request := range registry.Requests() {
		if !strings.HasPrefix(request, "GET ") && !strings.HasPrefix(request, "HEAD ") {
			t.Errorf("sent %s", request)
		}
	}
	small := t.TempDir()
	bundletest.Files{"a": "1"}.Write(t, small)
	if _, err := pushBy(t, r, small, auto); err != nil {
		t.Errorf("without a large file: %v", err)
	}
}

// What the storage gives is held against its digest, and what has not its size is sent
// again.
func TestStorageDamaged(t *testing.T) {
	dir, storage := study(t), directory(t)
	registry := bundletest.NewRegistry(t)
	r := openPlace(t, environmentOf(registry, "dev", storage))
	result := mustPushBy(t, r, dir, auto)
	b, err := r.Fetch(t.Context(), result.Ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(storage.Container, filepath.FromSlash(b.StorageBlobs()[0].Key))
	data, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	data[7] ^= 1
	if err := os.WriteFile(object, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := extracted(t, r, result.Ref.Digest, dir); code(err) != contracts.CodeIntegrity {
		t.Errorf("damaged: %v", err)
	}
	if err := os.WriteFile(object, data[:9], 0o600); err != nil {
		t.Fatal(err)
	}
	if again := mustPushBy(t, r, dir, auto); again.BytesStored == 0 {
		t.Error("an object that is too short was taken for the blob")
	}
	if err := extracted(t, r, result.Ref.Digest, dir); err != nil {
		t.Error(err)
	}
}
