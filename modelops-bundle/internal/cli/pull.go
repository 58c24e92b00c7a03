package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

func pullCommand() *cli.Command {
	return &cli.Command{
		Name:      "pull",
		Usage:     "take in what changed in the registry, or clone a bundle",
		ArgsUsage: "[REF [DIR]]",
		Description: `Inside a project it takes in what changed remotely since the last push or pull. Files that
you changed and nobody else did stay as they are; a file that changed on both sides stops
the pull before anything is written. Files that were deleted remotely stay, unless --prune
is given.

With DIR it makes a new project there, of the bundle that REF names.`,
		UsageText: `modelops-bundle pull
modelops-bundle pull my-model:latest my-copy`,
		Flags: []cli.Flag{
			envFlag(), tagFlag(),
			&cli.BoolFlag{Name: "force", Aliases: []string{"f", "overwrite"}, Usage: "replace local changes by what is in the registry"},
			&cli.BoolFlag{Name: "prune", Usage: "delete files that an earlier push or pull had, that did not change here, and that are gone remotely; and directories that become empty"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be written, and write nothing"},
		},
		Action: runPull,
	}
}

type pullAnswer struct {
	Ref           contracts.BundleRef `json:"ref"`
	Digest        contracts.Digest    `json:"digest"`
	ContentDigest contracts.Digest    `json:"content_digest"`
	Path          string              `json:"path"`
	Files         int                 `json:"files"`
	BytesFetched  int64               `json:"bytes_fetched"`
	Cached        bool                `json:"cached"` // nothing had to be fetched
	Written       []string            `json:"written"`
	Deleted       []string            `json:"deleted"`
	Kept          []bundle.Difference `json:"kept"` // differs here, and stays
	DryRun        bool                `json:"dry_run,omitempty"`
}

func runPull(c *cli.Context) error {
	if c.Args().Len() == 2 {
		return runClone(c)
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	if c.IsSet("tag") && c.Args().Present() {
		return command.Usage("modelops-bundle pull --tag TAG", "--tag and REF both say what to pull")
	}
	arg := c.Args().First()
	if arg == "" {
		if arg, err = s.tag(); err != nil {
			return err
		}
	}
	repository, digest, err := s.reference(arg)
	if err != nil {
		return err
	}
	if repository.Name != s.repository.Name {
		return command.Usage("modelops-bundle pull "+arg+" DIR", "%s is another project's; give a directory to clone it into", repository.Name)
	}
	ref := contracts.BundleRef{Repository: repository.Name, Digest: digest}
	if here, err := s.pullHere(ref, pulledTag(arg)); here || err != nil {
		return err
	}
	remote, err := repository.Fetch(c.Context, digest)
	if err != nil {
		return err
	}
	return s.pull(remote, pulledTag(arg))
}

// pullHere is the pull of a bundle whose files lie here as they are in it, and says whether
// it is one: then nothing is fetched, the manifest and the index neither.
func (s *session) pullHere(ref contracts.BundleRef, tag string) (bool, error) {
	state, err := s.project.ReadState()
	if err != nil {
		return false, err
	}
	content := state.Contents[ref.Digest]
	if content == "" {
		return false, nil
	}
	root, err := s.root()
	if err != nil {
		return false, err
	}
	defer root.Close()
	here, err := s.identify(root, state)
	if err != nil || here.Content != content {
		return false, err
	}
	return true, s.pulled(state, tag, here, pullAnswer{
		Ref: ref, Digest: ref.Digest, ContentDigest: content, Path: s.project.Dir, Files: len(here.Files), Cached: true,
		Written: []string{}, Deleted: []string{}, Kept: []bundle.Difference{}, DryRun: s.c.Bool("dry-run"),
	})
}

// pulled notes in the project's state that the pull is done, and answers.
func (s *session) pulled(state *project.State, tag string, x *bundle.Index, answer pullAnswer) error {
	key, isDefault := "", tag == s.defaultTag()
	if tag != "" {
		key = s.baseKey(tag)
	}
	known := state.LastPull == answer.Digest && state.Knows(key, isDefault, answer.Digest, answer.ContentDigest)
	if !answer.DryRun && !known {
		state.LastPull = answer.Digest
		if tag != "" {
			state.Agree(key, tag, isDefault, answer.Digest, x)
		}
		state.Describe(answer.Digest, answer.ContentDigest)
		if err := s.project.WriteState(state); err != nil {
			return err
		}
	}
	return command.Print(s.c, answer, func(w io.Writer) { answer.text(w) })
}

// pulledTag is the tag that a reference names, or "".
func pulledTag(arg string) string {
	ref, err := contracts.ParseReference(arg)
	if err != nil || ref.Digest != "" {
		return ""
	}
	if ref.Tag == "" {
		return project.DefaultTag
	}
	return ref.Tag
}

// pull brings the project to the remote bundle.
func (s *session) pull(remote *bundleoci.Bundle, tag string) error {
	state, err := s.project.ReadState()
	if err != nil {
		return err
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	defer root.Close()
	plan, err := s.plan(root, state, remote, tag)
	if err != nil {
		return err
	}
	answer := pullAnswer{
		Ref: remote.Ref, Digest: remote.Ref.Digest, ContentDigest: remote.Index.Content, Path: s.project.Dir, Files: len(remote.Index.Files),
		Written: plan.write, Deleted: plan.delete, Kept: plan.keep, DryRun: s.c.Bool("dry-run"),
	}
	if !answer.DryRun {
		if answer.BytesFetched, err = plan.carryOut(s, root, remote); err != nil {
			return err
		}
	}
	answer.Cached = answer.BytesFetched == 0
	return s.pulled(state, tag, remote.Index, answer)
}

func (a pullAnswer) text(w io.Writer) {
	fmt.Fprintln(w, a.Ref)
	for _, path := range a.Written {
		fmt.Fprintf(w, "  written  %s\n", contracts.Lines(path))
	}
	for _, path := range a.Deleted {
		fmt.Fprintf(w, "  deleted  %s\n", contracts.Lines(path))
	}
	for _, d := range a.Kept {
		fmt.Fprintf(w, "  kept     %s (%s)\n", contracts.Lines(d.Path), d.Change)
	}
	if len(a.Written)+len(a.Deleted) == 0 {
		fmt.Fprintln(w, "nothing to take in")
	}
}

// plan is what a pull does to each path.
type plan struct {
	here   *bundle.Index
	write  []string
	delete []string
	keep   []bundle.Difference
}

// plan compares the three sides, and refuses to lose anything.
func (s *session) plan(root *os.Root, state *project.State, remote *bundleoci.Bundle, tag string) (*plan, error) {
	here, err := s.here(root, state, remote.Index.Format())
	if err != nil {
		return nil, err
	}
	local := bundle.Identities(here.Files)
	agreed, err := state.Agreed()
	if tag != s.defaultTag() {
		agreed, err = s.base(state.Bases[s.baseKey(tag)])
	}
	if err != nil {
		return nil, err
	}
	base, err := s.inFormat(root, state, agreed, remote.Index.Format())
	if err != nil {
		return nil, err
	}
	force, prune := s.c.Bool("force"), s.c.Bool("prune")
	theirs := bundle.Identities(remote.Index.Files)
	p := &plan{here: here, write: []string{}, delete: []string{}, keep: []bundle.Difference{}}
	var lost []contracts.Problem
	for _, d := range bundle.Compare(base, local, theirs) {
		_, there := theirs[d.Path]
		switch {
		case d.Change == bundle.DeletedRemote && prune:
			p.delete = append(p.delete, d.Path)
		case d.Change == bundle.Conflict && !force:
			lost = append(lost, contracts.Problem{Field: contracts.Quote(d.Path), Message: string(d.Change)})
		case d.Change == bundle.AddedRemote || d.Change == bundle.ModifiedRemote || force && there:
			p.write = append(p.write, d.Path)
		default:
			p.keep = append(p.keep, d)
		}
	}
	if !force {
		lost = append(lost, collisions(root, p, local, remote)...)
	}
	if len(lost) > 0 {
		return nil, &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StagePull,
			Message:  "the pull would overwrite local changes",
			Hint:     "move your versions aside, or take the registry's with --force",
			Problems: lost,
		}
	}
	return p, nil
}

// here is what lies in the project, to compare with a bundle of the format. Only in the
// packed one it has the parts that a pull can take from it.
func (s *session) here(root *os.Root, state *project.State, format bundle.Format) (*bundle.Index, error) {
	if format == bundle.Packed {
		return s.identify(root, state)
	}
	files, err := s.local(root, state, format)
	return &bundle.Index{Files: files}, err
}

// collisions are files that the project leaves out of its bundle and that the pull would
// overwrite with other bytes. One that has the very bytes already is not written.
func collisions(root *os.Root, p *plan, local map[string]string, remote *bundleoci.Bundle) []contracts.Problem {
	files := make(map[string]bundle.File, len(remote.Index.Files))
	for _, f := range remote.Index.Files {
		files[f.Path] = f
	}
	var lost []contracts.Problem
	write := p.write[:0]
	for _, path := range p.write {
		if _, known := local[path]; known {
			write = append(write, path)
			continue
		}
		same, err := bundle.SameFile(root, files[path], remote.Index.Format())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			write = append(write, path)
		case err != nil || !same:
			lost = append(lost, contracts.Problem{Field: contracts.Quote(path), Message: "is here too, left out of the bundle, with other content"})
		}
	}
	p.write = write
	return lost
}

// carryOut fetches into a directory beside the files, verifies, and then moves each file
// to its place.
func (p *plan) carryOut(s *session, root *os.Root, remote *bundleoci.Bundle) (fetched int64, err error) {
	if len(p.write) > 0 {
		if fetched, err = p.fetch(s, root, remote); err != nil {
			return 0, err
		}
	}
	for _, name := range p.delete {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fetched, project.Unwritable(name, err)
		}
		for dir := path.Dir(name); dir != "." && root.Remove(dir) == nil; dir = path.Dir(dir) {
			// A directory that is empty now; one that is not is not removed.
		}
	}
	return fetched, nil
}

