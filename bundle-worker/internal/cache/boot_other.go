//go:build unix && !linux

package cache

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// bootID names this boot of the machine: after another, what the disk says is not
// believed unseen.
var bootID = sync.OnceValue(func() string {
	boot, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return strconv.FormatInt(boot.Nano(), 10)
})

// flush writes every file and directory of the tree to the disk.
func flush(tree string) error {
	return filepath.WalkDir(tree, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}
