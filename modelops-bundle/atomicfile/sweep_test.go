package atomicfile_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// Only what a killed writer of this very file left is removed, and nothing that is young.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "[dev].yaml")
	old := time.Now().Add(-time.Hour)
	for name, at := range map[string]time.Time{
		"[dev].yaml": old, ".[dev].yaml.123.tmp": old, ".[dev].yaml.456.tmp": time.Now(), ".d.yaml.1.tmp": old, ".[dev].yaml.swp": old, "[dev].yaml.1.tmp": old,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.Sweep(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if want := []string{".[dev].yaml.456.tmp", ".[dev].yaml.swp", ".d.yaml.1.tmp", "[dev].yaml", "[dev].yaml.1.tmp"}; !slices.Equal(left, want) {
		t.Errorf("left are %q", left)
	}
	if err := atomicfile.Sweep(filepath.Join(dir, "none", "x")); err != nil {
		t.Error(err)
	}
}
