package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// Rel is the slash-separated path below the project's directory of a path that somebody
// in directory cwd gave; "." for the project itself. One that leads out of the project is
// a [contracts.Error] with [contracts.CodeUsage].
func (p *Project) Rel(cwd, arg string) (string, error) {
	full := filepath.FromSlash(arg)
	if !filepath.IsAbs(full) {
		full = filepath.Join(cwd, full)
	}
	for _, resolve := range []func(string) string{filepath.Clean, realPath} {
		rel, err := filepath.Rel(resolve(p.Dir), resolve(full))
		if err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel), nil
		}
	}
	return "", &contracts.Error{
		Code: contracts.CodeUsage, Stage: contracts.StageProject,
		Message: contracts.Quote(arg) + " is outside the project " + contracts.Quote(p.Dir),
		Hint:    "copy it into the project",
	}
}

// realPath is a path with the links in its directory followed: a project may be entered
// by another name than its own.
func realPath(path string) string {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

// Tracked is the explicit list of the project's files, those that are gone included, and
// whether it keeps one.
func (p *Project) Tracked() (paths []string, tracks bool, err error) {
	data, err := os.ReadFile(p.path(bundle.TrackedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, unreadable(p.path(bundle.TrackedFile), err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			paths = append(paths, line)
		}
	}
	return paths, true, nil
}

// Track makes paths the explicit list of the project's files.
func (p *Project) Track(paths []string) error {
	paths = slices.Compact(slices.Sorted(slices.Values(paths)))
	content := strings.Join(paths, "\n")
	if content != "" {
		content += "\n"
	}
	if err := atomicfile.Write(p.path(bundle.TrackedFile), []byte(content), 0o644); err != nil {
		return Unwritable(p.path(bundle.TrackedFile), err)
	}
	return nil
}
