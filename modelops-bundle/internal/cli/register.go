package cli

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/registration"
)

func registerModelCommand() *cli.Command {
	return &cli.Command{
		Name:      "register-model",
		Usage:     "put model classes into registry.yaml, by which Calabaria finds them",
		ArgsUsage: "PATH[:CLASS]...",
		Description: `PATH is a Python file or a directory of them. Every class that descends from a BaseModel other
than pydantic's is registered, or just CLASS, whatever it descends from. The files are parsed
and never imported. Registering again keeps the data and code that a model has, and adds;
--clear forgets them first. A model whose class is gone from its file is removed.`,
		UsageText: `modelops-bundle register-model models/seir.py --data data/population.csv`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "class", Aliases: []string{"c"}, Usage: "register only `CLASS`"},
			&cli.StringSliceFlag{Name: "exclude", Usage: "leave `CLASS` out"},
			&cli.StringSliceFlag{Name: "data", Aliases: []string{"d"}, Usage: "the models need the file, or all files of the directory, `PATH`"},
			&cli.StringSliceFlag{Name: "code", Usage: "the same, of code that they do not import"},
			&cli.StringFlag{Name: "id", Usage: "register the one model as `ID`"},
			&cli.BoolFlag{Name: "clear", Usage: "forget the data and code that the models have"},
			&cli.BoolFlag{Name: "no-auto-code", Usage: "do not add the project's files that the models import"},
		},
		Action: func(c *cli.Context) error {
			return runRegister(c, c.StringSlice("class"), (*registration.Registry).RegisterModels)
		},
	}
}

func registerTargetCommand() *cli.Command {
	return &cli.Command{
		Name:      "register-target",
		Usage:     "put calibration targets into registry.yaml",
		ArgsUsage: "PATH[:FUNCTION]...",
		Description: `PATH is a Python file or a directory of them. Every function with the decorator
calibration_target is registered, or just FUNCTION. A target whose function is gone from its
file is removed, from target sets as well.`,
		UsageText: `modelops-bundle register-target targets/prevalence.py`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "target", Aliases: []string{"t"}, Usage: "register only `FUNCTION`"},
			&cli.StringSliceFlag{Name: "exclude", Usage: "leave `FUNCTION` out"},
			&cli.StringSliceFlag{Name: "data", Aliases: []string{"d"}, Usage: "the targets need the file, or all files of the directory, `PATH`"},
			&cli.StringFlag{Name: "id", Usage: "register the one target as `ID`"},
			&cli.BoolFlag{Name: "clear", Usage: "forget the data that the targets have"},
		},
		Action: func(c *cli.Context) error {
			return runRegister(c, c.StringSlice("target"), (*registration.Registry).RegisterTargets)
		},
	}
}

type registerAnswer struct {
	Changes []registration.Change `json:"changes"`
}

type register func(*registration.Registry, registration.Snapshot, registration.Analysis, registration.Request) ([]registration.Change, []contracts.Problem)

// unfound is the problem of files in which there is nothing to register.
func unfound(c *cli.Context) contracts.Problem {
	what, name := "class that descends from a BaseModel", "CLASS"
	if c.Command.Name == "register-target" {
		what, name = "function with the decorator calibration_target", "FUNCTION"
	}
	return contracts.Problem{
		Field: contracts.Quote(strings.Join(c.Args().Slice(), " ")), Message: "has nothing to register: no " + what + " that is asked for", Hint: "name what it is, as FILE:" + name,
	}
}

func runRegister(c *cli.Context, only []string, put register) error {
	l, err := openListing(c, false)
	if err != nil {
		return err
	}
	defer l.root.Close()
	registry, err := registration.Read(l.root)
	if err != nil {
		return err
	}
	g, err := newGathering(c, l, registry)
	if err != nil {
		return err
	}
	request := registration.Request{
		Named: map[string][]string{}, Only: only, Exclude: c.StringSlice("exclude"), ID: c.String("id"),
		Clear: c.Bool("clear"), Imports: !c.Bool("no-auto-code"),
		Data: g.expand(c.StringSlice("data")), Code: g.expand(c.StringSlice("code")),
	}
	gone := g.entries(c.Args().Slice(), &request)
	if len(g.problems) > 0 {
		return refused(g.problems)
	}
	found, err := registration.Analyze(c.Context, l.project.Dir, g.candidates.Paths(), request.Files)
	if err != nil {
		return err
	}
	request.Files = append(request.Files, gone...)
	changes, problems := put(registry, g.snapshot, found, request)
	added := slices.DeleteFunc(slices.Clone(changes), func(change registration.Change) bool { return change.Kind == "removed" })
	if request.ID != "" && len(added) != 1 && len(problems) == 0 {
		problems = append(problems, contracts.Problem{Field: "--id", Message: fmt.Sprintf("is for one entry, and there are %d", len(added)), Hint: "name one as FILE:NAME"})
	}
	if len(changes) == 0 && len(problems) == 0 {
		problems = append(problems, unfound(c))
	}
	if len(problems) > 0 {
		return refused(problems)
	}
	if err := g.keep(registry); err != nil {
		return err
	}
	return command.Print(c, registerAnswer{changes}, func(w io.Writer) {
		signs := map[string]string{"added": "+", "changed": "~", "removed": "-", "same": "="}
		for _, change := range changes {
			fmt.Fprintln(w, signs[change.Kind], change.ID, change.Entry)
			for _, f := range change.Fields {
				fmt.Fprintln(w, "   ", f)
			}
		}
	})
}

