//go:build unix

package pyenv

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	lockFile         = "uv.lock"
	requirementsFile = "requirements.txt"
)

// wants is what a bundle's files say about its Python environment.
type wants struct {
	source         string // the file that decides: uv.lock, requirements.txt or pyproject.toml; "" for none
	dependencies   []string
	hashed         bool // requirements.txt has hashes
	requiresPython string
	elsewhere      string            // where else dependencies are declared
	wheels         bool              // the bundle brings packages in wheels/
	digests        map[string]string // of each file that was read
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
	lockText, err := w.read(lockFile)
	if err != nil {
		return nil, err
	}
	requirements, err := w.read(requirementsFile)
	if err != nil {
		return nil, err
	}
	switch {
	case lockText != nil && (len(w.dependencies) > 0 || w.elsewhere != ""):
		w.source = lockFile
	case hasRequirement(string(requirements)):
		w.source, w.hashed = requirementsFile, strings.Contains(string(requirements), "--hash=")
	case len(w.dependencies) > 0:
		w.source = pyproject.File
	case w.elsewhere != "":
		return nil, dependencies("the bundle declares its dependencies in "+w.elsewhere+" of "+pyproject.File+", which this worker does not read",
			"list them in [project].dependencies or requirements.txt, or lock them with uv")
	}
	if err := w.closed(string(lockText), string(requirements)); err != nil {
		return nil, err
	}
	return w, w.readWheels()
}

// decisive is what the environment depends on, and nothing else: bundles that differ
// elsewhere share it.
func (w *wants) decisive() map[string]string {
	files := map[string]string{}
	for name, digest := range w.digests {
		switch {
		case w.source == lockFile && (name == lockFile || name == pyproject.File),
			w.source != lockFile && name != lockFile && name != pyproject.File && (w.source == requirementsFile || name != requirementsFile):
			files[name] = digest
		}
	}
	if w.source == pyproject.File {
		files["dependencies"] = string(contracts.DigestOf([]byte(strings.Join(w.dependencies, "\n"))))
	}
	return files
}

// localSource is a package that uv.lock takes from a directory or file, but for the bundle
// itself.
var localSource = regexp.MustCompile(`source = \{ (?:directory|path|editable) = "([^"]*)"`)

// closed refuses what would be installed from files that the key does not cover.
func (w *wants) closed(lockText, requirements string) error {
	switch w.source {
	case lockFile:
		for _, found := range localSource.FindAllStringSubmatch(lockText, -1) {
			if found[1] != "." {
				return local(lockFile, found[1])
			}
		}
	case requirementsFile:
		return w.readRequirements(requirementsFile, requirements, 0)
	}
	return nil
}

const maxIncludes = 8 // of requirements files in one another

// readRequirements follows the files that a requirements file includes.
func (w *wants) readRequirements(name, text string, depth int) error {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(" "+strings.TrimSpace(line), " #")
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "-e") || strings.HasPrefix(line, "--editable") || strings.HasPrefix(line, ".") || strings.HasPrefix(line, "/") || strings.Contains(line, "file:") ||
			links.MatchString(line) && !strings.Contains(line, "://") {
			return local(name, line)
		}
		found := includes.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		included := filepath.Join(filepath.Dir(name), found[1])
		if !filepath.IsLocal(included) || filepath.IsAbs(found[1]) || depth == maxIncludes {
			return local(name, line)
		}
		data, err := w.read(included)
		if err != nil {
			return err
		}
		if data == nil {
			return dependencies(name+" includes "+contracts.Quote(included)+", which is not in the bundle", "add the file to the bundle, or leave the line out")
		}
		w.hashed = w.hashed || strings.Contains(string(data), "--hash=")
		if err := w.readRequirements(included, string(data), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// includes is a line that includes another file of requirements or constraints.
var includes = regexp.MustCompile(`^(?:-r|-c|--requirement|--constraint)[ =]*(\S+)`)

// links is a line that names where packages lie.
var links = regexp.MustCompile(`^(?:-f|--find-links)[ =]`)

func local(file, what string) error {
	return dependencies(file+" installs from a path: "+contracts.Quote(what),
		"the bundle's own code is on Python's path already; bring other packages as wheels in wheels/, by name")
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
