//go:build unix

package main

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// floors are what the machine needs for the files of dir with nothing else to do, in one
// stream over the loopback: to read, hash and send them, and to receive, hash and write
// them. Whoever sends and whoever receives for nobody is this process too. No client can be
// much faster at a cold push and a cold pull.
func floors(dir, scratch string) (push, pull figure, err error) {
	defer os.RemoveAll(scratch)
	if push, err = timed(func() (int64, error) { return send(dir) }); err != nil {
		return push, pull, err
	}
	pull, err = timed(func() (int64, error) { return receive(scratch, dir) })
	return push, pull, err
}

func timed(step func() (int64, error)) (figure, error) {
	before, begin := cpuTime(), time.Now()
	n, err := step()
	return figure{wall: time.Since(begin), cpu: cpuTime() - before, up: n}, err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const floorBuffer = 1 << 20

func send(dir string) (n int64, err error) {
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
	err = files(from, func(rel string, info fs.FileInfo) error {
		if err := os.MkdirAll(filepath.Dir(to+rel), 0o755); err != nil {
			return err
		}
		out, err := os.OpenFile(to+rel, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
		if err != nil {
			return err
		}
		k, err := io.CopyBuffer(io.MultiWriter(out, sha256.New()), io.LimitReader(here, info.Size()), buffer)
		n += k
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		return err
	})
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
