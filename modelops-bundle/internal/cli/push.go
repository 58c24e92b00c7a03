package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

func pushCommand() *cli.Command {
	return &cli.Command{
		Name:  "push",
		Usage: "pack the project and push it; answers with its reference",
		Description: `A tag that somebody else moved since your last push or pull is not moved: the push
stops and shows what differs. Pull first, or push to another tag.`,
		UsageText: `modelops-bundle push --tag v2`,
		Flags: []cli.Flag{
			envFlag(), tagFlag(),
			&cli.StringFlag{Name: "format", Usage: "push in the `FORMAT` packed or files, the Python suite's, instead of the project's"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "move the tag wherever it points"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be sent, and send and write nothing"},
			&cli.BoolFlag{Name: "require-lock", Usage: "refuse dependencies that are not locked"},
		},
		Action: runPush,
	}
}

type pushAnswer struct {
	Ref           contracts.BundleRef `json:"ref"`
	Digest        contracts.Digest    `json:"digest"`
	ContentDigest contracts.Digest    `json:"content_digest"`
	Tag           string              `json:"tag"`
	Environment   string              `json:"environment"`
	Files         int                 `json:"files"`
	BytesTotal    int64               `json:"bytes_total"`
	BytesUploaded int64               `json:"bytes_uploaded"`
	BytesStored   int64               `json:"bytes_stored"` // of these, to the environment's storage
	Unchanged     bool                `json:"unchanged"`
}

func runPush(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	tag, err := s.tag()
	if err != nil {
		return err
	}
	state, err := s.project.ReadState()
	if err != nil {
		return err
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	defer root.Close()
	sources, restore, err := s.snapshot(root, state)
	if err != nil {
		return err
	}
	bundle.Place(sources, s.project.Config.Storage)
	format, err := s.chosenFormat(state, sources)
	if err != nil {
		restore()
		return err
	}
	cache := s.project.StatCache(format)
	opts := bundleoci.PushOptions{
		Tag: tag, Base: state.Bases[s.baseKey(tag)], Force: c.Bool("force"), Cache: cache, Format: format,
		Known: state.Known(s.repository.Location), Origins: origins(state, s.repository.Location),
	}
	if tag == s.defaultTag() {
		state.Synced = project.Files{} // Agree makes it anew, and of 100,000 files it is 10 MB
	}
	if c.Bool("dry-run") {
		defer restore()
		return s.planPush(root, sources, opts)
	}
	progress := command.NewTransfer(c, "push")
	opts.Progress = progress
	result, err := s.repository.Push(c.Context, root, sources, opts)
	progress.End()
	if err != nil {
		restore()
	}
	if moved, ok := errors.AsType[*bundleoci.MovedError](err); ok {
		return s.explainMove(err, moved)
	}
	if err != nil {
		return err
	}
	var keeping sync.WaitGroup // of 20,000 files either takes as long as a request
	keeping.Go(func() { s.keep(cache) })
	err = s.pushed(state, tag, result)
	keeping.Wait()
	if err != nil {
		return err
	}
	answer := pushAnswer{
		Ref: result.Ref, Digest: result.Ref.Digest, ContentDigest: result.Index.Content, Tag: tag, Environment: s.env.Environment,
		Files: len(result.Index.Files), BytesTotal: result.Index.Size(), BytesUploaded: result.BytesUploaded, BytesStored: result.BytesStored, Unchanged: result.Unchanged,
	}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintln(w, answer.Ref)
		what := fmt.Sprintf("%s, %s; %s sent", contracts.Count(answer.Files, "file", "files"), size(answer.BytesTotal), size(answer.BytesUploaded))
		if answer.Unchanged {
			what = "unchanged"
		}
		if answer.BytesStored > 0 {
			what += fmt.Sprintf(", %s to storage %s %s", size(answer.BytesStored), s.env.Storage.Provider, s.env.Storage.Container)
		}
		command.Note(c, "%s:%s: %s", s.repository.Location, tag, what)
	})
}

