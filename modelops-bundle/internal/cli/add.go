package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

func addCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "put files on the project's explicit list",
		ArgsUsage: "FILE...",
		Description: `The first add or remove makes the list, .modelops-bundle/tracked.txt, of all files that the
bundle has now; from then on exactly those on it are in the bundle. Of a directory, the files
that .modelopsignore does not leave out are added; a file that is named is added whatever
.modelopsignore says.`,
		UsageText: `modelops-bundle add data/observed.csv`,
		Action:    runAdd,
	}
}

func removeCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "take files off the project's explicit list",
		ArgsUsage: "FILE...",
		Description: `The files stay where they are unless --rm says otherwise; of a directory, all files are taken.
When one of the arguments is not in the bundle, nothing is done.`,
		UsageText: `modelops-bundle remove data/old.csv`,
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "rm", Usage: "delete the files as well"}},
		Action:    runRemove,
	}
}

type listedAnswer struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Files   int      `json:"files"` // on the list now
}

// listing is the project in the working directory and the files of its bundle.
type listing struct {
	project *project.Project
	root    *os.Root
	tracks  bool     // it keeps an explicit list
	listed  []string // the list, those that are gone included; without one, the paths
	paths   []string // what the bundle has now
}

// openListing opens the project without an environment; the caller closes the root. With
// lenient, files on an explicit list that cannot be in a bundle are no error.
func openListing(c *cli.Context, lenient bool) (*listing, error) {
	p, err := project.Open(command.EnvOf(c).Dir)
	if err != nil {
		return nil, err
	}
	l := &listing{project: p}
	if l.listed, l.tracks, err = p.Tracked(); err != nil {
		return nil, err
	}
	if l.root, err = (&session{project: p}).root(); err != nil {
		return nil, err
	}
	sources, err := bundle.Scan(l.root)
	if err != nil && !(lenient && l.tracks) {
		_ = l.root.Close()
		return nil, err
	}
	for _, s := range sources {
		l.paths = append(l.paths, s.Path)
	}
	if !l.tracks {
		l.listed = slices.Clone(l.paths)
	}
	return l, nil
}

func runAdd(c *cli.Context) error {
	l, err := openListing(c, false)
	if err != nil {
		return err
	}
	defer l.root.Close()
	var added []string
	var problems []contracts.Problem
	for _, arg := range c.Args().Slice() {
		found, err := l.find(command.EnvOf(c).Dir, arg)
		if err != nil {
			problems = append(problems, contracts.Problem{Field: contracts.Quote(arg), Message: err.Error(), Hint: contracts.AsError(err).Hint})
		}
		added = append(added, found...)
	}
	for _, p := range added {
		problem := bundle.CheckPath(p)
		if info, err := l.root.Stat(p); problem == "" && (err != nil || !info.Mode().IsRegular()) {
			problem = "is no file, or a link to none in the project"
		}
		if problem != "" {
			problems = append(problems, contracts.Problem{Field: contracts.Quote(p), Message: problem})
		}
	}
	if len(problems) > 0 {
		return &contracts.Error{
			Code: contracts.CodeNotFound, Stage: contracts.StageProject,
			Message: "nothing is added: some arguments cannot be", Hint: "leave them out, or correct them", Problems: problems,
		}
	}
	return l.track(c, added, nil)
}

// find is the files that an argument of add means.
func (l *listing) find(cwd, arg string) ([]string, error) {
	rel, err := l.project.Rel(cwd, arg)
	if err != nil {
		return nil, err
	}
	info, err := l.root.Stat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(arg)
	case err != nil:
		return nil, errors.New("cannot be read, or is a link to none in the project")
	case !info.IsDir():
		return []string{rel}, nil
	}
	text, err := l.root.ReadFile(bundle.IgnoreFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ignore := bundle.ParseIgnore(string(text))
	var found []string
	err = fs.WalkDir(l.root.FS(), rel, func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p != rel && ignore.Match(p, entry.IsDir()):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case !entry.IsDir():
			found = append(found, p)
		}
		return nil
	})
	if err == nil && len(found) == 0 {
		err = errors.New("is a directory without files that could be added")
	}
	return found, err
}

func runRemove(c *cli.Context) error {
	l, err := openListing(c, true)
	if err != nil {
		return err
	}
	defer l.root.Close()
	var removed []string
	var problems []contracts.Problem
	for _, arg := range c.Args().Slice() {
		rel, err := l.project.Rel(command.EnvOf(c).Dir, arg)
		if err != nil {
			return err
		}
		before := len(removed)
		for _, p := range l.listed {
			if within(p, rel) {
				removed = append(removed, p)
			}
		}
		if len(removed) == before {
			problems = append(problems, contracts.Problem{Field: contracts.Quote(arg), Message: "is not in the bundle"})
		}
	}
	if len(problems) > 0 {
		return &contracts.Error{
			Code: contracts.CodeNotFound, Stage: contracts.StageProject,
			Message: "nothing is removed: some arguments are not in the bundle", Hint: "leave them out", Problems: problems,
		}
	}
	if err := l.track(c, nil, removed); err != nil || !c.Bool("rm") {
		return err
	}
	for _, p := range removed {
		if err := l.root.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return project.Unwritable(p, err)
		}
	}
	return nil
}

// within says whether p is the file or directory dir, or lies below it.
func within(p, dir string) bool {
	return dir == "." || p == dir || strings.HasPrefix(p, dir+"/")
}

func missing(arg string) error {
	return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProject, Message: contracts.Quote(path.Clean(arg)) + " does not exist"}
}

// track writes the list with some files more and some less, and says which were new.
func (l *listing) track(c *cli.Context, added, removed []string) error {
	answer := listedAnswer{Added: []string{}, Removed: []string{}}
	for _, p := range added {
		if !slices.Contains(l.listed, p) {
			l.listed = append(l.listed, p)
			answer.Added = append(answer.Added, p)
		}
	}
	for _, p := range slices.Compact(slices.Sorted(slices.Values(removed))) {
		l.listed = slices.DeleteFunc(l.listed, func(other string) bool { return other == p })
		answer.Removed = append(answer.Removed, p)
	}
	answer.Files = len(l.listed)
	if problems := bundle.CheckPaths(l.listed); len(added) > 0 && len(problems) > 0 {
		return &contracts.Error{
			Code: contracts.CodeInvalidBundle, Stage: contracts.StagePack,
			Message: "these files cannot be in one bundle", Hint: "rename them, or leave them out", Problems: problems,
		}
	}
	if err := l.project.Track(l.listed); err != nil {
		return err
	}
	return command.Print(c, answer, func(w io.Writer) {
		for _, p := range answer.Added {
			fmt.Fprintln(w, "+ "+p)
		}
		for _, p := range answer.Removed {
			fmt.Fprintln(w, "- "+p)
		}
		command.Note(c, "%s in the bundle", contracts.Count(answer.Files, "file is", "files are"))
	})
}
