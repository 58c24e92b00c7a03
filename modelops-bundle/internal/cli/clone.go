package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

// runClone makes a project of a bundle, in a directory that is not there yet or empty:
// one that can push.
func runClone(c *cli.Context) error {
	arg, dir := c.Args().First(), command.EnvOf(c).Path(c.Args().Get(1))
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		return &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StagePull,
			Message: contracts.Quote(dir) + " is there already",
			Hint:    "name a directory that is not there, or one that is empty",
		}
	}
	env, err := chooseEnvironment(c, "", false)
	if err != nil {
		return err
	}
	repository, digest, err := resolve(c, env, nil, arg)
	if err != nil {
		return err
	}
	remote, err := repository.Fetch(c.Context, digest)
	if err != nil {
		return err
	}
	stats, err := clone(c, env, remote, dir, pulledTag(arg))
	if err != nil {
		return err
	}
	answer := pullAnswer{
		Ref: remote.Ref, Digest: remote.Ref.Digest, ContentDigest: remote.Index.Content, Path: dir, Files: stats.Files,
		BytesFetched: stats.BytesFetched, Written: []string{}, Deleted: []string{}, Kept: []bundle.Difference{},
	}
	for _, f := range remote.Index.Files {
		answer.Written = append(answer.Written, f.Path)
	}
	if len(remote.StorageBlobs()) > 0 { // where files lie is each project's own choice, and is in no bundle
		command.Note(c, "some of its files are kept in the storage; pushes of this copy keep all in the registry, unless storage.mode in .modelops-bundle/config.yaml says auto or blob-only")
	}
	return command.Print(c, answer, func(w io.Writer) { answer.text(w) })
}

// clone fills a directory beside dir and gives it its name when it is whole.
func clone(c *cli.Context, env *contracts.BundleEnvironment, remote *bundleoci.Bundle, dir, tag string) (stats bundleoci.ExtractStats, err error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return stats, project.Unwritable(parent, err)
	}
	staging, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".pull-")
	if err != nil {
		return stats, project.Unwritable(dir, err)
	}
	defer os.RemoveAll(staging)
	if err := os.Chmod(staging, 0o755); err != nil {
		return stats, project.Unwritable(dir, err)
	}
	root, err := os.OpenRoot(staging)
	if err != nil {
		return stats, project.Unwritable(dir, err)
	}
	defer root.Close()
	progress := command.NewTransfer(c, "pull")
	stats, err = remote.ExtractFiles(c.Context, root, bundle.ExtractOptions{Progress: progress})
	progress.End()
	if err != nil {
		return stats, err
	}
	arrival := remote.Index.Arrived(staging, nil)
	made, err := adopt(staging, env, remote, tag)
	if err != nil {
		return stats, err
	}
	cache := made.StatCache(remote.Index.Format())
	cache.Adopt(staging, arrival)
	if err := cache.Save(); err != nil {
		command.Debug(c, "the stat cache was not written: %v", err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return stats, project.Unwritable(dir, err)
	}
	if err := os.Rename(staging, dir); err != nil {
		return stats, project.Unwritable(dir, err)
	}
	return stats, nil
}

func adopt(dir string, env *contracts.BundleEnvironment, remote *bundleoci.Bundle, tag string) (*project.Project, error) {
	p, err := project.Adopt(dir, remote.Ref.Repository, env)
	if err != nil {
		return nil, err
	}
	state, err := p.ReadState()
	if err != nil {
		return nil, err
	}
	state.LastPull = remote.Ref.Digest
	if tag != "" {
		location, err := contracts.Join(env.Registry.LoginServer, remote.Ref.Repository)
		if err != nil {
			return nil, err
		}
		state.Agree(project.BaseKey(location, tag), tag, tag == project.DefaultTag, remote.Ref.Digest, remote.Index)
	}
	state.Describe(remote.Ref.Digest, remote.Index.Content)
	return p, p.WriteState(state)
}
