//go:build unix

package guard

import (
	"errors"
	"io/fs"
	"os"
)

// RemoveAll removes a directory tree, including what user code made unwritable in it.
func RemoveAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	unlock(dir)
	return os.RemoveAll(dir)
}

// unlock makes the directories of a tree writable, as far as that can be done.
func unlock(dir string) {
	_ = os.Chmod(dir, 0o700) // before it is read
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if entry.IsDir() {
			unlock(dir + "/" + entry.Name())
		}
	}
}
