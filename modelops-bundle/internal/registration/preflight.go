package registration

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// SnapshotOf is the paths of sources.
func SnapshotOf(sources []bundle.Source) Snapshot {
	s := make(Snapshot, len(sources))
	for _, source := range sources {
		s[source.Path] = true
	}
	return s
}

// Preflight holds the registry against the files that are pushed: whether a worker would
// find everything that it names. All that is wrong is in one [contracts.Error] with
// [contracts.CodeInvalidBundle]; the warnings are what is worth a second look. Without a
// Python to parse with, files are looked at and their content is not, and a warning says
// so.
func Preflight(ctx context.Context, root *os.Root, r *Registry, snapshot Snapshot) (warnings []string, err error) {
	p := &preflight{registry: r, snapshot: snapshot, root: root}
	p.files()
	var want []string
	for file := range p.entryFiles() {
		if snapshot[file] && strings.HasSuffix(file, ".py") {
			want = append(want, file)
		}
	}
	slices.Sort(want)
	found, err := Analyze(ctx, root.Name(), snapshot.Paths(), want)
	switch {
	case errors.Is(err, ErrNoPython):
		p.warnings = append(p.warnings, "whether the registered classes and functions are there was not checked: "+err.Error())
	case err != nil:
		return nil, err
	default:
		p.symbols(found)
	}
	p.outputs(found)
	p.wire()
	p.sets()
	if len(p.problems) == 0 {
		return p.warnings, nil
	}
	sort.SliceStable(p.problems, func(i, j int) bool { return p.problems[i].Field < p.problems[j].Field })
	return p.warnings, &contracts.Error{
		Code: contracts.CodeInvalidBundle, Stage: contracts.StagePack,
		Message:  bundle.RegistryFile + " does not fit the files that would be pushed: a worker would not find what it names",
		Hint:     "mend what is listed and push again",
		Problems: p.problems,
	}
}

type preflight struct {
	registry *Registry
	snapshot Snapshot
	root     *os.Root
	problems []contracts.Problem
	warnings []string
}

func (p *preflight) problem(field, message, hint string) {
	p.problems = append(p.problems, contracts.Problem{Field: field, Message: message, Hint: hint})
}

// entry is what models and targets have in common.
type entry struct {
	field, entrypoint, symbol, register string
}

// entryFiles is the entries of each file.
func (p *preflight) entryFiles() map[string][]entry {
	files := map[string][]entry{}
	for id, m := range p.registry.Models {
		files[m.Path] = append(files[m.Path], entry{"models." + contracts.Quote(id), m.Entrypoint, m.ClassName, "register-model"})
	}
	for id, t := range p.registry.Targets {
		_, function, _ := strings.Cut(t.Entrypoint, ":")
		files[t.Path] = append(files[t.Path], entry{"targets." + contracts.Quote(id), t.Entrypoint, function, "register-target"})
	}
	return files
}

// files checks that every file is in the snapshot, and that every entry point is the
// file's.
func (p *preflight) files() {
	for id, m := range p.registry.Models {
		for _, file := range slices.Concat([]string{m.Path}, m.Data, m.Code) {
			p.file("models."+contracts.Quote(id), file)
		}
	}
	for id, t := range p.registry.Targets {
		for _, file := range slices.Concat([]string{t.Path}, t.Data) {
			p.file("targets."+contracts.Quote(id), file)
		}
	}
	for file, entries := range p.entryFiles() {
		if !p.snapshot[file] {
			continue
		}
		module, problem := p.snapshot.module(file)
		if problem != nil {
			p.problems = append(p.problems, *problem)
			continue
		}
		for _, e := range entries {
			named, symbol, _ := strings.Cut(e.entrypoint, ":")
			inSrc := strings.HasPrefix(file, "src/") && named == "src."+module // as the Python suite's program writes it
			if symbol != e.symbol || named != module && !inSrc {
				p.problem(e.field, "has the entry point "+contracts.Quote(e.entrypoint)+", and "+contracts.Quote(file)+" is "+module+":"+e.symbol, "run: modelops-bundle "+e.register+" "+file)
			}
		}
	}
}

func (p *preflight) file(field, file string) {
	if p.snapshot[file] {
		return
	}
	info, err := p.root.Stat(file)
	switch {
	case bundle.CheckPath(file) != "":
		p.problem(field, contracts.Quote(file)+" "+bundle.CheckPath(file), "name files below the project's directory")
	case err != nil:
		p.problem(field, contracts.Quote(file)+" does not exist", "put it back, or register again with --clear")
	case info.IsDir():
		p.problem(field, contracts.Quote(file)+" is a directory", "register again with --clear --data "+file+", which names its files")
	default:
		p.problem(field, contracts.Quote(file)+" exists and would not be pushed", "run: modelops-bundle add "+file+", or take it out of "+bundle.IgnoreFile)
	}
}

// symbols checks that classes and functions are in their files.
func (p *preflight) symbols(found Analysis) {
	for file, entries := range p.entryFiles() {
		f, analysed := found[file]
		if !analysed {
			continue
		}
		if f.Error != nil {
			p.problems = append(p.problems, syntaxProblem(file, f.Error))
			continue
		}
		for _, e := range entries {
			_, isClass := f.Classes[e.symbol]
			_, isFunction := f.Functions[e.symbol]
			if e.register == "register-model" && !isClass {
				p.problem(e.field, contracts.Quote(file)+" has no class "+contracts.Quote(e.symbol), "run: modelops-bundle register-model "+file)
			}
			if e.register == "register-target" && !isFunction {
				p.problem(e.field, contracts.Quote(file)+" has no function "+contracts.Quote(e.symbol), "run: modelops-bundle register-target "+file)
			}
		}
	}
}

