package bundle

import (
	"os"
	"path/filepath"
	"testing"
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
