//go:build unix

package cache

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// TestEnsureAfterEdit has a bundle whose earlier version is in the cache fetched: its
// manifest, its index, and the one pack with the file that was edited; and another where
// the earlier version's files are not what its record says.
func TestEnsureAfterEdit(t *testing.T) {
	for name, spoil := range map[string]string{"as it was": "", "poisoned": "src/m120.bin"} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			files := bundletest.Files{}
			for i := range 300 {
				data := make([]byte, 40_000)
				_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), 2}).Read(data)
				files[fmt.Sprintf("src/m%03d.bin", i)] = string(data)
			}
			n.ref = bundletest.Push(t, n.registry, "team/seir", files)
			whole := n.ensure().BytesFetched
			if spoil != "" {
				poison(t, filepath.Join(n.root, "bundles", n.ref.Digest.Short(), spoil))
			}
			edited := maps.Clone(files)
			edited["src/m007.bin"] = strings.Repeat("edited", 7000)
			n.ref = bundletest.Push(t, n.registry, "team/seir", edited)
			n.registry.Requests()
			e := n.ensure()
			n.mustAsk(map[string]int{"/manifests/": 1, "/blobs/": map[bool]int{true: 2, false: 3}[spoil == ""]}) // the index, and a pack or two
			n.whole(e.Path)
			t.Logf("%d bytes of %d were fetched", e.BytesFetched, whole)
			if e.BytesFetched == 0 || e.BytesFetched > whole/2 {
				t.Errorf("%d bytes of %d were fetched", e.BytesFetched, whole)
			}
		})
	}
}

// mustAsk holds the registry's log against how many requests have something in their path.
func (n *testNode) mustAsk(want map[string]int) {
	n.t.Helper()
	log := n.registry.Requests()
	for part, count := range want {
		got := 0
		for _, request := range log {
			if strings.Contains(request, part) {
				got++
			}
		}
		if got != count {
			n.t.Errorf("%d requests have %s, want %d: %s", got, part, count, log)
		}
	}
}

// poison changes a file's bytes, and has it look as it did as far as anybody but root can.
func poison(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	if err == nil {
		err = os.Chmod(file, 0o600)
	}
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Repeat("x", int(info.Size()))), 0o600)
	}
	if err == nil {
		err = os.Chmod(file, info.Mode())
	}
	if err == nil {
		err = os.Chtimes(file, info.ModTime(), info.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
}
