// Package registration keeps .modelops-bundle/registry.yaml, by which Calabaria finds the
// models and targets of a bundle: it finds them in the project's Python files, and holds
// the registry against the files that are pushed.
//
// What a registry says is of two kinds. Which models and targets there are, and what they
// need, is declared when they are registered. Digests are computed, at push, of the very
// files that are pushed.
package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

const (
	version     = "1.0"
	maxRegistry = 16 << 20 // bytes
)

// Registry is registry.yaml. What this version does not know in it is kept.
type Registry struct {
	Version string             `json:"version"`
	Models  map[string]*Model  `json:"models"`
	Targets map[string]*Target `json:"targets"`
	Sets    map[string]*Set    `json:"target_sets"`

	rest rest
}

// Model is one registered model class.
type Model struct {
	Entrypoint  string            `json:"entrypoint"` // module:Class
	Path        string            `json:"path"`
	ClassName   string            `json:"class_name"`
	Scenarios   []string          `json:"scenarios"`
	Parameters  []string          `json:"parameters"`
	Outputs     []string          `json:"outputs"`
	Data        []string          `json:"data"`
	DataDigests map[string]string `json:"data_digests"`
	Code        []string          `json:"code"`
	CodeDigests map[string]string `json:"code_digests"`
	Digest      string            `json:"model_digest,omitempty"`

	rest rest
}

// Target is one registered target function.
type Target struct {
	Path       string   `json:"path"`
	Entrypoint string   `json:"entrypoint"` // module:function
	Output     string   `json:"model_output"`
	Data       []string `json:"data"`
	Digest     string   `json:"target_digest,omitempty"`

	rest rest
}

// Set is a named set of targets, with the weights of some.
type Set struct {
	Targets []string           `json:"targets"`
	Weights map[string]float64 `json:"weights"`

	rest rest
}

// rest is the members of an object that this version does not know.
type rest map[string]json.RawMessage

// Read reads the registry of the project at root; one that is absent is empty.
func Read(root *os.Root) (*Registry, error) {
	r := &Registry{}
	info, err := root.Stat(bundle.RegistryFile)
	var data []byte
	if err == nil && info.Size() > maxRegistry {
		err = errors.New("it is larger than 16 MiB")
	}
	if err == nil {
		data, err = root.ReadFile(bundle.RegistryFile)
	}
	if err == nil {
		if data, err = yaml.YAMLToJSONStrict(data); err == nil && string(data) != "null" {
			err = json.Unmarshal(data, r)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, (&contracts.Error{
			Code: contracts.CodeInvalidProject, Stage: contracts.StageProject,
			Message: bundle.RegistryFile + " cannot be read: " + contracts.Lines(err.Error()),
			Hint:    "correct it, or move it away and register models and targets again",
		}).Because(err)
	}
	r.normalize()
	return r, nil
}

// normalize makes every map and entry one that can be written to.
func (r *Registry) normalize() {
	if r.Version == "" {
		r.Version = version
	}
	if r.Models == nil {
		r.Models = map[string]*Model{}
	}
	if r.Targets == nil {
		r.Targets = map[string]*Target{}
	}
	if r.Sets == nil {
		r.Sets = map[string]*Set{}
	}
	fill(r.Models)
	fill(r.Targets)
	fill(r.Sets)
}

func fill[E any](entries map[string]*E) {
	for id, entry := range entries {
		if entry == nil {
			entries[id] = new(E)
		}
	}
}

// Empty says that nothing is registered.
func (r *Registry) Empty() bool { return len(r.Models)+len(r.Targets)+len(r.Sets) == 0 }

// Marshal is the file's content: a function of what is registered.
func (r *Registry) Marshal() ([]byte, error) { return yaml.Marshal(r) }

// Files are the files that entries refer to, sorted, each once.
func (r *Registry) Files() []string {
	var files []string
	for _, m := range r.Models {
		files = slices.Concat(files, []string{m.Path}, m.Data, m.Code)
	}
	for _, t := range r.Targets {
		files = slices.Concat(files, []string{t.Path}, t.Data)
	}
	return slices.Compact(slices.Sorted(slices.Values(files)))
}

// The following keep what is not known through a reading and a writing.

func (r *Registry) UnmarshalJSON(data []byte) error {
	type plain Registry
	return read(data, (*plain)(r), &r.rest)
}

func (r *Registry) MarshalJSON() ([]byte, error) {
	type plain Registry
	return write((*plain)(r), r.rest)
}

func (m *Model) UnmarshalJSON(data []byte) error {
	type plain Model
	return read(data, (*plain)(m), &m.rest)
}

func (m *Model) MarshalJSON() ([]byte, error) {
	type plain Model
	p := plain(*m)
	p.Scenarios, p.Parameters, p.Outputs = list(p.Scenarios), list(p.Parameters), list(p.Outputs)
	p.Data, p.Code, p.DataDigests, p.CodeDigests = list(p.Data), list(p.Code), table(p.DataDigests), table(p.CodeDigests)
	return write(&p, m.rest)
}

func (t *Target) UnmarshalJSON(data []byte) error {
	type plain Target
	return read(data, (*plain)(t), &t.rest)
}

func (t *Target) MarshalJSON() ([]byte, error) {
	type plain Target
	p := plain(*t)
	p.Data = list(p.Data)
	return write(&p, t.rest)
}

func (s *Set) UnmarshalJSON(data []byte) error {
	type plain Set
	return read(data, (*plain)(s), &s.rest)
}

func (s *Set) MarshalJSON() ([]byte, error) {
	type plain Set
	p := plain(*s)
	p.Targets, p.Weights = list(p.Targets), table(p.Weights)
	return write(&p, s.rest)
}

// list and table are never null: the Python suite iterates over them.
func list(l []string) []string { return append([]string{}, l...) }

func table[V any](t map[string]V) map[string]V {
	if t == nil {
		t = map[string]V{}
	}
	return t
}

func read(data []byte, known any, unknown *rest) error {
	if err := json.Unmarshal(data, known); err != nil {
		return err
	}
	if err := json.Unmarshal(data, unknown); err != nil {
		return err
	}
	t := reflect.TypeOf(known).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		delete(*unknown, name)
	}
	return nil
}

func write(known any, unknown rest) ([]byte, error) {
	data, err := json.Marshal(known)
	if err != nil || len(unknown) == 0 {
		return data, err
	}
	members := maps.Clone(unknown)
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&members); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}
