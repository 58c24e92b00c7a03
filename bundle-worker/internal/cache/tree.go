//go:build unix

package cache

import (
	"io/fs"
	"os"
	"path/filepath"
)

// seal makes a tree read-only, but for its top, which is yet to be moved, and flushes it
// to the disk.
func seal(tree string) error {
	err := filepath.WalkDir(tree, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || p == tree {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o444)
		if entry.IsDir() || info.Mode()&0o100 != 0 {
			mode = 0o555
		}
		return os.Chmod(p, mode)
	})
	if err != nil {
		return err
	}
	return flush(tree)
}

// removeTree deletes a tree whose directories may be read-only.
func removeTree(tree string) {
	_ = filepath.WalkDir(tree, func(p string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(tree)
}
