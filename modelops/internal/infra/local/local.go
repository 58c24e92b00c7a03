// Package local makes an environment on this machine: an OCI registry that listens on
// the loopback, a directory as storage, and a Dask cluster if one is asked for. No cloud,
// no container engine.
package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/localdask"
	"github.com/modelops-suite/modelops-go/modelops/internal/localregistry"
)

// Name is the name of the provider and of the environment that it makes.
const Name = "local"

// Provider is the local environment of one home.
type Provider struct {
	dir      string // $MODELOPS_HOME/local
	registry *localregistry.Registry
	cluster  *localdask.Cluster
	launch   Launch

	// Dask is the cluster that Up has run from now on; nil for the one that there is, if
	// any. WithoutDask has it removed.
	Dask        *localdask.Spec
	WithoutDask bool
}

// Launch makes the commands of the environment's processes.
type Launch struct{ Registry, Dask daemon.Launch }

// New is the local environment under the suite's home.
func New(home string, launch Launch) *Provider {
	dir := filepath.Join(home, Name)
	return &Provider{dir: dir, registry: localregistry.Open(dir), cluster: localdask.Open(filepath.Join(dir, "dask")), launch: launch}
}

// Name is "local".
func (p *Provider) Name() string { return Name }

// Environment is "local".
func (p *Provider) Environment() string { return Name }

// LogPath is where the registry's process writes.
func (p *Provider) LogPath() string { return p.registry.LogPath() }

func (p *Provider) container() string { return filepath.Join(p.dir, "storage") }

// outputs is the environment for a registry at a host.
func (p *Provider) outputs(host string) *contracts.BundleEnvironment {
	return &contracts.BundleEnvironment{
		Environment: Name,
		Registry:    contracts.Registry{Provider: "docker", LoginServer: host},
		Storage:     &contracts.Storage{Provider: "fs", Container: p.container()},
	}
}

// Preview says what Up would do.
func (p *Provider) Preview(ctx context.Context) ([]infra.Change, error) {
	state, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	actions := map[infra.Phase]string{infra.Ready: infra.Keep, infra.Stopped: infra.Start, infra.Absent: infra.Create}
	var changes []infra.Change
	for _, c := range state.Components {
		changes = append(changes, infra.Change{Component: c.Name, Action: actions[c.Phase], Place: c.Place})
	}
	return changes, nil
}

// upDask has the cluster run that is asked for, or the one that there is.
func (p *Provider) upDask(ctx context.Context) error {
	if p.WithoutDask {
		return p.cluster.Remove(ctx)
	}
	want := p.Dask
	if want == nil {
		var err error
		if want, err = p.cluster.Spec(); err != nil || want == nil {
			return err
		}
	}
	if err := p.cluster.Ask(ctx, *want); err != nil {
		return err
	}
	_, _, err := p.cluster.Start(ctx, p.launch.Dask)
	return err
}

// Up starts the registry unless it runs, and makes the storage unless it is there.
func (p *Provider) Up(ctx context.Context) (*infra.State, error) {
	if err := p.prepare(); err != nil {
		return nil, err
	}
	if err := p.sweep(); err != nil {
		return nil, err
	}
	if _, _, err := p.registry.Start(ctx, p.launch.Registry); err != nil {
		return nil, err
	}
	if err := p.upDask(ctx); err != nil {
		return nil, err
	}
	store, err := blobstore.OpenDir(p.container(), "")
	if err != nil {
		return nil, err
	}
	if err := infra.ProveStorage(ctx, store); err != nil {
		return nil, err
	}
	return p.Status(ctx)
}

// prepare makes the directories, or refuses those that others can change.
func (p *Provider) prepare() error {
	if err := environment.CheckDirectory(filepath.Dir(p.dir)); err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return infra.Cannot("make", p.dir, err)
	}
	return environment.CheckDirectory(p.dir)
}

