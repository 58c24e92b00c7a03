//go:build unix

package cache

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/modelops-suite/modelops-go/contracts"
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

// trusted refuses a root that somebody else could change: it, and every directory above
// it, must belong to us or to the system, and be writable by nobody else (a sticky
// directory, such as /tmp, is shared and still protects what is ours in it).
func trusted(root string) error {
	for dir, own := root, true; ; dir, own = filepath.Dir(dir), false {
		info, err := os.Lstat(dir)
		if err != nil {
			return failed("cache directory cannot be read", err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		problem := ""
		switch uid := int(stat.Uid); {
		case !info.IsDir():
			problem = "is not a directory"
		case uid != os.Geteuid() && (own || uid != 0):
			problem = "belongs to another user"
		case info.Mode()&0o022 != 0 && (own || info.Mode()&fs.ModeSticky == 0):
			problem = "may be written by others"
		}
		if problem != "" {
			return &contracts.Error{
				Code: contracts.CodeDenied, Stage: contracts.StagePull,
				Message: "cache directory " + contracts.Quote(root) + " is not safe: " + contracts.Quote(dir) + " " + problem,
				Hint:    "name a directory of your own in MODELOPS_BUNDLES_CACHE_DIR",
			}
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
