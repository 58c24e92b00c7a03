package submit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Project is what a submission needs to know of a project.
type Project struct {
	Dir  string // absolute
	Pin  string // the environment that it is pinned to, or ""
	Name string // the repository; "" in a project of the Python suite
}

const stateDir = ".modelops-bundle"

// FindProject is the project that the first of the directories lies in; the error is a
// [contracts.Error] with [contracts.CodeProjectNotFound] when none lies in one.
func FindProject(dirs ...string) (*Project, error) {
	for _, dir := range dirs {
		for at := dir; ; at = filepath.Dir(at) {
			info, err := os.Stat(filepath.Join(at, stateDir))
			if err == nil && info.IsDir() {
				return readProject(at)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return nil, unreadable(filepath.Join(at, stateDir), err)
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return nil, &contracts.Error{Code: contracts.CodeProjectNotFound, Stage: contracts.StageProject,
		Message: contracts.Quote(dirs[0]) + " is not inside a project",
		Hint:    "go to a project's directory, name it with --project DIR, run what was pushed with --bundle REF, or make one: modelops-bundle init NAME"}
}

func readProject(dir string) (*Project, error) {
	p := &Project{Dir: dir}
	file := filepath.Join(dir, stateDir, "config.yaml")
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(file, err)
	}
	if err == nil { // without it modelops-bundle says what to do
		config, _, err := contracts.ParseProjectConfig(file, data)
		if err != nil {
			return nil, err
		}
		p.Name = config.Project
	}
	file = filepath.Join(dir, stateDir, "env")
	data, err = os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(file, err)
	}
	p.Pin = strings.TrimSpace(string(data))
	return p, nil
}

func unreadable(path string, err error) error {
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProject, Message: "read " + contracts.Quote(path) + ": " + reason(err)}).Because(err)
}
