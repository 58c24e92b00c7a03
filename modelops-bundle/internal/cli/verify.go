package cli

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "fetch every byte of a bundle and hold it against its digest",
		ArgsUsage: "[REF]",
		Description: `REF is a reference, a tag or a digest; the project's default tag otherwise. Nothing is
written.`,
		UsageText: `modelops-bundle verify my-model:v2`,
		Flags:     []cli.Flag{envFlag()},
		Action:    runVerify,
	}
}

type verifyAnswer struct {
	Ref           contracts.BundleRef `json:"ref"`
	Digest        contracts.Digest    `json:"digest"`
	ContentDigest contracts.Digest    `json:"content_digest"`
	Files         int                 `json:"files"`
	BytesFetched  int64               `json:"bytes_fetched"`
	Valid         bool                `json:"valid"`
}

func runVerify(c *cli.Context) error {
	b, err := fetchNamed(c)
	if err != nil {
		return err
	}
	progress := command.NewTransfer(c, "verify")
	fetched, err := b.Verify(c.Context, progress)
	progress.End()
	if err != nil {
		return err
	}
	answer := verifyAnswer{b.Ref, b.Ref.Digest, b.Index.Content, len(b.Index.Files), fetched, true}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s what the digest says (%s fetched)\n", b.Ref, contracts.Count(answer.Files, "file is", "files are"), size(fetched))
	})
}
