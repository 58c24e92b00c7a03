package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Usage:       "show what is in a bundle",
		ArgsUsage:   "[REF]",
		Description: `REF is a reference, a tag or a digest; the project's default tag otherwise.`,
		UsageText:   `modelops-bundle inspect my-model:v2`,
		Flags:       []cli.Flag{envFlag()},
		Action:      runInspect,
	}
}

type inspectAnswer struct {
	Ref           contracts.BundleRef `json:"ref"`
	Digest        contracts.Digest    `json:"digest"`
	ContentDigest contracts.Digest    `json:"content_digest"`
	Format        string              `json:"format"`
	Files         []fileAnswer        `json:"files"`
	Layers        []bundleoci.Layer   `json:"layers"`
	// Storage are the blobs that lie in the environment's storage instead.
	Storage []bundleoci.StorageBlob `json:"storage"`
}

type fileAnswer struct {
	Path   string           `json:"path"`
	Digest contracts.Digest `json:"digest"`
	Size   int64            `json:"size"`
	Mode   bundle.Mode      `json:"mode"`
	Where  string           `json:"where"` // "registry", "storage", or "registry and storage"
}

func runInspect(c *cli.Context) error {
	b, err := fetchNamed(c)
	if err != nil {
		return err
	}
	answer := inspectAnswer{
		Ref: b.Ref, Digest: b.Ref.Digest, ContentDigest: b.Index.Content, Format: formatName(b.Index),
		Files: make([]fileAnswer, len(b.Index.Files)), Layers: append([]bundleoci.Layer{}, b.Layers...),
		Storage: b.StorageBlobs(),
	}
	for i, f := range b.Index.Files {
		answer.Files[i] = fileAnswer{f.Path, f.Digest, f.Size, f.Mode, b.Where(f)}
	}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s\ncontent %s, %s, %s, %s", b.Ref, answer.ContentDigest, contracts.Count(len(answer.Files), "file", "files"), size(b.Index.Size()), contracts.Count(len(answer.Layers), "layer", "layers"))
		if len(answer.Storage) > 0 {
			fmt.Fprintf(w, ", %s in the storage", contracts.Count(len(answer.Storage), "blob", "blobs"))
		}
		fmt.Fprint(w, "\n\n")
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, f := range answer.Files {
			where := ""
			if f.Where != "registry" {
				where = "\t" + f.Where
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%s%s\n", f.Mode, f.Digest.Short(), f.Size, f.Path, where)
		}
		_ = table.Flush()
	})
}

// formatName is what inspect calls the bundle's format.
func formatName(x *bundle.Index) string {
	if x.Format() == bundle.Files {
		return "files"
	}
	return "packed-v2"
}

// fetchNamed fetches the bundle that the command's argument names, inside a project or
// outside.
func fetchNamed(c *cli.Context) (*bundleoci.Bundle, error) {
	n, err := openNames(c, c.Args().First())
	if err != nil {
		return nil, err
	}
	return n.fetch(c.Args().First())
}

// names are what references mean: in a project, or outside one in an environment.
type names struct {
	c       *cli.Context
	env     *contracts.BundleEnvironment
	session *session // nil outside a project
}

// openNames finds out what references mean here. Outside a project there must be one to
// have a meaning.
func openNames(c *cli.Context, reference string) (*names, error) {
	s, err := openSession(c)
	if err == nil {
		return &names{c, s.env, s}, nil
	}
	if contracts.AsError(err).Code != contracts.CodeProjectNotFound || reference == "" {
		return nil, err
	}
	env, err := chooseEnvironment(c, "", false)
	return &names{c, env, nil}, err
}

// resolve is the repository and the digest that a reference names.
func (n *names) resolve(reference string) (*bundleoci.Repository, contracts.Digest, error) {
	if n.session != nil {
		return n.session.reference(reference)
	}
	return resolve(n.c, n.env, nil, reference)
}

func (n *names) fetch(reference string) (*bundleoci.Bundle, error) {
	repository, digest, err := n.resolve(reference)
	if err != nil {
		return nil, err
	}
	return repository.Fetch(n.c.Context, digest)
}