// outputs checks that what a target compares is an output of some model.
func (p *preflight) outputs(found Analysis) {
	provided := map[string]bool{}
	for id, m := range p.registry.Models {
		outputs := set(m.Outputs)
		if class, ok := found[m.Path].Classes[m.ClassName]; ok && len(class.Outputs) > 0 {
			if now := set(class.Outputs); !slices.Equal(now, outputs) {
				p.warnings = append(p.warnings, fmt.Sprintf("model %s is registered with the outputs %v and has %v (run: modelops-bundle register-model %s)", contracts.Quote(id), outputs, now, contracts.Quote(m.Path)))
				outputs = now
			}
		}
		if len(outputs) == 0 {
			p.warnings = append(p.warnings, "model "+contracts.Quote(id)+" has no outputs")
		}
		for _, o := range outputs {
			provided[o] = true
		}
	}
	names := slices.Sorted(maps.Keys(provided))
	for id, t := range p.registry.Targets {
		if !provided[t.Output] {
			p.problem("targets."+contracts.Quote(id), "compares the output "+contracts.Quote(t.Output)+", which no registered model has", "the outputs are: "+or(strings.Join(names, ", "), "none; register a model"))
		}
	}
	sort.Strings(p.warnings)
}

// wire checks that the worker would find how to call the models.
func (p *preflight) wire() {
	var doc struct {
		Project struct {
			Dependencies []string                     `toml:"dependencies"`
			EntryPoints  map[string]map[string]string `toml:"entry-points"`
		} `toml:"project"`
	}
	if p.snapshot["pyproject.toml"] {
		text, err := p.root.ReadFile("pyproject.toml")
		if err == nil {
			err = toml.Unmarshal(text, &doc)
		}
		if err != nil {
			p.problem(`"pyproject.toml"`, "cannot be read: "+contracts.Lines(err.Error()), "correct it")
			return
		}
	}
	calabaria := slices.ContainsFunc(doc.Project.Dependencies, func(d string) bool {
		return strings.HasPrefix(strings.ReplaceAll(strings.ToLower(d), "_", "-"), "modelops-calabaria")
	})
	if len(p.registry.Models) == 0 || calabaria || len(doc.Project.EntryPoints["modelops.wire"]) > 0 || p.snapshot[".modelops/manifest.json"] || p.snapshot["wire.py"] {
		return
	}
	p.problem("models", "the bundle does not say how a worker calls them",
		`add to pyproject.toml: [project.entry-points."modelops.wire"] calabaria = "modelops_calabaria.modelops_wire:wire_function"`)
}

func (p *preflight) sets() {
	for name, s := range p.registry.Sets {
		for _, id := range s.Targets {
			if p.registry.Targets[id] == nil {
				p.problem("target_sets."+contracts.Quote(name), "has the target "+contracts.Quote(id)+", which is not registered", "run: modelops-bundle target-set set "+name)
			}
		}
	}
}

// Refresh sets the digests of every entry to those of the files in the snapshot, and says
// whether one changed. Files that are not in it are left to [Preflight]. A file that is no
// longer the one that was scanned is an error.
func (r *Registry) Refresh(root *os.Root, sources []bundle.Source) (bool, error) {
	d := digester{root: root, sources: map[string]bundle.Source{}, known: map[string]string{}}
	for _, s := range sources {
		d.sources[s.Path] = s
	}
	for _, m := range r.Models {
		d.one(&m.Digest, m.Path)
		d.many(&m.DataDigests, m.Data)
		d.many(&m.CodeDigests, m.Code)
	}
	for _, t := range r.Targets {
		d.one(&t.Digest, t.Path)
	}
	return d.changed, d.err
}

type digester struct {
	root    *os.Root
	sources map[string]bundle.Source
	known   map[string]string
	changed bool
	err     error
}

func (d *digester) one(digest *string, file string) {
	if now := d.of(file); *digest != now {
		*digest, d.changed = now, true
	}
}

func (d *digester) many(digests *map[string]string, files []string) {
	now := make(map[string]string, len(files))
	for _, file := range files {
		now[file] = d.of(file)
		d.changed = d.changed || (*digests)[file] != now[file]
	}
	d.changed = d.changed || len(*digests) != len(now)
	*digests = now
}

// of is the SHA-256 of a file's bytes; empty for one that is not pushed.
func (d *digester) of(file string) string {
	source, pushed := d.sources[file]
	if digest, ok := d.known[file]; ok || !pushed || d.err != nil {
		return digest
	}
	f, err := d.root.Open(file)
	if err != nil {
		d.err = err
		return ""
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		d.err = err
		return ""
	}
	info, err := f.Stat()
	if err != nil || info.Size() != source.Info.Size() || !info.ModTime().Equal(source.Info.ModTime()) {
		d.err = &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StagePack, Message: contracts.Quote(file) + " changed while it was read", Hint: "push again",
		}
		return ""
	}
	d.known[file] = fmt.Sprintf("sha256:%x", hash.Sum(nil))
	return d.known[file]
}
