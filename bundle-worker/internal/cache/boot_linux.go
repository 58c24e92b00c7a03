package cache

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// bootID names this boot of the machine: after another, what the disk says is not
// believed unseen.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

// flush writes everything of the tree's file system to the disk, which is one call
// however many files there are.
func flush(tree string) error {
	dir, err := os.Open(tree)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}
