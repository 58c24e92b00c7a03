// Package atomicfile writes the files that a user can see: a reader, at any moment
// and after any crash, finds the old content or the new, never a part of either.
//
// A file is written under a temporary name in the same directory with its final
// permissions from the first byte, flushed to the disk, and then renamed or linked to
// its name; the directory is flushed after that.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Write replaces the file at path with data. The directory must exist.
func Write(path string, data []byte, perm os.FileMode) error {
	return publish(path, data, perm, os.Rename)
}

// Create writes data to a new file at path. It returns an error that wraps
// [fs.ErrExist] when there is one already, and then leaves it alone: of any number of
// concurrent callers exactly one succeeds.
func Create(path string, data []byte, perm os.FileMode) error {
	return publish(path, data, perm, func(temporary, path string) error {
		err := os.Link(temporary, path)
		if errors.Is(err, fs.ErrExist) || err == nil {
			return err
		}
		return createWithoutLinks(path, data, perm)
	})
}

// SyncDir flushes the directory's entries to the disk, where the system can.
func SyncDir(dir string) error { return syncDir(dir) }

// leftoverAge is when a temporary file is taken for that of a writer which was killed: one
// that lives needs it for milliseconds.
const leftoverAge = time.Minute

// Sweep removes what writers of the file at path that were killed left beside it.
func Sweep(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "."+filepath.Base(path)+".") || !strings.HasSuffix(entry.Name(), temporaryExt) {
			continue
		}
		info, infoErr := entry.Info()
		if infoErr != nil || time.Since(info.ModTime()) < leftoverAge {
			continue
		}
		if removeErr := os.Remove(filepath.Join(filepath.Dir(path), entry.Name())); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}

const temporaryExt = ".tmp"

func publish(path string, data []byte, perm os.FileMode, place func(temporary, path string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*"+temporaryExt) // created 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after a rename; left over after a link or an error
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// createWithoutLinks serves file systems that have no hard links. A crash in the
// middle may leave a short file there, which those file systems cannot avoid.
func createWithoutLinks(path string, data []byte, perm os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
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
		_ = os.Remove(path)
	}
	return err
}
