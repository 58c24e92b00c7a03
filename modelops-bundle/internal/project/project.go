// Package project is a project's own directory, .modelops-bundle: its configuration,
// the environment it is pinned to, and what it last agreed on with registries.
//
// The project's name, chosen once at init, is the key: it alone names the repository, in
// whatever registry the environment in force has.
package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// The files of a project, below its directory.
const (
	StateDir   = bundle.StateDir
	configFile = StateDir + "/config.yaml"
	pinFile    = StateDir + "/env"
	stateFile  = StateDir + "/state.json"
	cacheFile  = StateDir + "/stat-cache"

	filesCacheFile = StateDir + "/stat-cache-files"
)

// DefaultTag is what a project pushes to and pulls from unless told otherwise.
const DefaultTag = "latest"

// Project is a project on this machine.
type Project struct {
	Dir      string // absolute
	Config   *contracts.ProjectConfig
	Pin      string // the environment's name, or "" when the project is not pinned
	Warnings []contracts.Problem
}

// Find is the directory of the project that dir lies in: the nearest one with
// .modelops-bundle, upwards. There is a [contracts.Error] of
// [contracts.CodeProjectNotFound] when there is none.
func Find(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := start; ; at = filepath.Dir(at) {
		info, err := os.Stat(filepath.Join(at, StateDir))
		if err == nil && info.IsDir() {
			return at, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return "", unreadable(filepath.Join(at, StateDir), err)
		}
		if at == filepath.Dir(at) {
			return "", &contracts.Error{
				Code: contracts.CodeProjectNotFound, Stage: contracts.StageProject,
				Message: contracts.Quote(start) + " is not inside a project",
				Hint:    "go to a project's directory, or make one: modelops-bundle init NAME",
			}
		}
	}
}

// Open reads the project that dir lies in.
func Open(dir string) (*Project, error) {
	found, err := Find(dir)
	if err != nil {
		return nil, err
	}
	p := &Project{Dir: found}
	path := p.path(configFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &contracts.Error{
			Code: contracts.CodeInvalidProject, Stage: contracts.StageProject,
			Message: contracts.Quote(path) + " is missing",
			Hint:    "run: modelops-bundle init . --name NAME",
		}
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	if p.Config, p.Warnings, err = contracts.ParseProjectConfig(path, data); err != nil {
		return nil, err
	}
	p.Pin, err = p.readPin()
	return p, err
}

func (p *Project) path(name string) string { return filepath.Join(p.Dir, filepath.FromSlash(name)) }

func (p *Project) readPin() (string, error) {
	path := p.path(pinFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", unreadable(path, err)
	}
	name := contracts.NormalizeEnvironmentName(string(data))
	if err := contracts.ValidateEnvironmentName(name); err != nil {
		return "", (&contracts.Error{
			Code: contracts.CodeInvalidProject, Stage: contracts.StageProject,
			Message: contracts.Quote(path) + " does not hold an environment's name",
			Hint:    "run: modelops-bundle env switch NAME",
		}).Because(err)
	}
	return name, nil
}

// Repository is the name of the project's repository in this environment. A project of
// the Python suite, which does not record its name, has it in its registry_ref.
func (p *Project) Repository(env *contracts.BundleEnvironment) (string, error) {
	name := p.Config.Project
	if name == "" {
		rest, inside := strings.CutPrefix(p.Config.RegistryRef, env.Registry.LoginServer+"/")
		if !inside {
			return "", &contracts.Error{
				Code: contracts.CodeInvalidProject, Stage: contracts.StageProject,
				Message: contracts.Quote(p.path(configFile)) + " does not say the project's name, and its registry_ref " +
					contracts.Quote(p.Config.RegistryRef) + " is not in registry " + contracts.Quote(env.Registry.LoginServer),
				Hint: "state the name: modelops-bundle init . --name NAME",
			}
		}
		name = rest
	}
	return name, contracts.ValidateRepository(name)
}

// Record is what config.yaml notes of an environment: where the project lies in it.
// Nothing is decided by it.
func Record(c *contracts.ProjectConfig, env *contracts.BundleEnvironment) error {
	location, err := contracts.Join(env.Registry.LoginServer, c.Project)
	if err != nil {
		return err
	}
	c.RegistryRef = location.String()
	c.Storage.Provider, c.Storage.Container = "", ""
	if env.Storage != nil {
		c.Storage.Provider, c.Storage.Container = env.Storage.Provider, env.Storage.Container
	}
	return nil
}

// Disagreement says how the record differs from the environment in force, or "".
func (p *Project) Disagreement(env *contracts.BundleEnvironment) string {
	name, err := p.Repository(env)
	if err != nil || p.Config.RegistryRef == "" {
		return ""
	}
	location, err := contracts.Join(env.Registry.LoginServer, name)
	if err != nil || location.String() == p.Config.RegistryRef {
		return ""
	}
	return "config.yaml records " + p.Config.RegistryRef + "; environment " + env.Environment + " means " + location.String() +
		" (modelops-bundle env switch " + env.Environment + " records that)"
}

// Switch pins the project to the environment and records it.
func (p *Project) Switch(env *contracts.BundleEnvironment) error {
	name, err := p.Repository(env)
	if err != nil && p.Config.Project == "" {
		return err
	}
	p.Config.Project = name
	if err := Record(p.Config, env); err != nil {
		return err
	}
	if err := p.write(env.Environment); err != nil {
		return err
	}
	p.Pin = env.Environment
	return nil
}

func (p *Project) write(environment string) error {
	data, err := p.Config.Marshal()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(p.path(configFile), data, 0o644); err != nil {
		return Unwritable(p.path(configFile), err)
	}
	if err := atomicfile.Write(p.path(pinFile), []byte(environment+"\n"), 0o644); err != nil {
		return Unwritable(p.path(pinFile), err)
	}
	return nil
}

func unreadable(path string, err error) error {
	return (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StageProject,
		Message: contracts.Quote(path) + " cannot be read: " + reason(err),
	}).Because(err)
}

// Unwritable is the error of a file of the project that could not be written.
func Unwritable(path string, err error) error {
	return (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StageProject,
		Message: contracts.Quote(path) + " cannot be written: " + reason(err),
	}).Because(err)
}

func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}
