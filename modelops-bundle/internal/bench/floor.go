//go:build unix

package main

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// floor is what the machine needs for some files with nothing else to do. No client can be
// much faster at a cold push or pull.
type floor string

const (
	floorCopy floor = "copy and hash"
	// floorPush and floorPull are one stream over the loopback. Whoever receives it for
	// nobody, or sends it, is this process too.
	floorPush floor = "read, hash and send"
	floorPull floor = "receive, hash and write"
)

// floors measures each of them for the files of dir.
func floors(dir, scratch string) (map[floor]figure, error) {
	all := map[floor]figure{}
	for name, step := range map[floor]func(to, from string) (int64, error){floorCopy: duplicate, floorPush: send, floorPull: receive} {
		before, begin := cpuTime(), time.Now()
		n, err := step(scratch, dir)
		all[name] = figure{wall: time.Since(begin), cpu: cpuTime() - before, up: n}
		if removeErr := os.RemoveAll(scratch); err != nil || removeErr != nil {
			return nil, errors.Join(err, removeErr)
		}
	}
	return all, nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const floorBuffer = 1 << 20

// duplicate writes the files below from to to.
func duplicate(to, from string) (n int64, err error) {
	buffer := make([]byte, floorBuffer)
	err = files(from, func(rel string, info fs.FileInfo) error {
		in, err := os.Open(from + rel)
		if err != nil {
			return err
		}
		defer in.Close()
		return write(to+rel, info, in, buffer, &n)
	})
	return n, err
}

// write hashes what it writes to a file that is not there yet.
func write(to string, info fs.FileInfo, from io.Reader, buffer []byte, n *int64) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	k, err := io.CopyBuffer(io.MultiWriter(out, sha256.New()), io.LimitReader(from, info.Size()), buffer)
	*n += k
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}

// send reads the files below dir and sends them to nobody.
func send(_, dir string) (n int64, err error) {
	here, there, err := connection()
	if err != nil {
		return 0, err
	}
	defer there.Close()
	taken := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{there}, make([]byte, floorBuffer))
		taken <- err
	}()
	buffer := make([]byte, floorBuffer)
	err = files(dir, func(rel string, _ fs.FileInfo) error {
		in, err := os.Open(dir + rel)
		if err != nil {
			return err
		}
		defer in.Close()
		k, err := io.CopyBuffer(io.MultiWriter(here, sha256.New()), struct{ io.Reader }{in}, buffer)
		n += k
		return err
	})
	here.Close()
	if lost := <-taken; err == nil {
		err = lost
	}
	return n, err
}

// receive has the files below from sent to it, and writes them to to.
func receive(to, from string) (n int64, err error) {
	here, there, err := connection()
	if err != nil {
		return 0, err
	}
	defer here.Close()
	sent := make(chan error, 1)
	go func() {
		defer there.Close()
		sent <- files(from, func(rel string, _ fs.FileInfo) error {
			in, err := os.Open(from + rel)
			if err != nil {
				return err
			}
			defer in.Close()
			_, err = io.Copy(there, in)
			return err
		})
	}()
	buffer := make([]byte, floorBuffer)
	err = files(from, func(rel string, info fs.FileInfo) error { return write(to+rel, info, here, buffer, &n) })
	here.Close()
	if lost := <-sent; err == nil {
		err = lost
	}
	return n, err
}

// connection is both ends of one over the loopback.
func connection() (here, there net.Conn, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	if here, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		return nil, nil, err
	}
	if there, err = listener.Accept(); err != nil {
		here.Close()
	}
	return here, there, err
}

// files goes through the regular files below dir, in the order of their names.
func files(dir string, visit func(rel string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return visit(strings.TrimPrefix(path, dir), info)
	})
}

// copyTree copies the regular files below from to to, with their modes and times. Given a
// directory that to has the files of, it copies only the ones whose time is another, as an
// edit rewrites files.
func copyTree(to, from string, than string) error {
	return files(from, func(rel string, info fs.FileInfo) error {
		if than != "" {
			if old, err := os.Stat(than + rel); err == nil && old.ModTime().Equal(info.ModTime()) {
				return nil
			}
		}
		if err := os.MkdirAll(filepath.Dir(to+rel), 0o755); err != nil {
			return err
		}
		return copyFile(to+rel, from+rel, info)
	})
}

func copyFile(to, from string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
