//go:build unix

// Package owned makes sure that a directory in which things are kept to be run is the
// user's own: whoever else could write there would decide what runs.
package owned

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Directory makes the directory if need be, for its owner alone, and answers with its
// path, absolute and without links. It is refused, with [contracts.CodeDenied], when it, or
// a directory above it, belongs to somebody other than us or the system, or may be written
// by others; a sticky directory such as /tmp is shared, and still protects what is ours in
// it. variable is what names another directory, for the hint.
func Directory(path, variable string) (string, error) {
	path, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(path, 0o700)
	}
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", (&contracts.Error{
			Code: contracts.CodeFailed, Stage: contracts.StagePull,
			Message: fmt.Sprintf("directory %s cannot be used: %v", contracts.Quote(path), err),
			Hint:    "name another one in " + variable,
		}).Because(err)
	}
	for dir, own := path, true; ; dir, own = filepath.Dir(dir), false {
		if problem := problemOf(dir, own); problem != "" {
			return "", &contracts.Error{
				Code: contracts.CodeDenied, Stage: contracts.StagePull,
				Message: "directory " + contracts.Quote(path) + " is not safe: " + contracts.Quote(dir) + " " + problem,
				Hint:    "name a directory of your own in " + variable,
			}
		}
		if dir == filepath.Dir(dir) {
			return path, nil
		}
	}
}

func problemOf(dir string, own bool) string {
	info, err := os.Lstat(dir)
	if err != nil {
		return "cannot be read"
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return "is not a directory"
	case ok && int(stat.Uid) != os.Geteuid() && (own || stat.Uid != 0):
		return "belongs to another user"
	case info.Mode()&0o022 != 0 && (own || info.Mode()&fs.ModeSticky == 0):
		return "may be written by others"
	}
	return ""
}
