//go:build unix

package cli

import (
	"context"
	"flag"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

func ensureLocalCommand() command {
	return command{
		name: "ensure-local", usage: "make sure that a bundle is on this node, and print its directory", args: []string{"REF"},
		example: "bundle-worker ensure-local my-model@sha256:…",
		flags: func(set *flag.FlagSet, f *flags) {
			set.StringVar(&f.resources, "resources", "", "fail when a command is missing that tasks with these `RESOURCES` need, as JSON: {\"commands\":[\"Rscript\"]}; the bundle's own count")
		},
		run: runEnsureLocal,
	}
}

type ensureAnswer struct {
	Ref           contracts.BundleRef `json:"ref"`
	Digest        contracts.Digest    `json:"digest"`
	ContentDigest contracts.Digest    `json:"content_digest"`
	Path          string              `json:"path"`
	Files         int                 `json:"files"`
	BytesFetched  int64               `json:"bytes_fetched"`
	Cached        bool                `json:"cached"`
	Entry         *wire.Entry         `json:"entry"`     // how its simulation is called; null when it does not say
	Resources     contracts.Resources `json:"resources"` // what a task needs: --resources, over the bundle's
}

func runEnsureLocal(ctx context.Context, p *program, args []string) error {
	ref, err := contracts.ParseBundleRef(args[0])
	if err != nil {
		return err
	}
	var asked *contracts.Resources
	if p.flags.resources != "" {
		if asked, err = contracts.ParseResources([]byte(p.flags.resources)); err != nil {
			return err
		}
	}
	c, err := p.config()
	if err != nil {
		return err
	}
	e, err := p.ensure(ctx, c, ref)
	if err != nil {
		return err
	}
	defer e.Release()
	entry, err := entryOf(e.Path)
	if err := contracts.Except(err, contracts.CodeWireMissing); err != nil {
		p.note("warning: %s", err)
	}
	var own *contracts.Resources
	if entry != nil {
		own = entry.Resources
	}
	resources := asked.Over(own)
	if asked != nil {
		if err := wire.CheckCommands(resources.Commands, p.env.Environ); err != nil {
			return err
		}
	}
	return p.print(ensureAnswer{ref, e.Digest, e.Content, e.Path, e.Files, e.BytesFetched, e.Cached, entry, resources}, e.Path+"\n")
}

// ensure brings a bundle into the cache and keeps it there until the entry is released.
func (p *program) ensure(ctx context.Context, c *config.Config, ref contracts.BundleRef) (*cache.Entry, error) {
	repository, err := p.repository(c, ref.Repository)
	if err != nil {
		return nil, err
	}
	store, err := p.openCache(c)
	if err != nil {
		return nil, err
	}
	return store.Ensure(ctx, ref, repository)
}

// entryOf is how the bundle in dir says that its simulation is called, as far as its own
// files tell.
func entryOf(dir string) (*wire.Entry, error) {
	project, err := pyproject.Read(dir)
	if err != nil {
		return nil, err
	}
	return wire.Find(dir, project, nil)
}
