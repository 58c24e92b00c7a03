package blobstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/blobstoretest"
)

func openDir(t *testing.T, dir, prefix string) blobstore.Store {
	t.Helper()
	s, err := blobstore.OpenDir(dir, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDirectory(t *testing.T) {
	for _, prefix := range []string{"", "team/seir"} {
		blobstoretest.Run(t, func(t *testing.T) func() blobstore.Store {
			dir := filepath.Join(t.TempDir(), "not", "yet")
			return func() blobstore.Store { return openDir(t, dir, prefix) }
		})
	}
}

func code(err error) contracts.Code {
	if err == nil {
		return ""
	}
	return contracts.AsError(err).Code
}

func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		storage *contracts.Storage
		code    contracts.Code
		says    string
	}{
		"none":  {nil, contracts.CodeUnsupported, "mops infra up"},
		"azure": {&contracts.Storage{Provider: "azure", Container: "bundle-blobs"}, contracts.CodeUnsupported, "minio, fs"},
		"fs":    {&contracts.Storage{Provider: "fs", Container: filepath.Join(t.TempDir(), "s")}, "", ""},
		"relative": {&contracts.Storage{Provider: "fs", Container: "storage"},
			contracts.CodeInvalidEnvironment, "absolute"},
	} {
		_, err := blobstore.Open(&contracts.BundleEnvironment{Environment: "dev", Storage: c.storage}, blobstore.Openers{"minio": nil})
		if code(err) != c.code {
			t.Errorf("%s: err = %v, want code %q", name, err, c.code)
		}
		if err != nil {
			if e := contracts.AsError(err); !strings.Contains(e.Message+" "+e.Hint, c.says) {
				t.Errorf("%s: %q and %q do not say %q", name, e.Message, e.Hint, c.says)
			}
		}
	}
}

// A container is absent, empty, or ours; looking at it makes nothing.
func TestContainer(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	s := openDir(t, absent, "")
	for range s.List(t.Context(), "") {
		t.Error("an absent container lists something")
	}
	if _, err := os.Stat(absent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading made the container: %v", err)
	}
	if err := s.Create(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	openDir(t, absent, "") // ours now

	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.docx"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blobstore.OpenDir(foreign, ""); code(err) != contracts.CodeInvalidEnvironment || !strings.Contains(err.Error(), "thesis.docx") {
		t.Errorf("a directory with other files: %v", err)
	}
	if _, err := blobstore.OpenDir(filepath.Join(foreign, "thesis.docx"), ""); code(err) != contracts.CodeInvalidEnvironment {
		t.Errorf("a file: %v", err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, ".modelops-storage"), []byte(`{"format":"modelops-storage","version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blobstore.OpenDir(newer, ""); code(err) != contracts.CodeUnsupported {
		t.Errorf("a newer container: %v", err)
	}
}

// Links inside the container lead nowhere outside, for reading and for writing.
func TestDirectoryStaysInside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := openDir(t, dir, "")
	if err := s.Create(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if data, err := blobstore.Read(t.Context(), s, "link/secret", 100); err == nil {
		t.Errorf("read %q through a link", data)
	}
	if err := s.Put(t.Context(), "link/planted", strings.NewReader("x")); err == nil {
		t.Error("wrote through a link")
	}
	for entry, err := range s.List(t.Context(), "") {
		if err != nil || strings.HasPrefix(entry.Key, "link") {
			t.Errorf("List = %v, %v", entry, err)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside has %v, %v", entries, err)
	}
}

// The store's files have the permissions of its container.
func TestDirectoryPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has none of these bits
	}
	for want, dirMode := range map[string]os.FileMode{"-rw-------": 0o700, "-rw-rw----": 0o770} {
		dir := t.TempDir()
		if err := os.Chmod(dir, dirMode); err != nil {
			t.Fatal(err)
		}
		if err := openDir(t, dir, "").Create(t.Context(), "a/b", nil); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "a", "b"))
		if err != nil || info.Mode().String() != want {
			t.Errorf("mode = %v, %v; want %s", info.Mode(), err, want)
		}
	}
}

// Nothing stays behind in the staging directory.
func TestDirectoryStaging(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir, "")
	for range 3 {
		_ = s.Create(t.Context(), "k", []byte("x"))
		_ = s.Put(t.Context(), "l", strings.NewReader("x"))
	}
	entries, err := os.ReadDir(filepath.Join(dir, ".staging"))
	if err != nil || len(entries) > 0 {
		t.Errorf("staging has %v, %v", entries, err)
	}
}

// Of many who make a directory a container, and write to it at once, nobody takes what
// another one wrote for somebody else's.
func TestDirectoryMadeTogether(t *testing.T) {
	for range 50 {
		dir := filepath.Join(t.TempDir(), "container")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s, err := blobstore.OpenDir(dir, "")
				if err == nil {
					err = s.Put(t.Context(), fmt.Sprint("k", i), strings.NewReader("content"))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
