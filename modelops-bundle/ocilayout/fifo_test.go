//go:build unix

package ocilayout_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/ocilayout"
)

// A pipe in the place of a blob is refused, and not waited for.
func TestPipe(t *testing.T) {
	one, _ := image("v1", "first")
	dir := t.TempDir()
	if _, err := ocilayout.WriteDir(t.Context(), dir, one); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs/sha256", digest.FromString("first").Encoded())
	if err := errors.Join(os.Remove(blob), syscall.Mkfifo(blob, 0o600)); err != nil {
		t.Fatal(err)
	}
	l, err := ocilayout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if f, err := l.Blob(t.Context(), contracts.DigestOf([]byte("first")), 5); err == nil {
		f.Close()
		t.Error("it was opened")
	}
}
