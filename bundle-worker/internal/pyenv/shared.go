//go:build unix

package pyenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
)

// Registry is where nodes share environments: the bundle's own repository, which is a
// *bundleoci.Repository. An environment is kept there as a bundle of its own, under a tag
// that is made of its key. It has all files of the environment but those that venv makes;
// each node makes these anew, with its own interpreter.
//
// What is taken from there is code, and runs. Whoever may write to the repository can put
// an environment under a key that nobody has built yet, or move the tag, and so decide what
// workers import, even for bundles that are named by digest. A worker therefore takes
// environments only from the repository of the bundle that it runs, with the same login; it
// holds every byte against the digest that the tag named, the request that it was built for
// against its own, byte for byte, and what is found in it against the record. User code
// never has the login. Where those who may push are not those who may decide what runs,
// MODELOPS_ENVIRONMENTS=off has every node install for itself.
type Registry interface {
	Resolve(ctx context.Context, tag string) (contracts.Digest, error)
	Fetch(ctx context.Context, digest contracts.Digest) (*bundleoci.Bundle, error)
	Push(ctx context.Context, root *os.Root, sources []bundle.Source, opts bundleoci.PushOptions) (*bundleoci.PushResult, error)
}

const (
	requestFile = "request.json" // what an environment was made for
	tagPrefix   = "env-"         // of its tag; its key follows
)

func (p buildPlan) tag() string { return tagPrefix + sharedKey(p.asked) }

// pull fills dir with the environment that another node built.
func (p buildPlan) pull(ctx context.Context, dir string) error {
	digest, err := p.Shared.Resolve(ctx, p.tag())
	if err != nil {
		return err
	}
	shared, err := p.Shared.Fetch(ctx, digest)
	if err != nil {
		return err
	}
	p.note("taking the environment of %s from %s", p.wants.source, shared.Ref)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := shared.Extract(ctx, root); err != nil {
		return err
	}
	asked, err := root.ReadFile(requestFile)
	if err != nil || !bytes.Equal(asked, p.asked) {
		return untrue(shared.Ref, "was made for something else than its tag says")
	}
	// A file that venv makes, and that is there already, would be somebody's instead.
	for _, name := range []string{"bin/python", "pyvenv.cfg", "lib64", inventoryFile} {
		if _, err := root.Lstat(name); err == nil {
			return untrue(shared.Ref, "has "+name+", which belongs to each node")
		}
	}
	var want contracts.EnvironmentRecord
	data, err := root.ReadFile(recordFile)
	if err != nil || json.Unmarshal(data, &want) != nil {
		return untrue(shared.Ref, "has no record")
	}
	if err := p.run(ctx, "venv", dir, packageEnviron(p.Environ), []string{p.python.Path, "-I", "-B", "-m", "venv", "--without-pip", "--symlinks", dir}); err != nil {
		return err
	}
	got, err := probe(ctx, filepath.Join(dir, "bin", "python"), p.Environ)
	if err != nil {
		return err
	}
	if got.Digest() != want.Digest() {
		return untrue(shared.Ref, "does not have what its record says")
	}
	return nil
}

func untrue(ref contracts.BundleRef, problem string) error {
	return &contracts.Error{
		Code: contracts.CodeIntegrity, Stage: contracts.StagePrepare,
		Message: "shared environment " + ref.String() + " " + problem,
	}
}

// push gives the environment to other nodes. That is for their sake: what goes wrong is
// said, and nothing fails by it.
func (p buildPlan) push(ctx context.Context, dir string) {
	err := p.give(ctx, dir)
	switch code := contracts.AsError(err); {
	case err == nil, ctx.Err() != nil:
	case code.Code == contracts.CodeConflict: // another node was first
	default:
		p.note("the environment is not shared with other nodes: %s", contracts.Lines(err.Error()))
	}
}

func (p buildPlan) give(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	sources, err := shareable(root)
	if err != nil {
		return err
	}
	_, err = p.Shared.Push(ctx, root, sources, bundleoci.PushOptions{Tag: p.tag()})
	return err
}

// shareable are the files that are the same on each node, by path.
func shareable(root *os.Root) ([]bundle.Source, error) {
	var sources []bundle.Source
	err := fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 && (name == "lib64" || strings.HasPrefix(name, "bin/python")) {
			return nil
		}
		if name == inventoryFile || name == "pyvenv.cfg" || name == ".gitignore" || name == ".lock" || name == "CACHEDIR.TAG" ||
			strings.HasPrefix(strings.ToLower(name), "bin/activate") || strings.HasPrefix(name, "bin/deactivate") || name == "bin/pydoc.bat" {
			return nil
		}
		info, err := root.Stat(name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", name)
		}
		mode := bundle.Regular
		if info.Mode()&0o100 != 0 {
			mode = bundle.Executable
		}
		sources = append(sources, bundle.Source{Path: name, Mode: mode, Info: info})
		return nil
	})
	slices.SortFunc(sources, func(a, b bundle.Source) int { return strings.Compare(a.Path, b.Path) })
	return sources, err
}
