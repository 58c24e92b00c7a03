package blobstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sync"
	"time"
)

// writer writes whole files below a root. It does what the package atomicfile does,
// which takes paths, where links could lead out of the root.
type writer struct {
	root    *os.Root
	perm    fs.FileMode // of directories; files have it without the executable bits
	flushed *sync.Map   // directories whose names are known to be durable
}

// attempts bounds how often a write starts over because its directory was removed, as
// empty, by a concurrent delete.
const attempts = 8

func (w writer) create(name string, data []byte) error {
	place := func(staged string) error { return w.root.Link(staged, name) }
	err := w.write(name, bytes.NewReader(data), place)
	if err == nil || errors.Is(err, fs.ErrExist) || !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return w.createInPlace(name, data)
}

// put streams r; what is staged is complete before it is placed, so only the placing
// can start over.
func (w writer) put(name string, r io.Reader) error {
	return w.write(name, r, func(staged string) error { return w.root.Rename(staged, name) })
}

// write stages the bytes in a file of their own and then places it under its name.
func (w writer) write(name string, r io.Reader, place func(staged string) error) error {
	staged, err := w.stage(r)
	if err != nil {
		return err
	}
	defer func() { _ = w.root.Remove(staged) }() // gone after a rename
	dir := path.Dir(name)
	for range attempts {
		if err = w.mkdir(dir); err == nil {
			err = place(staged)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		w.flushed.Clear()
	}
	if err != nil {
		return err
	}
	return w.sync(dir)
}

// stage writes r to a new file of the staging directory and flushes it.
func (w writer) stage(r io.Reader) (name string, err error) {
	if err := w.mkdir(stagingDir); err != nil {
		return "", err
	}
	name = path.Join(stagingDir, rand.Text())
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, r)
	if err == nil && runtime.GOOS != "windows" {
		err = f.Chmod(w.perm & 0o666)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = w.root.Remove(name)
		return "", err
	}
	return name, nil
}

// createInPlace serves file systems without hard links. A crash in the middle may
// leave a short file there, which readers find by its content.
func (w writer) createInPlace(name string, data []byte) error {
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, w.perm&0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = w.root.Remove(name)
		return err
	}
	return w.sync(path.Dir(name))
}

// mkdir makes a directory and those above it, each flushed in the one above: also when
// it is there already, since who made it may not have come to that yet.
func (w writer) mkdir(dir string) error {
	if _, known := w.flushed.Load(dir); known || dir == "." {
		return nil
	}
	parent := path.Dir(dir)
	if err := w.mkdir(parent); err != nil {
		return err
	}
	if err := w.root.Mkdir(dir, w.perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := w.sync(parent); err != nil {
		return err
	}
	w.flushed.Store(dir, true)
	return nil
}

// sync flushes the directory's entries, where the system can.
func (w writer) sync(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := w.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // what was written there is deleted already
	}
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

// staleAfter is the age from which a staged file is taken for a dead process's. A
// living one touches its file far more often.
const staleAfter = 24 * time.Hour

// sweep removes what dead processes left in the staging directory.
func (w writer) sweep() {
	entries, err := readDir(w.root, stagingDir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = w.root.Remove(path.Join(stagingDir, entry.Name()))
		}
	}
}
