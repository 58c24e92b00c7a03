package results

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/gofrs/flock"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// staging is a directory inside the output directory where everything is written first.
// What is complete is renamed to its place at the end, so that a reader finds a table of
// one run, whole, or none.
type staging struct {
	out  string // the output directory
	dir  string
	lock *flock.Flock
	old  int // what was moved out of the way
}

const (
	stagingPattern = ".mops-results-*.tmp"
	stagingLock    = "lock"
)

// newStaging makes a staging directory, and removes those that killed runs left behind.
func newStaging(out string) (*staging, error) {
	removeAbandoned(out)
	dir, err := os.MkdirTemp(out, stagingPattern)
	if err != nil {
		return nil, writeError(err)
	}
	s := &staging{out: out, dir: dir, lock: flock.New(filepath.Join(dir, stagingLock))}
	_, _ = s.lock.TryLock() // a file system without locks keeps what killed runs leave
	return s, nil
}

// removeAbandoned removes staging directories whose lock nobody holds. One that cannot
// be removed does no harm.
func removeAbandoned(out string) {
	entries, _ := os.ReadDir(out)
	for _, entry := range entries {
		if ours, _ := filepath.Match(stagingPattern, entry.Name()); !ours {
			continue
		}
		dir := filepath.Join(out, entry.Name())
		if _, err := os.Lstat(filepath.Join(dir, stagingLock)); err != nil {
			continue // just being made
		}
		lock := flock.New(filepath.Join(dir, stagingLock))
		if free, err := lock.TryLock(); err == nil && free {
			_ = lock.Close()
			_ = os.RemoveAll(dir)
		}
	}
}

func (s *staging) remove() {
	_ = s.lock.Close()
	_ = os.RemoveAll(s.dir)
}

// path is where something is written first.
func (s *staging) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// check says whether a place is free for what is to be put there: nothing is there, or
// a file, or a directory that has nothing but files whose names match.
func check(final string, own *regexp.Regexp) error {
	info, err := os.Lstat(final)
	if os.IsNotExist(err) || err == nil && !info.IsDir() {
		return nil
	}
	var entries []fs.DirEntry
	if err == nil {
		entries, err = os.ReadDir(final)
	}
	if err != nil {
		return writeError(err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !own.MatchString(entry.Name()) {
			return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageCollect,
				Message: fmt.Sprintf("cannot replace the directory %s: %s in it was not written by mops jobs results", final, contracts.Quote(entry.Name())),
				Hint:    "move it somewhere else, or write the tables to another directory with --output"}
		}
	}
	return nil
}

// replace gives what is complete its final name. A directory cannot replace anything, nor
// anything a directory: what is there is moved out of the way first, and put back when
// that fails.
func (s *staging) replace(staged, final string, own *regexp.Regexp) error {
	if err := check(final, own); err != nil {
		return err
	}
	there, err := os.Lstat(final)
	if err != nil && !os.IsNotExist(err) {
		return writeError(err)
	}
	is, stagedErr := os.Lstat(staged)
	if stagedErr != nil {
		return writeError(stagedErr)
	}
	if err != nil || !there.IsDir() && !is.IsDir() {
		return writeError(os.Rename(staged, final))
	}
	s.old++
	old := s.path("old-" + strconv.Itoa(s.old))
	if err := os.Rename(final, old); err != nil {
		return writeError(err)
	}
	if err := os.Rename(staged, final); err != nil {
		_ = os.Rename(old, final)
		return writeError(err)
	}
	return nil
}

// complete flushes a file that nobody has seen yet, and closes it.
func complete(f *os.File) error {
	err := f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return writeError(err)
}

// syncDirs flushes the entries of directories.
func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := atomicfile.SyncDir(dir); err != nil {
			return writeError(err)
		}
	}
	return nil
}
