// Package program finds and runs the suite's other programs.
package program

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
)

// The suite's programs.
const (
	Bundle = "modelops-bundle"
	Worker = "bundle-worker"
	Cloud  = "mops-cloud"
)

// Find is the path of a program: beside the running one, where they are installed
// together, else on PATH. Directories of PATH that are not absolute are passed over.
func Find(getenv func(string) string, name string) (string, error) {
	var dirs []string
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
		if real, err := filepath.EvalSymlinks(self); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	dirs = append(dirs, filepath.SplitList(getenv("PATH"))...)
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", &contracts.Error{Code: contracts.CodeNotFound,
		Message: "program " + name + " not found beside this one or on PATH",
		Hint:    "install the programs of the suite into one directory"}
}
