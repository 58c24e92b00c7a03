package cli

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func tagCommand() *cli.Command {
	return &cli.Command{
		Name:        "tag",
		Usage:       "point another tag to a bundle",
		ArgsUsage:   "REF TAG",
		Description: `A tag that points to another bundle stays where it is, unless --force is given.`,
		UsageText:   `modelops-bundle tag latest v1.0`,
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "move the tag wherever it points"},
		},
		Action: runTag,
	}
}

type tagAnswer struct {
	Ref       contracts.BundleRef `json:"ref"`
	Digest    contracts.Digest    `json:"digest"`
	Tag       string              `json:"tag"`
	Unchanged bool                `json:"unchanged"`
}

func runTag(c *cli.Context) error {
	n, err := openNames(c, c.Args().First())
	if err != nil {
		return err
	}
	tag := c.Args().Get(1)
	if err := contracts.ValidateTag(tag); err != nil {
		return err
	}
	repository, digest, err := n.resolve(c.Args().First())
	if err != nil {
		return err
	}
	current, err := repository.Resolve(c.Context, tag)
	if err := contracts.Except(err, contracts.CodeBundleNotFound); err != nil {
		return err
	}
	if current != "" && current != digest && !c.Bool("force") {
		return &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StagePush,
			Message: fmt.Sprintf("tag %s already points to %s", tag, current),
			Hint:    "choose another tag, or move it with --force",
		}
	}
	if current != digest {
		if err := repository.Tag(c.Context, digest, tag); err != nil {
			return err
		}
	}
	ref := contracts.BundleRef{Repository: repository.Name, Digest: digest}
	return command.Print(c, tagAnswer{ref, digest, tag, current == digest}, func(w io.Writer) {
		fmt.Fprintf(w, "%s:%s is %s\n", repository.Location, tag, digest)
	})
}