// Status looks at the registry's process and at the directories.
func (p *Provider) Status(ctx context.Context) (*infra.State, error) {
	instance, running, err := p.registry.Probe(ctx)
	if err != nil {
		return nil, err
	}
	exists, err := p.registry.Exists()
	if err != nil {
		return nil, err
	}
	registry := infra.Component{Name: infra.Registry, Phase: infra.Absent, Place: filepath.Join(p.dir, "registry")}
	state := &infra.State{}
	switch {
	case running:
		registry.Phase = infra.Ready
	case exists:
		registry.Phase = infra.Stopped
	}
	if registry.Phase != infra.Absent && instance.Port != 0 {
		state.Outputs = p.outputs(localregistry.Host(instance))
	}
	storage := infra.Component{Name: infra.Storage, Phase: infra.Absent, Place: p.container()}
	switch _, err := os.Stat(p.container()); {
	case err == nil:
		storage.Phase = infra.Ready
	case !errors.Is(err, fs.ErrNotExist):
		return nil, infra.Cannot("look at", p.container(), err)
	case state.Outputs != nil:
		state.Outputs.Storage = nil
	}
	state.Components = []infra.Component{registry, storage}
	return state, p.daskStatus(ctx, state)
}

// daskStatus adds the cluster, if there is one.
func (p *Provider) daskStatus(ctx context.Context, state *infra.State) error {
	spec, err := p.cluster.Spec()
	if err != nil || spec == nil {
		return err
	}
	_, running, err := p.cluster.Probe(ctx)
	if err != nil {
		return err
	}
	compute := infra.Component{Name: infra.Compute, Phase: infra.Stopped, Place: fmt.Sprintf("Dask, %s of %s", contracts.Count(spec.Workers, "worker", "workers"), contracts.Count(spec.Threads, "thread", "threads"))}
	if running {
		compute.Phase = infra.Ready
	}
	if state.Outputs != nil && spec.Scheduler != 0 {
		state.Outputs.Compute = p.cluster.Compute(spec)
	}
	state.Components = append(state.Components, compute)
	return nil
}

// Refresh is Status, which always looks.
func (p *Provider) Refresh(ctx context.Context) (*infra.State, error) { return p.Status(ctx) }

// PreviewDown says what Down would do.
func (p *Provider) PreviewDown(ctx context.Context, destroy infra.Destruction) ([]infra.Change, error) {
	state, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	var changes []infra.Change
	for _, c := range state.Components {
		action := infra.Keep
		switch {
		case c.Phase == infra.Absent:
			continue
		case c.Name == infra.Registry && destroy.Registry, c.Name == infra.Storage && destroy.Storage:
			action = infra.Delete
		case c.Name != infra.Storage && c.Phase == infra.Ready:
			action = infra.Stop
		}
		changes = append(changes, infra.Change{Component: c.Name, Action: action, Place: c.Place})
	}
	return changes, nil
}

// Down stops what runs, and then removes the data that is to be destroyed.
func (p *Provider) Down(ctx context.Context, destroy infra.Destruction) (*infra.State, error) {
	if _, err := p.cluster.Stop(ctx); err != nil {
		return nil, err
	}
	if _, err := p.registry.Stop(ctx); err != nil {
		return nil, err
	}
	if destroy.Registry {
		if err := p.registry.Destroy(ctx); err != nil {
			return nil, err
		}
	}
	if destroy.Storage {
		if err := p.destroyStorage(); err != nil {
			return nil, err
		}
	}
	return p.Status(ctx)
}

// destroyStorage removes the container, which must be ours. Killed in the middle, it
// leaves nothing under its name.
func (p *Provider) destroyStorage() error {
	if _, err := blobstore.OpenDir(p.container(), ""); err != nil {
		return err
	}
	err := os.Rename(p.container(), p.container()+".destroyed."+rand.Text())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return infra.Cannot("remove", p.container(), err)
	}
	return p.sweep()
}

// sweep removes what a destruction that was interrupted left over.
func (p *Provider) sweep() error {
	left, err := filepath.Glob(p.container() + ".destroyed.*")
	if err != nil {
		return err
	}
	for _, trash := range left {
		if err := os.RemoveAll(trash); err != nil {
			return infra.Cannot("remove", trash, err)
		}
	}
	return nil
}
