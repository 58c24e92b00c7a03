package bundle

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

// TestExtractOverOlder fetches what changed in a large file, and nothing that is here.
func TestExtractOverOlder(t *testing.T) {
	old := random(1, 24<<20)
	content := old[:12<<20] + "inserted" + old[12<<20:]
	x, blobs := build(t, files{"big.bin": content}.write(t))
	for name, spoil := range map[string]bool{"as it was": false, "changed since": true} {
		t.Run(name, func(t *testing.T) {
			older := files{"big.bin": old}.write(t)
			here, _ := build(t, older)
			if spoil {
				if err := os.WriteFile(filepath.Join(older, "big.bin"), []byte(random(2, 24<<20)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			from, err := os.OpenRoot(older)
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			dir := t.TempDir()
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			seen := &tally{}
			fetched, err := x.ExtractFiles(t.Context(), root, blobs, ExtractOptions{Local: &Local{from, here}, Progress: seen})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "big.bin")); err != nil || string(got) != content {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if !spoil && (fetched > 16<<20 || seen.skipped.bytes+fetched < int64(len(content))) || spoil && fetched < int64(len(content)) {
				t.Errorf("%d bytes were fetched, %d taken", fetched, seen.skipped.bytes)
			}
		})
	}
}

// TestExtractSmallOverOlder fetches the packs that have something new, whatever the older
// directory's index says that it has.
func TestExtractSmallOverOlder(t *testing.T) {
	content := files{"large.csv": text(500, 3<<20)}
	for i := range 60 {
		content[fmt.Sprintf("data/%02d.csv", i)] = text(uint64(i), 100_000)
	}
	old := maps.Clone(content)
	old["moved/elsewhere.csv"] = old["data/00.csv"]
	delete(old, "data/00.csv")
	content["data/33.csv"] = text(1000, 100_000)
	for name, c := range map[string]struct {
		spoil string // in the older directory, without its index knowing
		packs int    // that are fetched
	}{
		"one file edited": {packs: 1},
		"one poisoned":    {spoil: "data/50.csv", packs: 2},
		"one gone":        {spoil: "-data/50.csv", packs: 2},
		"the edited one":  {spoil: "data/33.csv", packs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, whole := range []bool{false, true} {
				x, blobs := build(t, content.write(t))
				dir := old.write(t)
				here, _ := build(t, dir)
				if whole {
					x, blobs = wholeFiles(t, content)
					here, _ = wholeFiles(t, old)
				}
				if file, gone := strings.CutPrefix(c.spoil, "-"); gone {
					if err := os.Remove(filepath.Join(dir, file)); err != nil {
						t.Fatal(err)
					}
				} else if file != "" {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Repeat("x", len(old[file]))), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				got := t.TempDir()
				stored, packs := extractOver(t, x, blobs, got, &Local{openRoot(t, dir), here})
				for file, want := range content {
					if data, err := os.ReadFile(filepath.Join(got, file)); err != nil || string(data) != want {
						t.Errorf("%s has other bytes: %v", file, err)
					}
				}
				if packs != c.packs || stored == 0 {
					t.Errorf("%d blobs were fetched with %d bytes, want %d (whole files: %v)", packs, stored, c.packs, whole)
				}
			}
		})
	}
}

// wholeFiles is an index of the Python suite's format, and its blobs.
func wholeFiles(t *testing.T, content files) (*Index, *memory) {
	t.Helper()
	store := newMemory()
	var list []File
	for _, path := range slices.Sorted(maps.Keys(content)) {
		data := []byte(content[path])
		digest := contracts.DigestOf(data)
		store.blobs[digest] = data
		list = append(list, File{Path: path, Mode: Regular, Size: int64(len(data)), Digest: digest})
	}
	x, err := WholeFiles(list)
	if err != nil {
		t.Fatal(err)
	}
	return x, store
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// extractOver extracts all, and says how many bytes and blobs it fetched for that.
func extractOver(t *testing.T, x *Index, blobs *memory, dir string, local *Local) (stored int64, fetched int) {
	t.Helper()
	from := &counted{memory: blobs}
	stored, err := x.ExtractFiles(t.Context(), openRoot(t, dir), from, ExtractOptions{Local: local})
	if err != nil {
		t.Fatal(err)
	}
	return stored, int(from.n.Load())
}

type counted struct {
	*memory
	n atomic.Int64
}

func (c *counted) Fetch(ctx context.Context, blob Blob) (io.ReadCloser, error) {
	c.n.Add(1)
	return c.memory.Fetch(ctx, blob)
}
