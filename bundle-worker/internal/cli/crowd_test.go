//go:build unix

package cli

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// Sixty-four processes ask for one absent bundle: the registry is asked once for each thing,
// and all have it.
func TestCrowd(t *testing.T) {
	h := newHost(t)
	ref := bundletest.Push(t, h.registry, "my-model", incompressible(4, 3<<20))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.crowd(self, 64, ref)
}

// incompressible are so many files of so many bytes each.
func incompressible(files, size int) bundletest.Files {
	content := bundletest.Files{"wire.py": noOp}
	for i := range files {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data) // it never fails
		content["data/"+strconv.Itoa(i)+".bin"] = string(data)
	}
	return content
}

// crowd has so many processes of the program ask at once for a bundle that is absent, and is
// how long it took until the last had it. Each says where it is; it is whole; and the
// registry was asked for each thing once.
func (h *host) crowd(program string, processes int, ref contracts.BundleRef) time.Duration {
	h.Helper()
	h.registry.Requests() // those of before
	cache, err := os.MkdirTemp(h.dir, "crowd")
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = runner.RemoveAll(cache) }()
	environ := append(h.environ[:len(h.environ):len(h.environ)], "MODELOPS_BUNDLES_CACHE_DIR="+cache)
	said := make([]bytes.Buffer, processes)
	errs := make([]error, processes)
	began := time.Now()
	var group sync.WaitGroup
	for i := range processes {
		group.Go(func() {
			cmd := &exec.Cmd{Path: program, Args: []string{"bundle-worker", "ensure-local", "--quiet", ref.String()}, Env: environ, Stdout: &said[i]}
			errs[i] = cmd.Run()
		})
	}
	group.Wait()
	taken := time.Since(began)
	want := filepath.Join(cache, "bundles", ref.Digest.Short()) + "\n"
	for i, err := range errs {
		if err != nil || said[i].String() != want {
			h.Fatalf("process %d: %v, %q, and not %q", i, err, said[i].String(), want)
		}
	}
	things, err := askedOnce(h.registry.Requests(), regexp.MustCompile("/(blobs|manifests)/"))
	if err != nil || things < 3 {
		h.Fatalf("%d things were asked for: %v", things, err)
	}
	verify := &exec.Cmd{Path: program, Args: []string{"bundle-worker", "cache", "verify", string(ref.Digest)}, Env: environ}
	if out, err := verify.CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
	return taken
}

// filesIn are the paths of all files below a directory of the host's.
func (h *host) filesIn(dir string) (paths []string) {
	h.Helper()
	err := filepath.WalkDir(h.path(dir), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return paths
}