func (p *plan) fetch(s *session, root *os.Root, remote *bundleoci.Bundle) (int64, error) {
	dir, err := os.MkdirTemp(filepath.Join(s.project.Dir, project.StateDir), "staging-")
	if err != nil {
		return 0, project.Unwritable(s.project.Dir, err)
	}
	defer os.RemoveAll(dir)
	staging, err := os.OpenRoot(dir)
	if err != nil {
		return 0, project.Unwritable(dir, err)
	}
	defer staging.Close()
	wanted := make(map[string]bool, len(p.write))
	for _, name := range p.write {
		wanted[name] = true
	}
	want := func(f bundle.File) bool { return wanted[f.Path] }
	progress := command.NewTransfer(s.c, "pull")
	stats, err := remote.ExtractFiles(s.c.Context, staging, bundle.ExtractOptions{
		Want:     want,
		Local:    &bundle.Local{Root: root, Index: p.here},
		Progress: progress,
	})
	progress.End()
	if err != nil {
		return 0, err
	}
	arrival := remote.Index.Arrived(dir, want)
	from := path.Join(project.StateDir, filepath.Base(dir))
	for _, name := range p.write {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return 0, project.Unwritable(name, err)
		}
		if err := root.Rename(path.Join(from, name), name); err != nil {
			return 0, project.Unwritable(name, err)
		}
	}
	cache := s.project.StatCache(remote.Index.Format())
	cache.Adopt(s.project.Dir, arrival)
	s.keep(cache)
	return stats.BytesFetched, nil
}
