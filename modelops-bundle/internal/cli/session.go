package cli

import (
	"maps"
	"os"
	"runtime"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/acrauth"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/provider"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

// session is what most commands work with: a project, the environment in force, and
// the project's repository there.
type session struct {
	c          *cli.Context
	project    *project.Project
	env        *contracts.BundleEnvironment
	repository *bundleoci.Repository
}

// openSession finds the project that the working directory lies in, and everything that
// follows from it. It names the environment and what decided on stderr.
func openSession(c *cli.Context) (*session, error) {
	p, err := project.Open(command.EnvOf(c).Dir)
	if err != nil {
		return nil, err
	}
	for _, warning := range p.Warnings {
		command.Warn(c, "config.yaml: %s", warning)
	}
	env, err := chooseEnvironment(c, p.Pin, true)
	if err != nil {
		return nil, err
	}
	if text := p.Disagreement(env); text != "" {
		command.Warn(c, "%s", text)
	}
	name, err := p.Repository(env)
	if err != nil {
		return nil, err
	}
	repository, err := openRepository(c, env, name)
	return &session{c: c, project: p, env: env, repository: repository}, err
}

// chooseEnvironment finds the environment in force for a project pinned to pin, or for
// none.
func chooseEnvironment(c *cli.Context, pin string, forProject bool) (*contracts.BundleEnvironment, error) {
	env := command.EnvOf(c)
	home, err := environment.Home(env.Getenv)
	if err != nil {
		return nil, err
	}
	chosen, err := environment.Open(home).Resolve(environment.Request{
		Flag: c.String("env"), ProjectPin: pin, Getenv: env.Getenv, ForProject: forProject,
	})
	if err != nil {
		return nil, err
	}
	command.Note(c, "environment %s (%s): %s", chosen.Name, chosen.Why, chosen.Env.Registry.LoginServer)
	for _, warning := range chosen.Warnings {
		command.Warn(c, "%s: %s", chosen.Path, warning)
	}
	return chosen.Env, nil
}

func openRepository(c *cli.Context, env *contracts.BundleEnvironment, name string) (*bundleoci.Repository, error) {
	return bundleoci.Open(env, name, bundleoci.Options{
		Identity:  acrauth.Default(),
		Storage:   func() (blobstore.Store, error) { return provider.Open(env, provider.Limits{}) },
		UserAgent: "modelops-bundle/" + command.BuildOf("modelops-bundle").Version,
		Note:      func(format string, args ...any) { command.Debug(c, format, args...) },
		Reload: func() (contracts.Registry, error) {
			home, err := environment.Home(command.EnvOf(c).Getenv)
			if err != nil {
				return contracts.Registry{}, err
			}
			loaded, err := environment.Open(home).Load(env.Environment)
			if err != nil {
				return contracts.Registry{}, err
			}
			return loaded.Env.Registry, nil
		},
	})
}

// tag is the tag that the command line or the project says.
func (s *session) tag() (string, error) {
	tag := s.c.String("tag")
	if tag == "" {
		tag = s.defaultTag()
	}
	return tag, contracts.ValidateTag(tag)
}

func (s *session) defaultTag() string {
	if s.project.Config.DefaultTag != "" {
		return s.project.Config.DefaultTag
	}
	return project.DefaultTag
}

// baseKey names a tag of the session's repository in the project's state.
func (s *session) baseKey(tag string) string { return project.BaseKey(s.repository.Location, tag) }

// reference is what a command-line argument names, in terms of the session's environment:
// a repository and a digest. With no argument it is the project's default tag.
func (s *session) reference(arg string) (*bundleoci.Repository, contracts.Digest, error) {
	if arg == "" {
		arg = s.defaultTag()
	}
	return resolve(s.c, s.env, s.repository, arg)
}

// resolve reads a reference and asks the registry for its digest. own is the project's
// repository, or nil outside a project.
func resolve(c *cli.Context, env *contracts.BundleEnvironment, own *bundleoci.Repository, arg string) (*bundleoci.Repository, contracts.Digest, error) {
	ref, err := contracts.ParseReference(arg)
	if err != nil {
		return nil, "", err
	}
	within, ok := ref.Within(env.Registry.LoginServer)
	if !ok {
		return nil, "", &contracts.Error{
			Code: contracts.CodeEnvironmentMismatch, Stage: contracts.StageResolve,
			Message: "reference " + contracts.Quote(arg) + " is not in registry " + env.Registry.LoginServer + " of environment " + env.Environment,
			Hint:    "name the environment that it is in with --env",
		}
	}
	repository := own
	if within.Repository != "" {
		if repository, err = openRepository(c, env, within.Repository); err != nil {
			return nil, "", err
		}
	}
	if repository == nil {
		return nil, "", &contracts.Error{
			Code: contracts.CodeInvalidReference, Stage: contracts.StageResolve,
			Message: "reference " + contracts.Quote(arg) + " names no repository, and this is not inside a project",
			Hint:    "write repository:tag or repository@sha256:…",
		}
	}
	if within.Digest != "" {
		return repository, within.Digest, nil
	}
	tag := within.Tag
	if tag == "" {
		tag = project.DefaultTag
	}
	digest, err := repository.Resolve(c.Context, tag)
	return repository, digest, err
}

// root opens the project's directory; the caller closes it.
func (s *session) root() (*os.Root, error) {
	root, err := os.OpenRoot(s.project.Dir)
	if err != nil {
		return nil, (&contracts.Error{
			Code: contracts.CodeFailed, Stage: contracts.StageProject,
			Message: "the project's directory cannot be opened: " + contracts.Quote(err.Error()),
		}).Because(err)
	}
	return root, nil
}

// scan lists the files of the project. Windows does not know which are executable: there
// it is those that were when the project last pushed or pulled.
func (s *session) scan(root *os.Root, state *project.State) ([]bundle.Source, error) {
	sources, err := bundle.Scan(root)
	if runtime.GOOS == "windows" {
		for i, source := range sources {
			if slices.Contains(state.Executable, source.Path) {
				sources[i].Mode = bundle.Executable
			}
		}
	}
	return sources, err
}

// local is the files of the project as a bundle of the format would have them. What has
// not been touched since the last look is not read.
func (s *session) local(root *os.Root, state *project.State, format bundle.Format) ([]bundle.File, error) {
	sources, err := s.scan(root, state)
	if err != nil {
		return nil, err
	}
	cache := s.project.StatCache(format)
	files, err := bundle.Identify(s.c.Context, root, sources, format, cache)
	if err != nil {
		return nil, err
	}
	s.keep(cache)
	return files, nil
}

// inFormat is the files that were agreed on, in terms of another format as far as that is
// known: where what lies here is what was agreed on.
func (s *session) inFormat(root *os.Root, state *project.State, base project.Agreed, format bundle.Format) (map[string]string, error) {
	if base.Format == format || len(base.Files) == 0 {
		return base.Files, nil
	}
	before, err := s.local(root, state, base.Format)
	if err != nil {
		return nil, err
	}
	after, err := s.local(root, state, format)
	if err != nil {
		return nil, err
	}
	own, other := bundle.Identities(before), bundle.Identities(after)
	files := maps.Clone(base.Files)
	for path, identity := range files {
		if own[path] == identity && other[path] != "" {
			files[path] = other[path]
		}
	}
	return files, nil
}

// pushFormat is the format of the bundles that the project pushes.
func (s *session) pushFormat() bundle.Format {
	if s.project.Config.Format == string(bundle.Files) {
		return bundle.Files
	}
	return bundle.Packed
}

// identify is the index of the project as it lies here, in the packed format. What has not
// been touched since the last look is not read.
func (s *session) identify(root *os.Root, state *project.State) (*bundle.Index, error) {
	sources, err := s.scan(root, state)
	if err != nil {
		return nil, err
	}
	cache := s.project.StatCache(bundle.Packed)
	x, err := bundle.Builder{Cache: cache}.Build(s.c.Context, root, sources)
	if err != nil {
		return nil, err
	}
	s.keep(cache)
	return x, nil
}

// keep writes the stat cache for the next command. Without it that is slower, no more.
func (s *session) keep(cache *bundle.Cache) {
	if err := cache.Save(); err != nil {
		command.Debug(s.c, "the stat cache was not written: %v", err)
	}
}
