package cli

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func untagCommand() *cli.Command {
	return &cli.Command{
		Name:      "untag",
		Usage:     "remove a tag; other tags of the same bundle stay",
		ArgsUsage: "REF",
		Description: `REF names a tag. A registry may in time delete a bundle that has no tag any more. Some
registries do not let tags be removed, and then nothing is.`,
		UsageText: `modelops-bundle untag my-model:v1`,
		Flags:     []cli.Flag{envFlag()},
		Action:    runUntag,
	}
}

type untagAnswer struct {
	Ref     contracts.BundleRef `json:"ref"` // what the tag pointed to
	Digest  contracts.Digest    `json:"digest"`
	Tag     string              `json:"tag"`
	Removed bool                `json:"removed"`
}

func runUntag(c *cli.Context) error {
	arg := c.Args().First()
	ref, err := contracts.ParseReference(arg)
	if err != nil {
		return err
	}
	if ref.Tag == "" {
		return command.Usage("modelops-bundle untag my-model:v1", "%s names no tag", contracts.Quote(arg))
	}
	n, err := openNames(c, arg)
	if err != nil {
		return err
	}
	repository, digest, err := n.resolve(arg)
	if err != nil {
		return err
	}
	if err := repository.Untag(c.Context, ref.Tag); err != nil {
		return err
	}
	answer := untagAnswer{contracts.BundleRef{Repository: repository.Name, Digest: digest}, digest, ref.Tag, true}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s:%s is removed; it was %s\n", repository.Location, ref.Tag, digest)
	})
}
