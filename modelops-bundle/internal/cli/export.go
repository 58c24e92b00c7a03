package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write a bundle to a file or a directory, for a machine without network",
		ArgsUsage: "REF FILE|DIR",
		Description: `What it writes is an OCI image layout, which import and every other OCI client read: a tar
file when the name ends in .tar, else a directory. Equal bundles make equal tar files. A
directory that is a layout already takes the bundle in, and only what it lacks is fetched.`,
		UsageText: `modelops-bundle export my-model:v1 my-model.tar`,
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace a file that is there"},
		},
		Action: runExport,
	}
}

type exportAnswer struct {
	Ref          contracts.BundleRef `json:"ref"`
	Digest       contracts.Digest    `json:"digest"`
	Tag          string              `json:"tag,omitempty"`
	Path         string              `json:"path"`
	Format       string              `json:"format"` // "tar" or "directory"
	Files        int                 `json:"files"`
	Blobs        int                 `json:"blobs"` // that were written
	BytesWritten int64               `json:"bytes_written"`
}

func runExport(c *cli.Context) error {
	arg, path := c.Args().First(), command.EnvOf(c).Path(c.Args().Get(1))
	format := "directory"
	if bundleoci.IsTar(path) {
		format = "tar"
	}
	if ext := strings.ToLower(filepath.Ext(path)); slices.Contains([]string{".gz", ".tgz", ".zst", ".xz", ".zip"}, ext) {
		return command.Usage("modelops-bundle export "+arg+" my-model.tar", "%s is no name for what is written: its blobs are compressed already, and the file is not", contracts.Quote(filepath.Base(path)))
	}
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && (info.IsDir() != (format == "directory") || !info.IsDir() && !c.Bool("force")) {
		return &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StageCommand,
			Message: contracts.Quote(path) + " is there already",
			Hint:    "replace a file that ends in .tar with --force, or name another",
		}
	}
	n, err := openNames(c, arg)
	if err != nil {
		return err
	}
	b, err := n.fetch(arg)
	if err != nil {
		return err
	}
	tag := pulledTag(arg)
	progress := command.NewTransfer(c, "export")
	written, err := b.Export(c.Context, path, tag, progress)
	progress.End()
	if err != nil {
		return err
	}
	answer := exportAnswer{b.Ref, b.Ref.Digest, tag, path, format, len(b.Index.Files), written.Blobs, written.Bytes}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n", b.Ref)
		command.Note(c, "%s: %s, %s", path, contracts.Count(answer.Blobs, "blob", "blobs"), size(answer.BytesWritten))
	})
}
