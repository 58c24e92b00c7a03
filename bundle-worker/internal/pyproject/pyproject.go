// Package pyproject reads the parts of a bundle's pyproject.toml that decide how it is
// called and what it needs: [project].
package pyproject

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/modelops-suite/modelops-go/contracts"
)

// File is the name of the file in a bundle.
const File = "pyproject.toml"

const maxFile = 4 << 20 // bytes

// Project is what [project] says. The zero value is that of a bundle without the file.
type Project struct {
	RequiresPython string
	Dependencies   []string
	// Wires are the targets of the entry points in the group modelops.wire, sorted.
	Wires []string
	// Elsewhere says where dependencies are declared that are not in Dependencies.
	Elsewhere string
}

type document struct {
	Project struct {
		RequiresPython string                       `toml:"requires-python"`
		Dependencies   []string                     `toml:"dependencies"`
		Dynamic        []string                     `toml:"dynamic"`
		EntryPoints    map[string]map[string]string `toml:"entry-points"`
	} `toml:"project"`
	Tool struct {
		Poetry struct {
			Dependencies map[string]any `toml:"dependencies"`
		} `toml:"poetry"`
	} `toml:"tool"`
}

// Read reads the file in dir. The error is a [contracts.Error] with
// [contracts.CodeInvalidBundle].
func Read(dir string) (Project, error) {
	info, err := os.Lstat(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return Project{}, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		return Project{}, invalid("is no regular file of at most 4 MiB")
	}
	data, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		return Project{}, invalid("cannot be read: " + err.Error())
	}
	return parse(data)
}

func parse(data []byte) (Project, error) {
	var doc document
	if err := toml.Unmarshal(data, &doc); err != nil {
		return Project{}, invalid("is broken: " + explain(err))
	}
	wires := slices.Collect(maps.Values(doc.Project.EntryPoints["modelops.wire"]))
	slices.Sort(wires)
	return Project{
		RequiresPython: strings.TrimSpace(doc.Project.RequiresPython),
		Dependencies:   doc.Project.Dependencies,
		Wires:          slices.Compact(wires),
		Elsewhere:      doc.elsewhere(),
	}, nil
}

func (d *document) elsewhere() string {
	needs := d.Tool.Poetry.Dependencies
	delete(needs, "python")
	switch {
	case slices.Contains(d.Project.Dynamic, "dependencies"):
		return "[project].dynamic"
	case len(needs) > 0 && d.Project.Dependencies == nil:
		return "[tool.poetry.dependencies]"
	}
	return ""
}

// explain says what is wrong and where.
func explain(err error) string {
	if where, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := where.Position()
		return fmt.Sprintf("%s (line %d, column %d)", contracts.Quote(where.Error()), row, column)
	}
	return contracts.Quote(err.Error())
}

func invalid(problem string) *contracts.Error {
	return &contracts.Error{
		Code: contracts.CodeInvalidBundle, Stage: contracts.StagePrepare,
		Message: "the bundle's " + File + " " + problem, Hint: "mend it and push again",
	}
}
