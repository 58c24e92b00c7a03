package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "show what differs between a bundle and this project, or between two bundles",
		ArgsUsage: "[REF [NEW]]",
		Description: `REF is a reference, a tag or a digest; the project's default tag otherwise. Without NEW it
is compared with the files of the project, as a push would have them.

The answer is a patch, as git diff writes it. Binary files and files of 1 MiB and more are
named only. What did not change is not fetched.`,
		UsageText: "modelops-bundle diff v1\nmodelops-bundle diff my-model:v1 my-model:v2 --stat",
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "name-only", Usage: "list the files that differ"},
			&cli.BoolFlag{Name: "name-status", Usage: "list the files that differ, and say how"},
			&cli.BoolFlag{Name: "stat", Usage: "count the lines that differ"},
		},
		Action: runDiff,
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
	Path    string `json:"path"`
	Change  string `json:"change"`
	*detail        // absent with --name-only and --name-status
}

func runDiff(c *cli.Context) error {
	listing := c.Bool("name-only") || c.Bool("name-status")
	if c.Bool("name-only") && c.Bool("name-status") || listing && c.Bool("stat") {
		return command.Usage("modelops-bundle diff --stat", "--name-only, --name-status and --stat are three answers; choose one")
	}
	n, err := openNames(c, c.Args().Get(1)) // files can be compared in a project alone
	if err != nil {
		return err
	}
	before, err := n.fetch(c.Args().First())
	if err != nil {
		return err
	}
	after, ref, err := n.newSide(c.Args().Get(1), before.Index.Format())
	if err != nil {
		return err
	}
	defer after.close()
	old := bundleSide(before)
	defer old.close()
	answer := diffAnswer{Ref: before.Ref, New: ref, Old: before.Index.Content, Content: bundle.ContentDigest(after.files), Changes: changesOf(bundle.Identities(old.files), bundle.Identities(after.files))}
	if !listing {
		if err := compareContent(c.Context, old, after, answer.Changes); err != nil {
			return err
		}
	}
	return command.Print(c, answer, func(w io.Writer) {
		switch {
		case c.Bool("stat"):
			printStat(w, answer.Changes)
		case !listing:
			for _, change := range answer.Changes {
				io.WriteString(w, change.Patch)
			}
		default:
			for _, change := range answer.Changes {
				if c.Bool("name-status") {
					fmt.Fprintf(w, "%-8s ", change.Change)
				}
				fmt.Fprintln(w, contracts.Lines(change.Path))
			}
		}
	})
}

// newSide is the bundle that a reference names, or the files of the project in the format.
func (n *names) newSide(reference string, format bundle.Format) (*side, *contracts.BundleRef, error) {
	if reference != "" {
		b, err := n.fetch(reference)
		if err != nil {
			return nil, nil, err
		}
		return bundleSide(b), &b.Ref, nil
	}
	state, err := n.session.project.ReadState()
	if err != nil {
		return nil, nil, err
	}
	root, err := n.session.root()
	if err != nil {
		return nil, nil, err
	}
	files, err := n.session.local(root, state, format)
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	return &side{files: files, root: root}, nil, nil
}

// side is one side of a comparison: files, and where their content is.
type side struct {
	files  []bundle.File
	root   *os.Root
	remote *bundleoci.Bundle // nil for files that are here
	dir    string            // what was fetched; "" for none
}

func bundleSide(b *bundleoci.Bundle) *side { return &side{files: b.Index.Files, remote: b} }

func (s *side) close() {
	if s.root != nil {
		s.root.Close()
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// file is the file at a path; without one, the zero value.
func (s *side) file(path string) bundle.File {
	i, there := slices.BinarySearchFunc(s.files, path, func(f bundle.File, path string) int { return cmp.Compare(f.Path, path) })
	if !there {
		return bundle.File{}
	}
	return s.files[i]
}
