package cli

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "list the files that differ between a bundle and this project, or two bundles",
		ArgsUsage: "[REF [NEW]]",
		Description: `REF is a reference, a tag or a digest; the project's default tag otherwise. Without NEW it
is compared with the files of the project, as a push would have them.`,
		UsageText: "modelops-bundle diff v1\nmodelops-bundle diff my-model:v1 my-model:v2",
		Flags:     []cli.Flag{envFlag()},
		Action:    runDiff,
	}
}

type diffAnswer struct {
	Ref     contracts.BundleRef  `json:"ref"`
	New     *contracts.BundleRef `json:"new,omitempty"` // absent for the project's files
	Old     contracts.Digest     `json:"content_digest"`
	Content contracts.Digest     `json:"new_content_digest"`
	Changes []fileChange         `json:"changes"`
}

// fileChange is a path and what became of it: added, modified or deleted.
type fileChange struct {
	Path   string `json:"path"`
	Change string `json:"change"`
}

func runDiff(c *cli.Context) error {
	n, err := openNames(c, c.Args().Get(1)) // files can be compared in a project alone
	if err != nil {
		return err
	}
	before, err := n.fetch(c.Args().First())
	if err != nil {
		return err
	}
	answer := diffAnswer{Ref: before.Ref, Old: before.Index.Content, Changes: []fileChange{}}
	var files []bundle.File
	if reference := c.Args().Get(1); reference != "" {
		after, err := n.fetch(reference)
		if err != nil {
			return err
		}
		answer.New, files = &after.Ref, after.Index.Files
	} else if files, err = n.session.current(); err != nil {
		return err
	}
	answer.Content = bundle.ContentDigest(files)
	old := bundle.Identities(before.Index.Files)
	words := map[bundle.Change]string{bundle.AddedHere: "added", bundle.ModifiedHere: "modified", bundle.DeletedHere: "deleted"}
	for _, d := range bundle.Compare(old, bundle.Identities(files), old) {
		answer.Changes = append(answer.Changes, fileChange{d.Path, words[d.Change]})
	}
	return command.Print(c, answer, func(w io.Writer) {
		for _, change := range answer.Changes {
			fmt.Fprintf(w, "%-8s %s\n", change.Change, contracts.Lines(change.Path))
		}
	})
}

// current is the files of the project as a push would have them.
func (s *session) current() ([]bundle.File, error) {
	state, err := s.project.ReadState()
	if err != nil {
		return nil, err
	}
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return s.local(root, state)
}
