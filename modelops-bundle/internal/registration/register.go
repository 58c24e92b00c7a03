package registration

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Request says what to register, in terms of the project's files.
type Request struct {
	Files   []string            // Python files, of the snapshot
	Named   map[string][]string // of a file, the classes or functions that were named for it
	Only    []string            // classes or targets to take; empty for all that are found
	Exclude []string            // classes or targets to leave out
	Data    []string            // files that every entry needs besides those it has
	Code    []string            // the same, for models
	ID      string              // of the one entry there is
	// Clear forgets the data and code that entries have; else they keep them.
	Clear bool
	// Imports adds the project's files that a model imports to its code.
	Imports bool
}

// Change is what a registration did to one entry.
type Change struct {
	Kind   string   `json:"kind"` // "added", "changed", "removed" or "same"
	ID     string   `json:"id"`
	Entry  string   `json:"entrypoint"`
	Fields []string `json:"fields,omitempty"` // what changed, as "data: [] → [data/pop.csv]"
}

// Snapshot is the paths of a project's files as they are pushed.
type Snapshot map[string]bool

// Below is the files at or below a path, sorted.
func (s Snapshot) Below(p string) []string {
	var found []string
	for file := range s {
		if p == "." || file == p || strings.HasPrefix(file, p+"/") {
			found = append(found, file)
		}
	}
	slices.Sort(found)
	return found
}

// Paths is all files, sorted.
func (s Snapshot) Paths() []string { return s.Below(".") }

