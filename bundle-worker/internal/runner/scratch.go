//go:build unix

package runner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Scratch is a directory of one process's own, 0700, in which each of its tasks has
// directories of its own.
type Scratch struct {
	Dir  string
	next int
}

// Task are the directories of one task.
type Task struct {
	Dir    string // holds the others
	Temp   string // TMPDIR
	Home   string // HOME
	Output string // MODELOPS_OUTPUT_DIR
	Spool  string // where the harness puts outputs that are too large for the connection
}

// NewScratch makes a scratch directory in the system's place for temporary files.
func NewScratch() (*Scratch, error) {
	dir, err := os.MkdirTemp("", "modelops-task-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	return &Scratch{Dir: dir}, nil
}

// Task makes the next task's directories.
func (s *Scratch) Task() (*Task, error) {
	s.next++
	dir := filepath.Join(s.Dir, strconv.Itoa(s.next))
	t := &Task{
		Dir: dir, Temp: filepath.Join(dir, "tmp"), Home: filepath.Join(dir, "home"),
		Output: filepath.Join(dir, "output"), Spool: filepath.Join(dir, "spool"),
	}
	for _, d := range []string{t.Dir, t.Temp, t.Home, t.Output, t.Spool} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Remove removes the task's directories.
func (t *Task) Remove() error { return RemoveAll(t.Dir) }

// Remove removes the whole scratch directory.
func (s *Scratch) Remove() error { return RemoveAll(s.Dir) }

// Environment are the variables that point into the directories.
func (t *Task) Environment() map[string]string {
	return map[string]string{"TMPDIR": t.Temp, "HOME": t.Home, "MODELOPS_OUTPUT_DIR": t.Output}
}

// RemoveAll removes a directory tree, including what user code made unwritable in it.
func RemoveAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700) // before it is read: WalkDir reads a directory after its own call
		}
		return nil
	})
	return os.RemoveAll(dir)
}
