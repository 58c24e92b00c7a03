//go:build unix

package pyenv

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/contracts"
)

// wants is what a bundle's files say about its Python environment.
type wants struct {
	source         string // the file that decides: uv.lock, requirements.txt or pyproject.toml; "" for none
	dependencies   []string
	hashed         bool // requirements.txt has hashes
	requiresPython string
	elsewhere      string            // where else dependencies are declared
	wheels         bool              // the bundle brings packages in wheels/
	digests        map[string]string // of each file that decides
	bundle         string
}

func (w *wants) anything() bool { return w.source != "" }

// readWants looks at uv.lock, requirements.txt and pyproject.toml, in this order.
func readWants(bundle string) (*wants, error) {
	w := &wants{digests: map[string]string{}, bundle: bundle}
	if _, err := w.read(pyproject.File); err != nil {
		return nil, err
	}
	project, err := pyproject.Read(bundle)
	if err != nil {
		return nil, err
	}
	if project.Elsewhere != "" && len(project.Dependencies) == 0 {
		w.elsewhere = project.Elsewhere
	}
	w.requiresPython, w.dependencies = project.RequiresPython, project.Dependencies
	lockText, err := w.read("uv.lock")
	if err != nil {
		return nil, err
	}
	requirements, err := w.read("requirements.txt")
	if err != nil {
		return nil, err
	}
	switch {
	case lockText != nil && (len(w.dependencies) > 0 || w.elsewhere != ""):
		w.source = "uv.lock"
	case hasRequirement(string(requirements)):
		w.source, w.hashed = "requirements.txt", strings.Contains(string(requirements), "--hash=")
	case len(w.dependencies) > 0:
		w.source = pyproject.File
	case w.elsewhere != "":
		return nil, dependencies("the bundle declares its dependencies in "+w.elsewhere+" of "+pyproject.File+", which this worker does not read",
			"list them in [project].dependencies or requirements.txt, or lock them with uv")
	}
	return w, w.readWheels()
}

// read is a file of the bundle, or nil; its digest is noted.
func (w *wants) read(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(w.bundle, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unusable(name, err)
	}
	w.digests[name] = string(contracts.DigestOf(data))
	return data, nil
}

// readWheels notes the packages that the bundle brings along.
func (w *wants) readWheels() error {
	entries, err := os.ReadDir(filepath.Join(w.bundle, "wheels"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unusable("wheels", err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".whl") {
			w.wheels = true
			if _, err := w.read(filepath.Join("wheels", entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func hasRequirement(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}

// checkPython refuses an interpreter that the bundle does not run on, before anything is
// built.
func (w *wants) checkPython(version string) error {
	if w.requiresPython == "" {
		return nil
	}
	ok, understood := satisfies(version, w.requiresPython)
	if !understood {
		return dependencies("the bundle's requires-python "+contracts.Quote(w.requiresPython)+" is not understood", "write it as in >=3.11,<3.14")
	}
	if !ok {
		return dependencies("the bundle requires Python "+w.requiresPython+", and this worker has "+version,
			"use workers with another Python, or change requires-python in pyproject.toml")
	}
	return nil
}

// satisfies holds a version, as in 3.12.1, against a version specifier of Python's
// packaging, as in ">=3.11,<4" or "==3.12.*".
func satisfies(version, specifier string) (ok, understood bool) {
	have, _, understood := parseVersion(version)
	if !understood {
		return false, false
	}
	for clause := range strings.SplitSeq(specifier, ",") {
		clause = strings.TrimSpace(clause)
		operator := clause[:len(clause)-len(strings.TrimLeft(clause, "<>=!~"))]
		want, wild, understood := parseVersion(strings.TrimSpace(clause[len(operator):]))
		if !understood || wild && operator != "==" && operator != "!=" {
			return false, false
		}
		order := compare(have, want, len(want))
		holds := false
		switch operator {
		case ">=":
			holds = order >= 0
		case "<=":
			holds = compare(have, want, 3) <= 0
		case ">":
			holds = compare(have, want, 3) > 0
		case "<":
			holds = compare(have, want, 3) < 0
		case "==", "===":
			holds = order == 0 && (wild || compare(have, want, 3) == 0)
		case "!=":
			holds = order != 0 || !wild && compare(have, want, 3) != 0
		case "~=":
			holds = len(want) > 1 && order >= 0 && compare(have, want, len(want)-1) == 0
		default:
			return false, false
		}
		if !holds {
			return false, true
		}
	}
	return true, true
}

// parseVersion reads "3.12.1" and "3.12.*"; of "3.13.0rc1" it takes the numbers.
func parseVersion(s string) (numbers []int, wild, ok bool) {
	s, wild = strings.CutSuffix(s, ".*")
	for part := range strings.SplitSeq(s, ".") {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil || len(numbers) > 3 {
			return nil, false, false
		}
		numbers = append(numbers, n)
	}
	return numbers, wild, true
}

// compare compares the first n numbers of two versions; missing ones are 0.
func compare(a, b []int, n int) int {
	at := func(v []int, i int) int {
		if i < len(v) {
			return v[i]
		}
		return 0
	}
	for i := range n {
		if d := at(a, i) - at(b, i); d != 0 {
			return d
		}
	}
	return 0
}
