package results

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// staging is a directory inside the output directory where everything is written first.
// What is complete is renamed to its place at the end, so that a reader finds a table of
// one run, whole, or none. One that a killed run left is taken over by the next run for the
// same job, with the records that were fetched; everything else in it is made anew.
type staging struct {
	out  string // the output directory
	dir  string
	lock *flock.Flock
	old  int // what was moved out of the way
}

const (
	stagingPrefix  = ".mops-results-" // then the job
	stagingPattern = stagingPrefix + "*.tmp"
	stagingLock    = "lock"
	recordsName    = "records" // the file of [archive.Spool]
)

// newStaging takes over or makes a staging directory for the job, and removes what other
// killed runs left behind.
func newStaging(out, job string) (*staging, error) {
	if s := takeOver(out, stagingPrefix+job+"-"); s != nil {
		return s, nil
	}
	dir, err := os.MkdirTemp(out, stagingPrefix+job+"-*.tmp")
	if err != nil {
		return nil, writeError(err)
	}
	s := &staging{out: out, dir: dir, lock: flock.New(filepath.Join(dir, stagingLock))}
	_, _ = s.lock.TryLock() // a file system without locks keeps what killed runs leave
	return s, nil
}

// takeOver goes through the staging directories whose lock nobody holds: it takes the first
// whose name has the prefix, and removes the others. One that cannot be removed does no harm.
func takeOver(out, prefix string) (taken *staging) {
	entries, _ := os.ReadDir(out)
	for _, entry := range entries {
		if ours, _ := filepath.Match(stagingPattern, entry.Name()); !ours {
			continue
		}
		s := &staging{out: out, dir: filepath.Join(out, entry.Name())}
		if !s.held() {
			continue
		}
		if taken == nil && strings.HasPrefix(entry.Name(), prefix) && s.clear() == nil {
			taken = s
			continue
		}
		s.remove()
	}
	return taken
}

// held takes the lock of a directory that is there, and says whether it could be had.
func (s *staging) held() bool {
	path := filepath.Join(s.dir, stagingLock)
	if _, err := os.Lstat(path); err != nil {
		return false // just being made
	}
	s.lock = flock.New(path)
	if free, err := s.lock.TryLock(); err != nil || !free {
		return false
	}
	if _, err := os.Lstat(path); err != nil { // removed by who had it until now
		_ = s.lock.Close()
		return false
	}
	return true
}

// clear removes everything but the records.
func (s *staging) clear() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); name != stagingLock && name != recordsName {
			if err := os.RemoveAll(s.path(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes the directory, before others can have the lock where that is possible.
func (s *staging) remove() {
	_ = os.RemoveAll(s.dir)
	_ = s.lock.Close()
	_ = os.RemoveAll(s.dir) // Windows keeps what is open
}

// leave lets the next run take the directory over.
func (s *staging) leave() {
	_ = s.clear()
	_ = s.lock.Close()
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
