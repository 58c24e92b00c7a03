package wire

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/contracts"
)

// The kinds of entries.
const (
	KindWire    = "wire"
	KindCommand = "command"
)

// Where an entry was named.
const (
	fromEntryPoint = "entry_point"
	fromManifest   = "manifest"
	fromFile       = "wire.py"
)

const (
	manifestFile = ".modelops/manifest.json"
	wireFile     = "wire.py"
	wireFunction = "wire"
	maxManifest  = 1 << 20 // bytes
)

// Entry is how a bundle's simulation is called.
type Entry struct {
	Kind    string   `json:"kind"`   // KindWire or KindCommand
	Name    string   `json:"name"`   // module:function, file.py:function, or the command
	Source  string   `json:"source"` // entry_point, manifest or wire.py
	Command []string `json:"-"`

	// Resources is what the bundle's manifest asks for each task, or nil.
	Resources *contracts.Resources `json:"-"`
}

// Installed is an entry point of the group modelops.wire in a Python environment.
type Installed struct {
	Name         string `json:"name"`
	Value        string `json:"value"`
	Distribution string `json:"distribution"`
}

// Find finds the entry of the bundle in dir. The first that there is decides: the entry
// points of its own environment (installed) and of its pyproject.toml, which must be one
// in all; .modelops/manifest.json; wire.py. There is a [contracts.Error] with
// [contracts.CodeWireMissing] when there is none.
func Find(dir string, project pyproject.Project, installed []Installed) (*Entry, error) {
	manifest, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	entry, err := find(dir, manifest, targets(project, installed))
	if entry != nil {
		entry.Resources = manifest.Resources
	}
	return entry, err
}

func find(dir string, manifest *contracts.RunManifest, named []string) (*Entry, error) {
	switch {
	case len(named) == 1:
		return &Entry{Kind: KindWire, Name: named[0], Source: fromEntryPoint}, nil
	case len(named) > 1:
		return nil, &contracts.Error{
			Code: contracts.CodeWireMissing, Stage: contracts.StagePrepare,
			Message: "the bundle's environment has several entry points in the group modelops.wire: " + contracts.Quote(strings.Join(named, ", ")),
			Hint:    "leave one of them",
		}
	case len(manifest.Command) > 0:
		return &Entry{Kind: KindCommand, Name: strings.Join(manifest.Command, " "), Source: fromManifest, Command: manifest.Command}, nil
	case manifest.Wire != "":
		return &Entry{Kind: KindWire, Name: manifest.Wire, Source: fromManifest}, nil
	}
	if info, err := os.Lstat(filepath.Join(dir, wireFile)); err == nil && info.Mode().IsRegular() {
		return &Entry{Kind: KindWire, Name: wireFile + ":" + wireFunction, Source: fromFile}, nil
	}
	return nil, &contracts.Error{
		Code: contracts.CodeWireMissing, Stage: contracts.StagePrepare,
		Message: "the bundle does not say how its simulation is called: it has no wire.py, no .modelops/manifest.json with a wire or command, and no entry point in the group modelops.wire",
		Hint:    "add wire.py with a function wire(entrypoint, params, seed) that answers {name: bytes}, and push again",
	}
}

func readManifest(dir string) (*contracts.RunManifest, error) {
	name := filepath.Join(dir, filepath.FromSlash(manifestFile))
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &contracts.RunManifest{}, nil
	}
	var data []byte
	if err == nil && info.Mode().IsRegular() && info.Size() <= maxManifest {
		data, err = os.ReadFile(name)
	}
	if err != nil || data == nil {
		return nil, (&contracts.Error{
			Code: contracts.CodeInvalidBundle, Stage: contracts.StagePrepare,
			Message: "the bundle's " + manifestFile + " cannot be read, or is larger than 1 MiB",
		}).Because(err)
	}
	return contracts.ParseRunManifest(manifestFile, data)
}

// targets are the wires of a bundle's environment and project, each once.
func targets(project pyproject.Project, installed []Installed) []string {
	named := slices.Clone(project.Wires)
	for _, i := range installed {
		named = append(named, i.Value)
	}
	slices.Sort(named)
	return slices.Compact(named)
}
