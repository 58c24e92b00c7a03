//go:build unix

package pyenv

import (
	"context"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
)

// Keeper is a repository whose shared environments are looked through and removed; a
// *bundleoci.Repository is one.
type Keeper interface {
	Tags(ctx context.Context) ([]string, error)
	Resolve(ctx context.Context, tag string) (contracts.Digest, error)
	Fetch(ctx context.Context, digest contracts.Digest) (*bundleoci.Bundle, error)
	Untag(ctx context.Context, tag string) error
	Judge(ctx context.Context, digests []contracts.Digest) ([]bundleoci.Verdict, error)
	Delete(ctx context.Context, v bundleoci.Verdict) error
}

// SharedInfo is an environment that nodes share, and whether a bundle asks for it.
type SharedInfo struct {
	Tag    string           `json:"tag"`
	Digest contracts.Digest `json:"digest"`
	Python string           `json:"python"` // that it was made for
	Bytes  int64            `json:"bytes"`  // in the registry; what others have too counts as well
	Unused bool             `json:"unused"`
	Why    string           `json:"why"`
}

// Shared looks through the environments that nodes share in a repository. One is in use
// while a tag leads to a bundle that asks for just what it was made of, with whatever
// interpreter: every job keeps its bundle by a tag. Of bundles without a tag nothing is
// known: a worker that still runs one makes its environment anew.
//
// A question that is not answered is an error, and never a no.
func Shared(ctx context.Context, from Keeper) ([]SharedInfo, error) {
	tags, err := from.Tags(ctx)
	if err != nil {
		return nil, err
	}
	infos, asked := []SharedInfo{}, map[string]string{} // which tag asks for what
	made := map[string]string{}                         // of what an environment was made, by its tag
	seen := map[contracts.Digest]bool{}
	for _, tag := range tags {
		digest, err := from.Resolve(ctx, tag)
		if err := contracts.Except(err, contracts.CodeBundleNotFound); err != nil {
			return nil, err
		}
		if digest == "" || seen[digest] { // removed since it was listed, or known
			continue
		}
		seen[digest] = true
		found, err := from.Fetch(ctx, digest)
		if contracts.AsError(err) != nil && contracts.AsError(err).Code == contracts.CodeInvalidBundle {
			continue // an image, or whatever it is: it asks for nothing
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(tag, tagPrefix) {
			what, err := asks(ctx, found)
			if err != nil {
				return nil, err
			}
			asked[what] = tag
			continue
		}
		info := SharedInfo{Tag: tag, Digest: digest, Bytes: int64(len(found.Manifest))}
		for _, layer := range found.Layers {
			info.Bytes += layer.Size
		}
		if info.Python, made[tag], err = madeOf(ctx, found); err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	for i := range infos {
		infos[i].judge(made[infos[i].Tag], asked)
	}
	slices.SortFunc(infos, func(a, b SharedInfo) int { return strings.Compare(a.Tag, b.Tag) })
	return infos, nil
}

func (i *SharedInfo) judge(made string, asked map[string]string) {
	switch by, needed := asked[made]; {
	case made == "":
		i.Why = "it does not say what it was made of"
	case needed:
		i.Why = "tag " + by + " asks for it"
	default:
		i.Unused, i.Why = true, "no bundle with a tag asks for it"
	}
}

// RemoveShared removes an environment that [Shared] has just found unused: its tag, and
// what it led to unless something else does too.
func RemoveShared(ctx context.Context, from Keeper, info SharedInfo) error {
	if err := contracts.Except(from.Untag(ctx, info.Tag), contracts.CodeBundleNotFound); err != nil {
		return err
	}
	verdicts, err := from.Judge(ctx, []contracts.Digest{info.Digest})
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.Unused {
			if err := from.Delete(ctx, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// asking is what an environment is made of, whatever the interpreter, as one word.
func asking(source string, files map[string]string) string {
	data, err := json.Marshal(files)
	if err != nil { // strings only
		panic(err)
	}
	return source + " " + string(data)
}

// asks is what a bundle asks for; "" for nothing, or for what cannot be made.
func asks(ctx context.Context, found *bundleoci.Bundle) (string, error) {
	if !slices.ContainsFunc(found.Index.Files, func(f bundle.File) bool {
		return f.Path == pyproject.File || f.Path == lockFile || f.Path == requirementsFile
	}) {
		return "", nil
	}
	const large = 4 << 20 // bytes: what dependencies are written in is smaller
	var asked string
	err := extracted(ctx, found, func(f bundle.File) bool { return f.Size <= large || path.Dir(f.Path) == "wheels" }, func(dir string) error {
		w, err := readWants(dir)
		if err == nil && w.anything() {
			asked = asking(w.source, w.decisive())
		}
		return contracts.Except(err, contracts.CodeDependencies, contracts.CodeInvalidBundle)
	})
	return asked, err
}

// madeOf is what a shared environment was made for, and of; "" if it does not say.
func madeOf(ctx context.Context, found *bundleoci.Bundle) (python, made string, err error) {
	err = extracted(ctx, found, func(f bundle.File) bool { return f.Path == requestFile }, func(dir string) error {
		var asked struct {
			Source      string            `json:"source"`
			Files       map[string]string `json:"files"`
			Interpreter interpreter       `json:"interpreter"`
		}
		data, err := os.ReadFile(filepath.Join(dir, requestFile))
		if err == nil && json.Unmarshal(data, &asked) == nil && asked.Source != "" {
			python, made = asked.Interpreter.Version, asking(asked.Source, asked.Files)
		}
		return nil
	})
	return python, made, err
}

// extracted has some files of a bundle in a directory for as long as use takes.
func extracted(ctx context.Context, found *bundleoci.Bundle, want func(bundle.File) bool, use func(dir string) error) error {
	dir, err := os.MkdirTemp("", "modelops-shared-")
	if err != nil {
		return unusable(os.TempDir(), err)
	}
	defer func() { _ = runner.RemoveAll(dir) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return unusable(dir, err)
	}
	defer root.Close()
	if _, err := found.ExtractFiles(ctx, root, bundle.ExtractOptions{Want: want}); err != nil {
		return err
	}
	return use(dir)
}
