//go:build unix

package cli

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv"
	"github.com/modelops-suite/modelops-go/contracts"
)

func cacheListCommand() command {
	return command{
		name: "cache list", usage: "list the bundles and Python environments on this node", example: "bundle-worker cache list --json",
		run: func(_ context.Context, p *program, _ []string) error {
			store, err := p.cache()
			if err != nil {
				return err
			}
			infos, err := store.List()
			if err != nil {
				return err
			}
			venvs := config.CacheOnly(p.env.Getenv).VenvsDir
			environments, err := pyenv.List(venvs)
			if err != nil {
				return err
			}
			return p.print(map[string]any{"root": store.Root(), "bundles": infos, "environments_root": venvs, "environments": environments},
				table(infos)+environmentTable(environments))
		},
	}
}

func cacheVerifyCommand() command {
	return command{
		name: "cache verify", usage: "hash every byte of the bundles on this node", args: []string{"[DIGEST]"}, example: "bundle-worker cache verify",
		run: runCacheVerify,
	}
}

type verifyAnswer struct {
	Digest contracts.Digest `json:"digest"`
	Valid  bool             `json:"valid"`
	Error  *contracts.Error `json:"error,omitempty"`
}

func runCacheVerify(ctx context.Context, p *program, args []string) error {
	store, err := p.cache()
	if err != nil {
		return err
	}
	infos, err := store.List()
	if err != nil {
		return err
	}
	digests := []contracts.Digest{}
	for _, info := range infos {
		digests = append(digests, info.Digest)
	}
	if len(args) == 1 {
		d, err := contracts.ParseDigest(args[0])
		if err != nil {
			return err
		}
		digests = []contracts.Digest{d}
	}
	answers := []verifyAnswer{}
	var text strings.Builder
	var first error
	for _, d := range digests {
		err := store.Verify(ctx, d)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		answer := verifyAnswer{Digest: d, Valid: err == nil}
		if err != nil {
			answer.Error = contracts.AsError(err)
			fmt.Fprintf(&text, "%s: %s\n", d, contracts.Lines(err.Error()))
			if first == nil {
				first = err
			}
		} else {
			fmt.Fprintf(&text, "%s: whole\n", d)
		}
		answers = append(answers, answer)
	}
	if first != nil && p.flags.json {
		if err := p.print(map[string]any{"root": store.Root(), "bundles": answers}, ""); err != nil {
			return err
		}
		return &childStatus{contracts.AsError(first).ExitCode()}
	}
	if err := p.print(map[string]any{"root": store.Root(), "bundles": answers}, text.String()); err != nil {
		return err
	}
	return first
}

func cacheGCCommand() command {
	return command{
		name: "cache gc", usage: "remove bundles and Python environments that nobody uses, the least recently used first", example: "bundle-worker cache gc --max-bytes 10000000000 --older-than 168h",
		flags: func(set *flag.FlagSet, f *flags) {
			set.Int64Var(&f.maxBytes, "max-bytes", 0, "until the rest has at most `N` bytes: the bundles, and likewise the environments")
			set.StringVar(&f.olderThan, "older-than", "", "what was not used for `DURATION`, as in 168h")
			set.BoolVar(&f.dryRun, "dry-run", false, "say what would go, and remove nothing")
		},
		run: runCacheGC,
	}
}

func runCacheGC(ctx context.Context, p *program, _ []string) error {
	opts := cache.CollectOptions{MaxBytes: p.flags.maxBytes, DryRun: p.flags.dryRun}
	if p.flags.olderThan != "" {
		var err error
		if opts.OlderThan, err = time.ParseDuration(p.flags.olderThan); err != nil || opts.OlderThan <= 0 {
			return wrongUsage("--older-than "+contracts.Quote(p.flags.olderThan)+" is no duration", "as in 168h or 30m")
		}
	}
	if opts.MaxBytes < 0 || opts.MaxBytes == 0 && opts.OlderThan == 0 {
		return wrongUsage("cache gc needs --max-bytes or --older-than", "bundle-worker cache gc --older-than 168h")
	}
	store, err := p.cache()
	if err != nil {
		return err
	}
	gone, err := store.Collect(ctx, opts)
	if err != nil {
		return err
	}
	venvs := config.CacheOnly(p.env.Getenv).VenvsDir
	environments, err := pyenv.Collect(ctx, venvs, pyenv.CollectOptions{MaxBytes: opts.MaxBytes, OlderThan: opts.OlderThan, DryRun: opts.DryRun})
	if err != nil {
		return err
	}
	return p.print(map[string]any{"root": store.Root(), "collected": gone, "environments": environments, "dry_run": opts.DryRun},
		table(gone)+environmentTable(environments))
}

// cache opens the node's cache, which needs no environment.
func (p *program) cache() (*cache.Cache, error) {
	c := config.CacheOnly(p.env.Getenv)
	p.show(c)
	return p.openCache(c)
}

func table(infos []cache.Info) string {
	var b strings.Builder
	for _, info := range infos {
		used := info.LastUsed
		if info.InUse {
			used = "in use"
		}
		fmt.Fprintf(&b, "%s  %12d bytes  %-20s  %s  %s\n", info.Digest.Short(), info.Bytes, used, info.Repository, info.Path)
	}
	return b.String()
}

func environmentTable(infos []pyenv.Info) string {
	var b strings.Builder
	for _, info := range infos {
		used := info.LastUsed
		if info.InUse {
			used = "in use"
		}
		fmt.Fprintf(&b, "%.12s  %12d bytes  %-20s  Python %s, %s  %s\n", info.Key, info.Bytes, used, info.Python, contracts.Count(info.Packages, "package", "packages"), info.Path)
	}
	return b.String()
}
