//go:build unix

package cli

import (
	"cmp"
	"context"
	"flag"
	"sync"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
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
	_, e, err := p.ensure(ctx, ref)
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

// ensure brings a bundle into the cache and keeps it there until the entry is released. The
// configuration is read while the cache is looked at, and must be right even if nothing of it
// is needed.
func (p *program) ensure(ctx context.Context, ref contracts.BundleRef) (*config.Config, *cache.Entry, error) {
	read := sync.OnceValues(p.config)
	source := opened(func() (cache.Source, error) {
		c, err := read()
		if err != nil {
			return nil, err
		}
		return p.repository(c, ref.Repository)
	})
	var e *cache.Entry
	var missing error
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		var store *cache.Cache
		if store, missing = p.openCache(config.CacheOnly(p.env.Getenv)); missing == nil {
			e, missing = store.Ensure(ctx, ref, source)
		}
	}()
	c, err := read()
	<-looked
	if err != nil && e != nil {
		e.Release()
	}
	return c, e, cmp.Or(err, missing)
}

// opened is a source that is opened when something is fetched from it.
type opened func() (cache.Source, error)

// Fetch is that of [cache.Source].
func (open opened) Fetch(ctx context.Context, digest contracts.Digest) (*bundleoci.Bundle, error) {
	source, err := open()
	if err != nil {
		return nil, err
	}
	return source.Fetch(ctx, digest)
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
