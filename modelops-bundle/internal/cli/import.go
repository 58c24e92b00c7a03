package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/ocilayout"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "push a bundle from a file or a directory that export wrote",
		ArgsUsage: "FILE|DIR [REPOSITORY]",
		Description: `The bundle keeps its digest. It goes to the repository of the project, outside of one to
the repository that it was exported from, or to REPOSITORY. Every byte is verified before
anything is sent, and the tag moves last; as with push, it does not move away from what
somebody else pushed.`,
		UsageText: `modelops-bundle import my-model.tar --env cluster`,
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "tag", Aliases: []string{"t"}, Usage: "use `TAG` instead of the one in the layout"},
			&cli.StringFlag{Name: "bundle", Usage: "of a layout with several bundles, take the one with this `TAG|DIGEST`"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "move the tag wherever it points"},
		},
		Action: runImport,
	}
}

func runImport(c *cli.Context) error {
	path := command.EnvOf(c).Path(c.Args().First())
	layout, err := ocilayout.Open(path)
	if err != nil {
		return err
	}
	defer layout.Close()
	entry, err := chooseBundle(layout, c.String("bundle"))
	if err != nil {
		return err
	}
	tag := c.String("tag")
	if tag == "" {
		tag = entry.Tag
	}
	if tag == "" {
		return command.Usage("modelops-bundle import "+c.Args().First()+" --tag TAG", "the layout has no tag for the bundle")
	}
	if err := contracts.ValidateTag(tag); err != nil {
		return err
	}
	repository, opts, err := importTarget(c, entry, tag)
	if err != nil {
		return err
	}
	b, err := bundleoci.FromLayout(c.Context, layout, entry)
	if err != nil {
		return err
	}
	progress := command.NewTransfer(c, "import")
	opts.Progress = progress
	result, err := repository.Import(c.Context, b, opts)
	progress.End()
	if moved, ok := errors.AsType[*bundleoci.MovedError](err); ok {
		e := contracts.AsError(err)
		e.Hint = "import it under another --tag, or replace " + moved.Current.Short() + " with --force"
		return e
	}
	if err != nil {
		return err
	}
	answer := pushAnswer{
		Ref: result.Ref, Digest: result.Ref.Digest, ContentDigest: result.Index.Content, Tag: tag, Environment: repository.Environment,
		Files: len(result.Index.Files), BytesTotal: result.Index.Size(), BytesUploaded: result.BytesUploaded, BytesStored: result.BytesStored, Unchanged: result.Unchanged,
	}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintln(w, answer.Ref)
		command.Note(c, "%s:%s: %s, %s; %s sent", repository.Location, tag, contracts.Count(answer.Files, "file", "files"), size(answer.BytesTotal), size(answer.BytesUploaded))
	})
}

// chooseBundle is the manifest of a layout that name means, or the only one.
func chooseBundle(layout *ocilayout.Layout, name string) (ocilayout.Entry, error) {
	var found []ocilayout.Entry
	var names []string
	for _, m := range layout.Entries {
		if name == "" || name == m.Tag || name == string(m.Descriptor.Digest) {
			found = append(found, m.Entry)
		}
		if m.Tag != "" {
			names = append(names, m.Tag)
		} else {
			names = append(names, string(m.Descriptor.Digest))
		}
	}
	switch {
	case len(layout.Entries) == 0:
		return ocilayout.Entry{}, &contracts.Error{
			Code: contracts.CodeBundleNotFound, Stage: contracts.StageResolve, Message: contracts.Quote(layout.Path) + " has no bundle in it",
		}
	case len(found) == 0:
		return ocilayout.Entry{}, &contracts.Error{
			Code: contracts.CodeBundleNotFound, Stage: contracts.StageResolve,
			Message: contracts.Quote(layout.Path) + " has no bundle " + contracts.Quote(name), Hint: "it has: " + contracts.Lines(strings.Join(names, ", ")),
		}
	case len(found) > 1 && name == "":
		return ocilayout.Entry{}, command.Usage("--bundle "+contracts.Lines(strings.Join(names, " or ")), "%s has several bundles", contracts.Quote(layout.Path))
	}
	return found[0], nil
}

// target is a repository, and the environment that it is in.
type target struct {
	*bundleoci.Repository
	Environment string
}

// importTarget is where a bundle goes, and what is known of the tag there.
func importTarget(c *cli.Context, entry ocilayout.Entry, tag string) (*target, bundleoci.PushOptions, error) {
	opts := bundleoci.PushOptions{Tag: tag, Force: c.Bool("force")}
	named := c.Args().Get(1)
	n, err := openNames(c, c.Args().First())
	if err != nil {
		return nil, opts, err
	}
	name := named
	switch {
	case name != "":
	case n.session == nil && entry.Repository == "":
		return nil, opts, command.Usage("modelops-bundle import "+c.Args().First()+" REPOSITORY", "the layout does not say what repository the bundle is of")
	case n.session == nil:
		name = entry.Repository
	case entry.Repository != "" && entry.Repository != n.session.repository.Name:
		return nil, opts, command.Usage("modelops-bundle import "+c.Args().First()+" REPOSITORY",
			"the bundle is of %s, and this project is %s; say which repository it goes to", contracts.Quote(entry.Repository), n.session.repository.Name)
	default:
		name = n.session.repository.Name
	}
	if err := contracts.ValidateRepository(name); err != nil {
		return nil, opts, err
	}
	if n.session == nil || name != n.session.repository.Name {
		repository, err := openRepository(c, n.env, name)
		return &target{repository, n.env.Environment}, opts, err
	}
	state, err := n.session.project.ReadState()
	if err != nil {
		return nil, opts, err
	}
	opts.Base, opts.Known = state.Bases[n.session.baseKey(tag)], state.Known(n.session.repository.Location)
	return &target{n.session.repository, n.env.Environment}, opts, nil
}
