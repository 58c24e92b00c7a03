package bundle

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Source is a file of a project that is to be in the bundle.
type Source struct {
	Path    string      // in the bundle, and below the project's directory
	Mode    Mode        // executable iff its owner may execute it
	Info    fs.FileInfo // as the scan found it, links followed; without Sys
	Storage bool        // its bytes need not be in the registry, see [Place]
}

// TrackedFile, where it exists, lists the files of a bundle one to a line; then nothing
// else is in it, and nothing that it names is left out. The Python suite writes it, and
// add and remove do.
const TrackedFile = StateDir + "/tracked.txt"

// Scan lists the files of the project at root that belong to its bundle, by path. All
// files that cannot be in one are reported together, in an [contracts.Error] with
// [contracts.CodeInvalidBundle].
func Scan(root *os.Root) ([]Source, error) {
	s := &scan{root: root}
	tracked, err := root.ReadFile(TrackedFile)
	switch {
	case err == nil:
		s.listed(string(tracked))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, unreadable(TrackedFile, err)
	default:
		ignore, err := root.ReadFile(IgnoreFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, unreadable(IgnoreFile, err)
		}
		s.ignore = ParseIgnore(string(ignore))
		s.walk()
		if info, err := root.Lstat(RegistryFile); err == nil {
			s.add(RegistryFile, info, nil)
		}
	}
	sort.Slice(s.files, func(i, j int) bool { return s.files[i].Path < s.files[j].Path })
	sort.Slice(s.problems, func(i, j int) bool { return s.problems[i].Field < s.problems[j].Field })
	paths := make([]string, len(s.files))
	for i, f := range s.files {
		paths[i] = f.Path
	}
	s.problems = append(s.problems, CheckPaths(paths)...)
	if len(s.problems) > 0 {
		return nil, &contracts.Error{
			Code: contracts.CodeInvalidBundle, Stage: contracts.StagePack,
			Message:  "the project has files that cannot be in a bundle",
			Hint:     "rename or remove them, or leave them out in " + IgnoreFile,
			Problems: s.problems,
		}
	}
	return s.files, nil
}

type scan struct {
	root     *os.Root
	ignore   Ignore
	files    []Source
	problems []contracts.Problem
}

func (s *scan) problem(p, message string) {
	s.problems = append(s.problems, contracts.Problem{Field: contracts.Quote(p), Message: message})
}

// walk takes all that is below the root, several directories at a time, level by level.
func (s *scan) walk() {
	for level := []string{"."}; len(level) > 0; {
		parts, next := make([]scan, len(level)), make([][]string, len(level))
		var group errgroup.Group
		group.SetLimit(parallel)
		for i, dir := range level {
			parts[i] = scan{root: s.root, ignore: s.ignore}
			group.Go(func() error {
				next[i] = parts[i].enter(dir)
				return nil
			})
		}
		_ = group.Wait()
		for i := range parts {
			s.files = append(s.files, parts[i].files...)
			s.problems = append(s.problems, parts[i].problems...)
		}
		level = slices.Concat(next...)
	}
}

// enter takes what is in a directory. Names are looked up in the directory itself: to go to
// each from the top costs more than all the rest.
func (s *scan) enter(dir string) (dirs []string) {
	at, err := s.root.OpenRoot(dir)
	if err != nil {
		s.problem(dir, "cannot be read: "+reason(err))
		return nil
	}
	defer at.Close()
	return s.take(dir, at)
}

// take adds the files of a directory, and returns the directories in it.
func (s *scan) take(dir string, at *os.Root) (dirs []string) {
	names, err := namesIn(at)
	if err != nil {
		s.problem(dir, "cannot be read: "+reason(err))
		return nil
	}
	for _, name := range names {
		p := below(dir, name)
		info, err := at.Lstat(name)
		isDir := err == nil && info.IsDir()
		switch {
		case s.ignore.matchIn(dir, name, isDir):
		case err == nil && info.Mode()&fs.ModeSymlink != 0 && s.ignore.matchIn(dir, name, true): // a link named as a directory that is left out
		case isDir:
			dirs = append(dirs, p)
		default:
			s.add(p, info, err)
		}
	}
	return dirs
}

// namesIn lists a directory, in order. ReadDir would look each name up as well.
func namesIn(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// listed takes exactly the files of a tracked list; one that is gone is left out, as
// the Python suite does.
func (s *scan) listed(content string) {
	seen := map[string]bool{}
	for _, line := range strings.Split(content, "\n") {
		p := strings.TrimRight(line, "\r")
		if p == "" || seen[p] {
			continue
		}
		seen[p] = true
		info, err := s.root.Lstat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.add(p, info, err)
	}
}

// add takes p, of which lstat says info or err, as the bundle will have it: a link inside
// the project is the file that it leads to.
func (s *scan) add(p string, info fs.FileInfo, err error) {
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if info, err = s.root.Stat(p); err != nil {
			s.problem(p, "is a link that leads nowhere or out of the project")
			return
		}
		if info.IsDir() {
			s.problem(p, "is a link to a directory")
			return
		}
	}
	switch {
	case err != nil:
		s.problem(p, "cannot be read: "+reason(err))
	case info.IsDir():
		s.problem(p, "is a directory, not a file")
	case !info.Mode().IsRegular():
		s.problem(p, "is a device, socket or pipe, not a file")
	case info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		s.problem(p, "has a set-id bit (chmod u-s,g-s it)")
	case info.Size() > maxFile:
		s.problem(p, "is larger than 128 GiB")
	default:
		s.files = append(s.files, Source{Path: p, Mode: modeOf(info), Info: sighted(info)})
	}
}

// reason is an error of the file system without the path, which the message has
// already.
func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

func unreadable(p string, err error) error {
	return (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StagePack,
		Message: contracts.Quote(p) + " cannot be read: " + reason(err),
	}).Because(err)
}