var identifier = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]*$`) })

// module is the import path of a Python file, for which the project's directory and src
// are on Python's path.
func (s Snapshot) module(file string) (string, *contracts.Problem) {
	problem := func(message, hint string) (string, *contracts.Problem) {
		return "", &contracts.Problem{Field: contracts.Quote(file), Message: message, Hint: hint}
	}
	inner, inSrc := strings.CutPrefix(file, "src/")
	stem, isPython := strings.CutSuffix(inner, ".py")
	if !isPython {
		return problem("is not a Python file", "name a .py file, or a directory of them")
	}
	parts := strings.Split(strings.TrimSuffix(stem, "/__init__"), "/")
	if len(parts) < 2 {
		return problem("must be inside a package directory: Calabaria names models and targets by package.module",
			"mkdir -p "+path.Dir(file)+"/models, and move it there, with an __init__.py beside it")
	}
	for _, part := range parts {
		if !identifier().MatchString(part) {
			return problem("cannot be imported: "+contracts.Quote(part)+" is not a Python name", "rename it")
		}
	}
	for dir := path.Dir(inner); dir != "."; dir = path.Dir(dir) {
		init := dir + "/__init__.py"
		if inSrc {
			init = "src/" + init
		}
		if !s[init] {
			return problem("is in a package without "+contracts.Quote(init), "touch "+init)
		}
	}
	return strings.Join(parts, "."), nil
}

// pick is the names to register of a file's found ones: those that were named, which need
// only exist, else the found ones that no filter leaves out.
func (q *Request) pick(file string, found, exist []string) ([]string, []contracts.Problem) {
	var problems []contracts.Problem
	names := found
	if named := q.Named[file]; len(named) > 0 {
		for _, name := range named {
			if !slices.Contains(exist, name) {
				problems = append(problems, contracts.Problem{
					Field: contracts.Quote(file), Message: "has no " + contracts.Quote(name), Hint: "it has: " + or(strings.Join(found, ", "), "nothing to register"),
				})
			}
		}
		names = named
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.Contains(q.Exclude, name) || len(q.Only) > 0 && !slices.Contains(q.Only, name)
	}), problems
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// RegisterModels registers the model classes of files. Entries of these files whose class
// is gone are removed; every other keeps what it has. With problems, all of them are
// answered and the registry is not to be written.
func (r *Registry) RegisterModels(snapshot Snapshot, found Analysis, q Request) ([]Change, []contracts.Problem) {
	var changes []Change
	var problems []contracts.Problem
	seen := map[string]bool{}
	for _, file := range q.Files {
		f := found[file]
		if f.Error != nil {
			problems = append(problems, syntaxProblem(file, f.Error))
			continue
		}
		var models, classes []string
		for name, class := range f.Classes {
			classes = append(classes, name)
			if class.Model {
				models = append(models, name)
			}
		}
		slices.Sort(models)
		names, unknown := q.pick(file, models, classes)
		problems = append(problems, unknown...)
		changes = append(changes, r.dropModels(file, classes)...)
		if len(names) == 0 {
			continue
		}
		module, problem := snapshot.module(file)
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		for _, name := range names {
			seen[name] = true
			m := Model{
				Path: file, ClassName: name, Entrypoint: module + ":" + name, Outputs: f.Classes[name].Outputs,
				Data: q.Data, Code: slices.Clone(q.Code),
			}
			if q.Imports {
				m.Code = append(m.Code, f.Imports...)
			}
			change, problem := r.putModel(snapshot, m, q)
			if problem != nil {
				problems = append(problems, *problem)
				continue
			}
			changes = append(changes, change)
		}
	}
	return changes, append(problems, q.unmet(seen, "model class")...)
}

// putModel merges a model into the registry.
func (r *Registry) putModel(snapshot Snapshot, m Model, q Request) (Change, *contracts.Problem) {
	id := ""
	for other, entry := range r.Models {
		if entry.Path == m.Path && entry.ClassName == m.ClassName {
			id = other
		}
	}
	if id != "" && q.ID != "" && q.ID != id {
		return Change{}, &contracts.Problem{Field: contracts.Quote(m.Entrypoint), Message: "is registered as " + contracts.Quote(id) + " already", Hint: "leave out --id"}
	}
	if id == "" {
		stem := strings.TrimSuffix(path.Base(m.Path), ".py")
		id = strings.ToLower(stem + "_" + m.ClassName)
		if r.Models[id] != nil { // a/sir.py and b/sir.py
			id = strings.ToLower(strings.NewReplacer(".", "_", ":", "_").Replace(m.Entrypoint))
		}
		if q.ID != "" {
			id = q.ID
		}
		if other := r.Models[id]; other != nil {
			return Change{}, &contracts.Problem{Field: contracts.Quote(m.Entrypoint), Message: "would have the id " + contracts.Quote(id) + " of " + other.Entrypoint, Hint: "choose another with --id"}
		}
	}
	before := r.Models[id]
	after := m
	if before != nil {
		after = *before
		after.Entrypoint, after.Outputs = m.Entrypoint, m.Outputs
		data, code := before.Data, before.Code
		if q.Clear {
			data, code = nil, nil
		}
		gone := func(p string) bool { return !snapshot[p] && !slices.Contains(q.Code, p) }
		after.Data, after.Code = slices.Concat(data, m.Data), slices.Concat(slices.DeleteFunc(slices.Clone(code), gone), m.Code)
	}
	after.Data, after.Code = set(after.Data), set(slices.DeleteFunc(after.Code, func(p string) bool { return p == m.Path }))
	if before != nil && q.Clear {
		after.DataDigests, after.CodeDigests = nil, nil
	}
	r.Models[id] = &after
	if before == nil {
		return Change{Kind: "added", ID: id, Entry: after.Entrypoint}, nil
	}
	return changed(id, after.Entrypoint,
		field{"entrypoint", before.Entrypoint, after.Entrypoint}, field{"outputs", before.Outputs, after.Outputs},
		field{"data", before.Data, after.Data}, field{"code", before.Code, after.Code}), nil
}

// dropModels removes the entries of a file whose class is not among those it has.
func (r *Registry) dropModels(file string, classes []string) []Change {
	var changes []Change
	for _, id := range slices.Sorted(maps.Keys(r.Models)) {
		m := r.Models[id]
		if m.Path == file && !slices.Contains(classes, m.ClassName) {
			delete(r.Models, id)
			changes = append(changes, Change{Kind: "removed", ID: id, Entry: m.Entrypoint})
		}
	}
	return changes
}

// RegisterTargets registers the functions of files that are calibration targets, as
// RegisterModels does classes. Targets that are gone leave the sets that they were in.
func (r *Registry) RegisterTargets(snapshot Snapshot, found Analysis, q Request) ([]Change, []contracts.Problem) {
	var changes []Change
	var problems []contracts.Problem
	seen := map[string]bool{}
	for _, file := range q.Files {
		f := found[file]
		if f.Error != nil {
			problems = append(problems, syntaxProblem(file, f.Error))
			continue
		}
		targets := map[string]Found{} // by function
		var functions, names []string
		for name := range f.Functions {
			functions = append(functions, name)
		}
		for _, t := range f.Targets {
			targets[t.Function] = t
			names = append(names, t.Function)
		}
		picked, unknown := q.pick(file, names, functions)
		problems = append(problems, unknown...)
		changes = append(changes, r.dropTargets(file, functions)...)
		if len(picked) == 0 {
			continue
		}
		module, problem := snapshot.module(file)
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		for _, name := range picked {
			seen[name] = true
			t, decorated := targets[name]
			if !decorated {
				t = Found{Name: name, Output: name, Line: f.Functions[name]}
			}
			if len(t.Unread) > 0 && len(q.Data) == 0 {
				problems = append(problems, contracts.Problem{
					Field:   fmt.Sprintf("%s:%d", contracts.Quote(file), t.Line),
					Message: strings.Join(t.Unread, ", ") + " of the target " + contracts.Quote(name) + " is not written out",
					Hint:    "write literals in the decorator, or name its files with --data",
				})
				continue
			}
			change, problem := r.putTarget(Target{Path: file, Entrypoint: module + ":" + name, Output: t.Output, Data: slices.Concat(t.Data, q.Data)}, or(q.ID, t.Name), q)
			if problem != nil {
				problems = append(problems, *problem)
				continue
			}
			changes = append(changes, change)
		}
	}
	return changes, append(problems, q.unmet(seen, "target")...)
}

func (r *Registry) putTarget(t Target, id string, q Request) (Change, *contracts.Problem) {
	for other, registered := range r.Targets { // it keeps the id that it has
		if registered.Entrypoint == t.Entrypoint && q.ID == "" {
			id = other
		}
	}
	before := r.Targets[id]
	if before != nil && before.Entrypoint != t.Entrypoint {
		return Change{}, &contracts.Problem{Field: contracts.Quote(t.Entrypoint), Message: "would have the id " + contracts.Quote(id) + " of " + before.Entrypoint, Hint: "choose another with --id"}
	}
	after := t
	if before != nil {
		after = *before
		after.Path, after.Entrypoint, after.Output = t.Path, t.Entrypoint, t.Output
		after.Data = t.Data
		if !q.Clear {
			after.Data = slices.Concat(before.Data, t.Data)
		}
	}
	after.Data = set(after.Data)
	r.Targets[id] = &after
	if before == nil {
		return Change{Kind: "added", ID: id, Entry: after.Entrypoint}, nil
	}
	return changed(id, after.Entrypoint, field{"entrypoint", before.Entrypoint, after.Entrypoint},
		field{"model_output", before.Output, after.Output}, field{"data", before.Data, after.Data}), nil
}

func (r *Registry) dropTargets(file string, functions []string) []Change {
	var changes []Change
	for _, id := range slices.Sorted(maps.Keys(r.Targets)) {
		t := r.Targets[id]
		_, function, _ := strings.Cut(t.Entrypoint, ":")
		if t.Path != file || slices.Contains(functions, function) {
			continue
		}
		delete(r.Targets, id)
		for _, s := range r.Sets {
			s.Targets = slices.DeleteFunc(s.Targets, func(other string) bool { return other == id })
			delete(s.Weights, id)
		}
		changes = append(changes, Change{Kind: "removed", ID: id, Entry: t.Entrypoint})
	}
	return changes
}

// unmet is the names of Only that no file had.
func (q *Request) unmet(seen map[string]bool, what string) []contracts.Problem {
	var problems []contracts.Problem
	for _, name := range q.Only {
		if !seen[name] {
			problems = append(problems, contracts.Problem{Field: contracts.Quote(name), Message: "is no " + what + " of these files", Hint: "correct the name, or name it as FILE:" + name})
		}
	}
	return problems
}

func syntaxProblem(file string, e *SyntaxError) contracts.Problem {
	return contracts.Problem{
		Field: fmt.Sprintf("%s:%d", contracts.Quote(file), e.Line), Message: "cannot be parsed: " + contracts.Lines(e.Message), Hint: "correct the syntax",
	}
}

type field struct {
	name          string
	before, after any
}

func changed(id, entry string, fields ...field) Change {
	c := Change{Kind: "same", ID: id, Entry: entry}
	for _, f := range fields {
		if l, ok := f.before.([]string); ok {
			f.before, f.after = list(l), list(f.after.([]string))
		}
		if !reflect.DeepEqual(f.before, f.after) {
			c.Kind, c.Fields = "changed", append(c.Fields, fmt.Sprintf("%s: %v → %v", f.name, f.before, f.after))
		}
	}
	return c
}

func set(l []string) []string { return slices.Compact(slices.Sorted(slices.Values(l))) }