// pushed notes in the project's state that the push is done, if it does not say so.
func (s *session) pushed(state *project.State, tag string, result *bundleoci.PushResult) error {
	d, content, isDefault := result.Ref.Digest, result.Index.Content, tag == s.defaultTag()
	if result.Unchanged && state.HasPushed(s.repository.Location, d) && state.Knows(s.baseKey(tag), isDefault, d, content) {
		return nil
	}
	state.Push(s.repository.Location, d)
	state.Agree(s.baseKey(tag), tag, isDefault, d, result.Index)
	state.Describe(d, content)
	return s.project.WriteState(state)
}

// maxOrigins bounds how many bundles a push into a new repository asks for.
const maxOrigins = 3

// origins are the bundles that the project has seen in other repositories of the registry,
// the last one first: one that was given another name has its blobs there.
func origins(state *project.State, location contracts.Location) []bundleoci.Origin {
	var found []bundleoci.Origin
	for key, d := range state.Bases {
		rest, here := strings.CutPrefix(key, location.Host+"/")
		path := rest[:max(0, strings.LastIndexByte(rest, ':'))]
		if here && path != "" && path != location.Path {
			found = append(found, bundleoci.Origin{Path: path, Digest: d})
		}
	}
	rank := func(o bundleoci.Origin) int {
		return slices.Index([]contracts.Digest{"", state.LastPull, state.LastPush}, o.Digest)
	}
	slices.SortFunc(found, func(a, b bundleoci.Origin) int {
		return cmp.Or(rank(b)-rank(a), strings.Compare(a.Path, b.Path), strings.Compare(string(a.Digest), string(b.Digest)))
	})
	return found[:min(len(found), maxOrigins)]
}

// chosenFormat is the format that the command line or the project says.
func (s *session) chosenFormat(state *project.State, sources []bundle.Source) (bundle.Format, error) {
	format, text := s.pushFormat(), s.c.String("format")
	if text != "" {
		format = bundle.Format(text)
	}
	switch format {
	case bundle.Packed:
		if text == "" && s.project.Config.Format == "" && state.Format == bundle.Files {
			command.Warn(s.c, "%s was in the files format, and is pushed packed: the Python suite does not read that (--format files keeps it)", s.defaultTag())
		}
	case bundle.Files:
		executable := 0
		for _, source := range sources {
			if source.Mode == bundle.Executable {
				executable++
			}
		}
		if executable > 0 {
			command.Warn(s.c, "the files format has no modes: %s will not be executable where the bundle is pulled", contracts.Count(executable, "executable file", "executable files"))
		}
	default:
		return "", command.Usage("modelops-bundle push --format files", "--format is %s; it is packed or files", contracts.Quote(string(format)))
	}
	return format, nil
}

// explainMove adds to a conflict what differs between the bundle that the tag points to
// now and the one that this project last agreed on.
func (s *session) explainMove(err error, moved *bundleoci.MovedError) error {
	e := contracts.AsError(err)
	theirs, fetchErr := s.repository.Fetch(s.c.Context, moved.Current)
	if fetchErr != nil {
		return e
	}
	base, fetchErr := s.base(moved.Base)
	if fetchErr != nil {
		return e
	}
	for _, d := range bundle.Compare(base.Files, base.Files, bundle.Identities(theirs.Index.Files)) {
		e.Problems = append(e.Problems, contracts.Problem{Field: contracts.Quote(d.Path), Message: string(d.Change)})
	}
	return e
}

// base is the files of the bundle that a tag last agreed on was; empty for none, or for
// one that the registry no longer has.
func (s *session) base(d contracts.Digest) (project.Agreed, error) {
	if d == "" {
		return project.Agreed{}, nil
	}
	b, err := s.repository.Fetch(s.c.Context, d)
	if err := contracts.Except(err, contracts.CodeBundleNotFound); err != nil || b == nil {
		return project.Agreed{}, err
	}
	return project.AgreedOn(b.Index), nil
}

// size is n bytes for people.
func size(n int64) string { return command.Size(n) }
