//go:build unix

package main

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// floor is what the machine needs to read, hash and write the files of dir, with nothing
// else to do: no client can be faster at a cold pull, nor much faster at a cold push.
func floor(dir, scratch string) (figure, error) {
	defer os.RemoveAll(scratch)
	before := cpuTime()
	begin := time.Now()
	n, err := copyTree(scratch, dir, "")
	return figure{wall: time.Since(begin), cpu: cpuTime() - before, up: n}, err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// copyTree copies the regular files below from to to, with their modes and times, and
// hashes them on the way. Given a directory that to has the files of, it copies only the
// ones whose time is another, as an edit rewrites files.
func copyTree(to, from string, than string) (n int64, err error) {
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, from)
		if d.IsDir() {
			return os.MkdirAll(to+rel, 0o755)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		if than != "" {
			if old, err := os.Stat(than + rel); err == nil && old.ModTime().Equal(info.ModTime()) {
				return nil
			}
		}
		k, err := copyFile(to+rel, path, info)
		n += k
		return err
	})
	return n, err
}

func copyFile(to, from string, info fs.FileInfo) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return 0, err
	}
	defer out.Close()
	n, err := io.CopyBuffer(io.MultiWriter(out, sha256.New()), in, make([]byte, min(1<<20, info.Size()+1)))
	if err != nil {
		return n, err
	}
	if err := out.Close(); err != nil {
		return n, err
	}
	return n, os.Chtimes(to, info.ModTime(), info.ModTime())
}