func refused(problems []contracts.Problem) error {
	code := contracts.CodeInvalidProject
	if slices.ContainsFunc(problems, func(p contracts.Problem) bool { return strings.HasSuffix(p.Message, "does not exist") }) {
		code = contracts.CodeNotFound
	}
	return &contracts.Error{
		Code: code, Stage: contracts.StageProject,
		Message: "nothing is registered", Hint: "mend what is listed and register again", Problems: problems,
	}
}

// gathering finds the files that a registration is about.
type gathering struct {
	c          *cli.Context
	list       *listing
	registry   *registration.Registry
	snapshot   registration.Snapshot // what the bundle will have
	candidates registration.Snapshot // what Python may find: with an explicit list, files that are not on it yet, too
	problems   []contracts.Problem
}

func newGathering(c *cli.Context, l *listing, registry *registration.Registry) (*gathering, error) {
	g := &gathering{c: c, list: l, registry: registry, snapshot: registration.Snapshot{}, candidates: registration.Snapshot{}}
	for _, p := range l.paths {
		g.snapshot[p], g.candidates[p] = true, true
	}
	if !l.tracks {
		return g, nil
	}
	all, err := l.find(l.project.Dir, ".")
	for _, p := range all {
		g.candidates[p] = true
		if path.Base(p) == "__init__.py" {
			g.snapshot[p] = true // put on the list by keep, when it is needed
		}
	}
	return g, err
}

func (g *gathering) problem(arg, message, hint string) {
	g.problems = append(g.problems, contracts.Problem{Field: contracts.Quote(arg), Message: message, Hint: hint})
}

// expand is the files that arguments mean: themselves, or those of the directory.
func (g *gathering) expand(args []string) []string {
	var files []string
	for _, arg := range args {
		rel, err := g.list.project.Rel(command.EnvOf(g.c).Dir, arg)
		if err != nil {
			g.problem(arg, "is outside the project", contracts.AsError(err).Hint)
			continue
		}
		found := g.candidates.Below(rel)
		if len(found) > 0 {
			files = append(files, found...)
			continue
		}
		if _, err := g.list.root.Stat(rel); err != nil {
			g.problem(arg, "does not exist", "correct the path")
			continue
		}
		g.problem(arg, "has no file that would be pushed: "+bundle.IgnoreFile+" leaves it out", "run: modelops-bundle add "+rel+", or take it out of "+bundle.IgnoreFile)
	}
	return files
}

// entries fills in the request's files from arguments PATH[:NAME], and answers with files
// that are gone and have entries still.
func (g *gathering) entries(args []string, request *registration.Request) (gone []string) {
	for _, arg := range args {
		file, name := splitName(arg)
		rel, err := g.list.project.Rel(command.EnvOf(g.c).Dir, file)
		if err == nil {
			if _, statErr := g.list.root.Stat(rel); statErr != nil && name == "" && slices.Contains(g.registry.Files(), rel) {
				gone = append(gone, rel)
				continue
			}
		}
		found := g.expand([]string{file})
		python := slices.DeleteFunc(slices.Clone(found), func(p string) bool { return path.Ext(p) != ".py" })
		if len(found) > 0 && len(python) == 0 {
			g.problem(file, "is not a Python file, and no directory of them", "name a .py file")
		}
		if name != "" && len(python) == 1 {
			request.Named[python[0]] = append(request.Named[python[0]], name)
		} else if name != "" && len(python) > 1 {
			g.problem(arg, "names a class of a directory", "name the file")
		}
		request.Files = append(request.Files, python...)
	}
	request.Files = slices.Compact(slices.Sorted(slices.Values(request.Files)))
	return gone
}

// splitName splits PATH:NAME; C:\models is a path.
func splitName(arg string) (file, name string) {
	i := strings.LastIndexByte(arg, ':')
	if i <= 0 || i == len(arg)-1 || strings.ContainsAny(arg[i+1:], `/\.`) {
		return arg, ""
	}
	return arg[:i], arg[i+1:]
}

// keep writes the registry, and puts what it needs on the project's explicit list where
// there is one.
func (g *gathering) keep(registry *registration.Registry) error {
	if g.list.tracks {
		paths := append(slices.Clone(g.list.listed), bundle.RegistryFile)
		for _, file := range registry.Files() {
			if !g.candidates[file] {
				continue
			}
			paths = append(paths, file)
			for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
				if init := dir + "/__init__.py"; path.Ext(file) == ".py" && g.candidates[init] {
					paths = append(paths, init)
				}
			}
		}
		if err := g.list.project.Track(paths); err != nil {
			return err
		}
	}
	for _, file := range registry.Files() {
		if !g.candidates[file] {
			command.Warn(g.c, "%s is named in %s and would not be pushed: a push will refuse it", contracts.Quote(file), bundle.RegistryFile)
		}
	}
	return writeRegistry(g.list.project, g.list, registry)
}

// writeRegistry writes registry.yaml when it is other than what is there.
func writeRegistry(p *project.Project, l *listing, registry *registration.Registry) error {
	data, err := registry.Marshal()
	if err != nil {
		return err
	}
	if old, err := l.root.ReadFile(bundle.RegistryFile); err == nil && bytes.Equal(old, data) {
		return nil
	}
	file := filepath.Join(p.Dir, filepath.FromSlash(bundle.RegistryFile))
	if err := atomicfile.Write(file, data, 0o644); err != nil {
		return project.Unwritable(file, err)
	}
	return nil
}
