// Package azure makes an environment on Azure: a resource group, a container registry, a
// storage account with one container, and, where it is asked for, a Kubernetes cluster. It
// describes them to Pulumi's engine, which makes Azure agree; what has to be known of
// Azure to do so safely is here.
//
// What holds data is protected: no update deletes or replaces it, and "down" removes it
// only by name. The cluster holds none: it is a stack of its own, that "down" removes and
// no update replaces. What is adopted is somebody else's: it is read and never changed. A
// resource group is never deleted, for all that others put into it would go too.
package azure

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// Name is the provider's, as in --provider.
const Name = "azure"

// Provider is one environment on Azure.
type Provider struct {
	settings Settings
	engine   *engine.Engine
	plugins  string // the directory that holds the plugin; empty for the released one
	looking  bool   // what the engine tells is not what mops does to Azure
}

// New is the environment that settings describe, made by an engine of that configuration.
// plugins is a directory that holds the azure-native plugin, empty for the one that the
// engine installs.
func New(settings Settings, config engine.Config, plugins string) (p *Provider, err error) {
	p = &Provider{settings: settings, plugins: plugins}
	if progress := config.Progress; progress != nil {
		config.Progress = func(e engine.Event) {
			if !p.looking && !(p.born(e.Name) && e.Op == engine.Create && e.Phase != engine.Done) {
				progress(e)
			}
		}
	}
	p.engine, err = engine.Open(config)
	return p, err
}

// Name is "azure".
func (p *Provider) Name() string { return Name }

// Environment is that of the settings.
func (p *Provider) Environment() string { return p.settings.Environment }

// data is the stack of what holds data, and cluster that of what jobs run on: it comes and
// goes, and data stays.
func (p *Provider) data() engine.Stack    { return p.stack("data", (*builder).data) }
func (p *Provider) cluster() engine.Stack { return p.stack("cluster", (*builder).cluster) }

func (p *Provider) stack(part string, build func(*builder) error) engine.Stack {
	return engine.Stack{
		Project: "modelops", Name: p.settings.Environment + "-" + part, Program: p.settings.program(build),
		Plugins:  []engine.Plugin{{Name: plugin, Version: pluginVersion, Path: p.plugins}},
		Identify: p.identify,
	}
}

// wanted are the stacks of the settings, in the order that they are made. A cluster that
// is there and that the settings do not have is an error: it is not removed in passing.
func (p *Provider) wanted(ctx context.Context) ([]engine.Stack, error) {
	if p.settings.Cluster != nil {
		return []engine.Stack{p.data(), p.cluster()}, nil
	}
	found, err := p.engine.Status(ctx, p.cluster())
	if err != nil {
		return nil, p.explain(err)
	}
	if len(found.Resources)+len(found.Pending) > 0 {
		return nil, p.orphaned(found)
	}
	return []engine.Stack{p.data()}, nil
}

// Preview says what Up would do to each resource.
func (p *Provider) Preview(ctx context.Context) ([]infra.Change, error) {
	stacks, err := p.wanted(ctx)
	if err != nil {
		return nil, err
	}
	var answer []infra.Change
	for _, s := range stacks {
		changes, err := p.plan(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			answer = append(answer, infra.Change{Component: component(c.Name), Action: string(c.Op), Place: p.place(c), Resource: c.Name, Properties: c.Keys})
		}
	}
	for _, part := range p.parts() {
		if !slices.ContainsFunc(answer, func(c infra.Change) bool { return c.Component == part }) {
			answer = append(answer, infra.Change{Component: part, Action: infra.Keep, Place: p.settings.id(part)})
		}
	}
	return answer, nil
}

// parts are the components that the settings have.
func (p *Provider) parts() []string {
	if p.settings.Cluster == nil {
		return []string{infra.Registry, infra.Storage}
	}
	return []string{infra.Registry, infra.Storage, infra.Cluster}
}

func (p *Provider) place(c engine.Change) string {
	if c.ID != "" {
		return c.ID
	}
	return p.settings.id(c.Name)
}

