//go:build unix

package runner

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/guard"
)

// Scratch is a directory of one process's own, 0700, in which each of its tasks has
// directories of its own.
type Scratch struct {
	Dir  string
	next int
	free string // the directory of a task that left nothing in it; "" for none

	foreseen *Task // the next one, made already; nil for none
}

// Task are the directories of one task.
type Task struct {
	Dir    string // holds the others, and outputs that are too large for the harness's connection
	Temp   string // TMPDIR
	Home   string // HOME
	Output string // MODELOPS_OUTPUT_DIR

	scratch *Scratch
}

// NewScratch names a scratch directory in the system's place for temporary files.
func NewScratch() (*Scratch, error) {
	dir, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return nil, err
	}
	return &Scratch{Dir: filepath.Join(dir, "modelops-task-"+strconv.FormatUint(rand.Uint64(), 36)+strconv.FormatUint(rand.Uint64(), 36))}, nil
}

// Make makes it, and the directory of [Scratch.Idle]. It is made when somebody is there who
// removes it, see [Spec].
func (s *Scratch) Make() error {
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		return err
	}
	return os.Mkdir(s.Idle().Dir, 0o700)
}

// Idle is one directory in the place of all of a task's, for what a process does before its
// first task.
func (s *Scratch) Idle() *Task {
	dir := filepath.Join(s.Dir, "idle")
	return &Task{Dir: dir, Temp: dir, Home: dir, Output: dir, scratch: s}
}

// Task makes the next task's directories. Their paths are new for each task: what an
// earlier one still writes to its own reaches nobody.
func (s *Scratch) Task() (*Task, error) {
	if t := s.foreseen; t != nil {
		s.foreseen = nil
		if t.untouched() { // nobody was told of it yet
			return t, nil
		}
	}
	s.next++
	dir := filepath.Join(s.Dir, strconv.Itoa(s.next))
	t := &Task{
		Dir: dir, Temp: filepath.Join(dir, "tmp"), Home: filepath.Join(dir, "home"),
		Output: filepath.Join(dir, "output"), scratch: s,
	}
	if s.free != "" {
		free := s.free
		s.free = ""
		if os.Rename(free, dir) == nil {
			return t, nil
		}
	}
	for _, d := range append([]string{t.Dir}, t.parts()...) {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Foresee makes the directories of the next task while there is time.
func (s *Scratch) Foresee() error {
	t, err := s.Task()
	if err == nil {
		s.foreseen = t
	}
	return err
}

func (t *Task) parts() []string { return []string{t.Temp, t.Home, t.Output} }

// Remove removes the task's directories, or keeps them for the next task if this one left
// nothing there: making and removing them costs more than a small task itself.
func (t *Task) Remove() error {
	if t.scratch.free == "" && t.untouched() {
		t.scratch.free = t.Dir
		return nil
	}
	return RemoveAll(t.Dir)
}

// untouched says whether the directories are as they were made.
func (t *Task) untouched() bool {
	parts := t.parts()
	names, err := namesIn(t.Dir, len(parts)+1)
	if err != nil || len(names) != len(parts) {
		return false
	}
	for _, part := range parts {
		info, err := os.Lstat(part)
		if err != nil || info.Mode() != fs.ModeDir|0o700 {
			return false
		}
		if names, err := namesIn(part, 1); err != nil || len(names) > 0 {
			return false
		}
	}
	return true
}

// namesIn are up to limit names in a directory.
func namesIn(dir string, limit int) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// Remove removes the whole scratch directory.
func (s *Scratch) Remove() error { return RemoveAll(s.Dir) }

// Environment are the variables that point into the directories.
func (t *Task) Environment() map[string]string {
	return map[string]string{"TMPDIR": t.Temp, "HOME": t.Home, "MODELOPS_OUTPUT_DIR": t.Output}
}

// RemoveAll removes a directory tree, including what user code made unwritable in it.
func RemoveAll(dir string) error { return guard.RemoveAll(dir) }
