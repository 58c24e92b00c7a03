//go:build unix

package owned

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestDirectory(t *testing.T) {
	base := t.TempDir()
	for name, prepare := range map[string]func() (string, error){
		"the root itself": func() (string, error) {
			root := filepath.Join(base, "open")
			return root, errors.Join(os.Mkdir(root, 0o700), os.Chmod(root, 0o777))
		},
		"its parent": func() (string, error) {
			parent := filepath.Join(base, "parent")
			return filepath.Join(parent, "root"), errors.Join(os.Mkdir(parent, 0o700), os.Chmod(parent, 0o777))
		},
		"a file": func() (string, error) {
			root := filepath.Join(base, "file")
			return root, os.WriteFile(root, nil, 0o600)
		},
	} {
		root, err := prepare()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Directory(root, "X"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	shared := filepath.Join(base, "sticky")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777|fs.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	if _, err := Directory(filepath.Join(shared, "ours"), "X"); err != nil {
		t.Errorf("ours in a sticky directory: %v", err)
	}
}