// plan is what an update would do. One that would delete or replace data, or a cluster,
// is an error.
func (p *Provider) plan(ctx context.Context, s engine.Stack) ([]engine.Change, error) {
	p.looking = true
	result, err := p.engine.Preview(ctx, s)
	p.looking = false
	if err != nil {
		return nil, p.explain(err)
	}
	var changes []engine.Change
	for _, c := range result.Changes {
		if c.Op == engine.Read || c.Op == engine.Refresh || halves(c, result.Changes) || uncertain(c, result.Changes) {
			continue
		}
		if holdsData(c.Name) && (c.Op == engine.Replace || c.Op == engine.Delete) {
			return nil, p.loss(c.Name, c.Keys)
		}
		if err := p.refuse(c); err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Up makes what is missing, and changes what differs from the settings. A state is
// returned beside an error when it is known what there is.
func (p *Provider) Up(ctx context.Context) (*infra.State, error) {
	stacks, err := p.wanted(ctx)
	if err != nil {
		return nil, err
	}
	all := &engine.Result{}
	for _, s := range stacks {
		// What a deletion that was broken off removed is no longer taken for there.
		refreshed, err := p.refresh(ctx, s)
		if err != nil {
			return nil, err // another one may be at work: what is recorded is not what there is
		}
		all.Recovered = append(all.Recovered, refreshed.Recovered...)
	}
	for _, s := range stacks {
		if _, err := p.plan(ctx, s); err != nil {
			return nil, err
		}
	}
	for _, s := range stacks {
		var result *engine.Result
		result, err = p.update(ctx, s)
		if result != nil {
			all.Recovered = append(all.Recovered, result.Recovered...)
			all.Changes = append(all.Changes, result.Changes...)
		}
		if err != nil {
			break
		}
	}
	state, err := p.after(ctx, all, p.explain(err))
	if err != nil && state.Outputs != nil && state.Outputs.Storage == nil {
		state.Outputs = nil // half of what was asked for is not yet what there is
	}
	return state, err
}

// refresh makes the record agree with Azure. There may be none.
func (p *Provider) refresh(ctx context.Context, s engine.Stack) (*engine.Result, error) {
	found, err := p.engine.Status(ctx, s)
	if err != nil {
		return nil, p.explain(err)
	}
	if len(found.Resources)+len(found.Pending) == 0 {
		return &engine.Result{}, nil
	}
	p.looking = true
	result, err := p.engine.Refresh(ctx, s, engine.RefreshOptions{})
	p.looking = false
	return result, p.explain(err)
}

// after is the state after an operation, whether it succeeded or not.
func (p *Provider) after(ctx context.Context, result *engine.Result, err error) (*infra.State, error) {
	state, statusErr := p.Status(context.WithoutCancel(ctx))
	if state == nil {
		state = &infra.State{}
	}
	if err == nil {
		err = statusErr
	}
	if result != nil {
		state.Changed = len(result.Changes) > 0
		for _, r := range result.Recovered {
			if r.Adopted && !p.born(r.Name) {
				state.Notes = append(state.Notes, fmt.Sprintf("%s, which an earlier run began to make, is there and was taken up", r.Name))
			}
		}
	}
	return state, err
}

// Status says what the last operation recorded; Azure is not asked.
func (p *Provider) Status(ctx context.Context) (*infra.State, error) {
	state := &infra.State{}
	found, err := p.statusOf(ctx, p.data(), state)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, part := range []string{infra.Registry, infra.Storage} {
		c := infra.Component{Name: part, Phase: infra.Absent, Place: p.settings.id(part)}
		if id, ok := placeOf(found, part); ok {
			c.Phase, c.Place, there[part] = infra.Ready, id, true
		}
		state.Components = append(state.Components, c)
	}
	if err := p.clusterStatus(ctx, state); err != nil {
		return nil, err
	}
	if !found.Exists || !there[infra.Registry] {
		return state, nil
	}
	if !there[infra.Storage] && slices.ContainsFunc(found.Resources, func(r engine.Resource) bool { return component(r.Name) == infra.Storage }) {
		state.Unread = unbelieved("the storage is there in part")
		return state, nil
	}
	outputs, err := p.engine.Outputs(ctx, p.data())
	if err != nil {
		return nil, p.explain(err)
	}
	state.Outputs, state.Unread = Environment(p.settings, outputs, there[infra.Storage])
	return state, nil
}

// statusOf is what a stack's record says, and adds to the state what its user should know.
func (p *Provider) statusOf(ctx context.Context, s engine.Stack, state *infra.State) (*engine.Status, error) {
	found, err := p.engine.Status(ctx, s)
	if err != nil {
		return nil, p.explain(err)
	}
	for _, pending := range found.Pending {
		state.Notes = append(state.Notes, fmt.Sprintf("an earlier run ended while %s; mops infra up looks what became of it", pending))
	}
	for _, lock := range found.Locks {
		state.Notes = append(state.Notes, "the environment is being changed by "+lock.String())
	}
	return found, nil
}

// placeOf is the ID of the resource that a component stands on. Storage is there when
// both the account and the container are.
func placeOf(found *engine.Status, part string) (id string, ok bool) {
	names := map[string]string{}
	for _, r := range found.Resources {
		names[strings.TrimPrefix(r.Name, adopted)] = r.ID
	}
	id, ok = names[part]
	if part == infra.Storage && names[containerName] == "" {
		ok = false
	}
	return id, ok
}

// Refresh compares the record with Azure, and makes the record agree. What differs from
// the settings after that is noted, and left to Up.
func (p *Provider) Refresh(ctx context.Context) (*infra.State, error) {
	stacks, err := p.wanted(ctx)
	if err != nil {
		return nil, err
	}
	all := &engine.Result{}
	var drift []engine.Change
	for _, s := range stacks {
		if found, err := p.engine.Status(ctx, s); err == nil && !found.Exists {
			continue
		}
		result, err := p.refresh(ctx, s)
		if err != nil {
			return nil, err
		}
		all.Changes, all.Recovered = append(all.Changes, result.Changes...), append(all.Recovered, result.Recovered...)
		differing, err := p.compare(ctx, s, all)
		if err != nil {
			return p.after(ctx, all, err)
		}
		drift = append(drift, differing...)
	}
	state, err := p.after(ctx, all, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range drift {
		state.Notes = append(state.Notes, fmt.Sprintf("Azure differs from the configuration: mops infra up would %s %s%s", c.Op, c.Name, listed(c.Keys)))
	}
	return state, nil
}

// compare is what Up would do to a stack. When that is nothing, the stack's keys are read
// anew, and what that changes is added to all.
func (p *Provider) compare(ctx context.Context, s engine.Stack, all *engine.Result) ([]engine.Change, error) {
	drift, err := p.plan(ctx, s)
	if err != nil || len(drift) > 0 {
		return drift, err
	}
	// Nothing is to be changed, so this only reads the keys anew.
	again, err := p.engine.Up(ctx, s, engine.UpOptions{})
	if again != nil {
		all.Changes = append(all.Changes, again.Changes...)
	}
	return nil, p.explain(err)
}

func listed(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return " (" + strings.Join(keys, ", ") + ")"
}

// Unlock breaks the locks that updates left which were killed, and says whose they were.
func (p *Provider) Unlock(ctx context.Context) (broken []string, err error) {
	for _, s := range []engine.Stack{p.data(), p.cluster()} {
		locks, err := p.engine.Unlock(ctx, s)
		for _, l := range locks {
			broken = append(broken, l.String())
		}
		// An environment without a cluster has no such stack.
		if e := contracts.AsError(err); e != nil && !(s.Name == p.cluster().Name && e.Code == contracts.CodeNotFound) {
			return broken, err
		}
	}
	return broken, nil
}

// component is the part of an environment that a resource is of.
func component(name string) string {
	switch strings.TrimPrefix(name, adopted) {
	case groupName:
		return infra.Group
	case registryName:
		return infra.Registry
	case accountName, serviceName, containerName, lifecycleName, assignmentName:
		return infra.Storage
	}
	return infra.Cluster
}

// holdsData says whether deleting a resource loses what users put into it.
func holdsData(name string) bool {
	return slices.Contains([]string{groupName, registryName, accountName, containerName}, name)
}
