// Package azure makes an environment on Azure: a resource group, a container registry,
// and a storage account with one container. It describes them to Pulumi's engine, which
// makes Azure agree; what has to be known of Azure to do so safely is here.
//
// What holds data is protected: no update deletes or replaces it, and "down" removes it
// only by name. What is adopted is somebody else's: it is read and never changed. A
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
			if !p.looking {
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

// stack is where the state of what holds data lies. Compute is another one.
func (p *Provider) stack() engine.Stack {
	return engine.Stack{
		Project: "modelops", Name: p.settings.Environment + "-data", Program: program(p.settings),
		Plugins:  []engine.Plugin{{Name: plugin, Version: pluginVersion, Path: p.plugins}},
		Identify: p.identify,
	}
}

// Preview says what Up would do to each resource.
func (p *Provider) Preview(ctx context.Context) ([]infra.Change, error) {
	changes, err := p.plan(ctx)
	if err != nil {
		return nil, err
	}
	var answer []infra.Change
	for _, c := range changes {
		answer = append(answer, infra.Change{Component: component(c.Name), Action: string(c.Op), Place: p.place(c), Resource: c.Name, Properties: c.Keys})
	}
	for _, part := range []string{infra.Registry, infra.Storage} {
		if !slices.ContainsFunc(answer, func(c infra.Change) bool { return c.Component == part }) {
			answer = append(answer, infra.Change{Component: part, Action: infra.Keep, Place: p.settings.id(part)})
		}
	}
	return answer, nil
}

func (p *Provider) place(c engine.Change) string {
	if c.ID != "" {
		return c.ID
	}
	return p.settings.id(c.Name)
}

// plan is what an update would do. One that would delete or replace data is an error.
func (p *Provider) plan(ctx context.Context) ([]engine.Change, error) {
	p.looking = true
	result, err := p.engine.Preview(ctx, p.stack())
	p.looking = false
	if err != nil {
		return nil, p.explain(err)
	}
	var changes []engine.Change
	for _, c := range result.Changes {
		if c.Op == engine.Read || c.Op == engine.Refresh {
			continue
		}
		if holdsData(c.Name) && (c.Op == engine.Replace || c.Op == engine.Delete) {
			return nil, p.loss(c.Name, c.Keys)
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Up makes what is missing, and changes what differs from the settings. A state is
// returned beside an error when it is known what there is.
func (p *Provider) Up(ctx context.Context) (*infra.State, error) {
	// What a deletion that was broken off removed is no longer taken for there.
	refreshed, err := p.refresh(ctx)
	if err != nil {
		return nil, err // another one may be at work: what is recorded is not what there is
	}
	if _, err := p.plan(ctx); err != nil {
		return nil, err
	}
	result, err := p.update(ctx)
	if result != nil {
		result.Recovered = append(refreshed.Recovered, result.Recovered...)
	}
	state, err := p.after(ctx, result, p.explain(err))
	if err != nil && state.Outputs != nil && state.Outputs.Storage == nil {
		state.Outputs = nil // half of what was asked for is not yet what there is
	}
	return state, err
}

// refresh makes the record agree with Azure. There may be none.
func (p *Provider) refresh(ctx context.Context) (*engine.Result, error) {
	found, err := p.engine.Status(ctx, p.stack())
	if err != nil {
		return nil, p.explain(err)
	}
	if len(found.Resources)+len(found.Pending) == 0 {
		return &engine.Result{}, nil
	}
	p.looking = true
	result, err := p.engine.Refresh(ctx, p.stack(), engine.RefreshOptions{})
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
			if r.Adopted {
				state.Notes = append(state.Notes, fmt.Sprintf("%s, which an earlier run began to make, is there and was taken up", r.Name))
			}
		}
	}
	return state, err
}

// Status says what the last operation recorded; Azure is not asked.
func (p *Provider) Status(ctx context.Context) (*infra.State, error) {
	found, err := p.engine.Status(ctx, p.stack())
	if err != nil {
		return nil, p.explain(err)
	}
	state := &infra.State{}
	there := map[string]bool{}
	for _, part := range []string{infra.Registry, infra.Storage} {
		c := infra.Component{Name: part, Phase: infra.Absent, Place: p.settings.id(part)}
		if id, ok := placeOf(found, part); ok {
			c.Phase, c.Place, there[part] = infra.Ready, id, true
		}
		state.Components = append(state.Components, c)
	}
	for _, pending := range found.Pending {
		state.Notes = append(state.Notes, fmt.Sprintf("an earlier run ended while %s; mops infra up looks what became of it", pending))
	}
	for _, lock := range found.Locks {
		state.Notes = append(state.Notes, "the environment is being changed by "+lock.String())
	}
	if !found.Exists || !there[infra.Registry] {
		return state, nil
	}
	if !there[infra.Storage] && slices.ContainsFunc(found.Resources, func(r engine.Resource) bool { return component(r.Name) == infra.Storage }) {
		state.Unread = unbelieved("the storage is there in part")
		return state, nil
	}
	outputs, err := p.engine.Outputs(ctx, p.stack())
	if err != nil {
		return nil, p.explain(err)
	}
	state.Outputs, state.Unread = Environment(p.settings, outputs, there[infra.Storage])
	return state, nil
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
	if found, err := p.engine.Status(ctx, p.stack()); err == nil && !found.Exists {
		return p.Status(ctx)
	}
	result, err := p.refresh(ctx)
	if err != nil {
		return nil, err
	}
	drift, err := p.plan(ctx)
	if err != nil {
		return p.after(ctx, result, err)
	}
	if len(drift) == 0 {
		// Nothing is to be changed, so this only reads the keys anew.
		again, err := p.engine.Up(ctx, p.stack(), engine.UpOptions{})
		if again != nil {
			result.Changes = append(result.Changes, again.Changes...)
		}
		return p.after(ctx, result, p.explain(err))
	}
	state, err := p.after(ctx, result, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range drift {
		state.Notes = append(state.Notes, fmt.Sprintf("Azure differs from the configuration: mops infra up would %s %s%s", c.Op, c.Name, listed(c.Keys)))
	}
	return state, nil
}

func listed(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return " (" + strings.Join(keys, ", ") + ")"
}

// PreviewDown says what Down would do.
func (p *Provider) PreviewDown(ctx context.Context, destroy infra.Destruction) ([]infra.Change, error) {
	found, err := p.engine.Status(ctx, p.stack())
	if err != nil {
		return nil, p.explain(err)
	}
	doomed, err := p.doomed(found, destroy)
	if err != nil {
		return nil, err
	}
	var changes []infra.Change
	for _, r := range found.Resources {
		c := infra.Change{Component: component(r.Name), Action: infra.Keep, Place: r.ID, Resource: r.Name}
		if slices.Contains(doomed, r.URN) {
			c.Action = infra.Delete
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Down removes the data that is to be destroyed, and nothing else: nothing else here
// could be stopped.
func (p *Provider) Down(ctx context.Context, destroy infra.Destruction) (*infra.State, error) {
	found, err := p.engine.Status(ctx, p.stack())
	if err != nil {
		return nil, p.explain(err)
	}
	doomed, err := p.doomed(found, destroy)
	if err != nil {
		return nil, err
	}
	if len(doomed) == 0 {
		state, err := p.Status(ctx)
		if err == nil && found.Exists && !destroy.Any() {
			state.Notes = append(state.Notes, "nothing was stopped: the registry and the storage hold data, stay, and go on costing; --destroy-registry and --destroy-storage remove them")
		}
		return state, err
	}
	result, err := p.engine.Destroy(ctx, p.stack(), engine.DestroyOptions{Only: doomed, Unprotect: true})
	if err != nil {
		return p.undone(ctx, result, p.explain(err))
	}
	state, err := p.after(ctx, result, nil)
	if err == nil && !slices.ContainsFunc(state.Components, func(c infra.Component) bool { return c.Phase != infra.Absent }) && !p.settings.AdoptGroup {
		state.Notes = append(state.Notes, fmt.Sprintf("the resource group %s stays, and costs nothing; with all that others put into it: az group delete --name %s", p.settings.Group, p.settings.Group))
	}
	return state, err
}

// undone is the state after a destruction that failed: what Azure says is left, and no
// outputs when it does not say. What is recorded may be gone.
func (p *Provider) undone(ctx context.Context, result *engine.Result, err error) (*infra.State, error) {
	_, lookErr := p.refresh(context.WithoutCancel(ctx))
	state, err := p.after(ctx, result, err)
	if lookErr != nil {
		state.Outputs = nil
	}
	return state, err
}

// Unlock breaks the locks that updates left which were killed, and says whose they were.
func (p *Provider) Unlock(ctx context.Context) (broken []string, err error) {
	locks, err := p.engine.Unlock(ctx, p.stack())
	for _, l := range locks {
		broken = append(broken, l.String())
	}
	return broken, err
}

// doomed are the URNs of what a destruction deletes.
func (p *Provider) doomed(found *engine.Status, destroy infra.Destruction) ([]string, error) {
	if destroy.Registry && p.settings.Registry.Adopt != "" {
		return nil, &contracts.Error{Code: contracts.CodeDenied, Stage: contracts.StageProvision,
			Message: "the registry " + p.settings.Registry.Adopt + " was there before this environment, and is not removed by it",
			Hint:    "mops infra down --destroy-storage removes what mops made; az acr delete is its owner's"}
	}
	var urns []string
	for _, r := range found.Resources {
		part := component(r.Name)
		if strings.HasPrefix(r.Name, adopted) || !(part == infra.Registry && destroy.Registry || part == infra.Storage && destroy.Storage) {
			continue
		}
		urns = append(urns, r.URN)
	}
	return urns, nil
}

// component is the part of an environment that a resource is of.
func component(name string) string {
	switch strings.TrimPrefix(name, adopted) {
	case groupName:
		return infra.Group
	case registryName:
		return infra.Registry
	}
	return infra.Storage
}

// holdsData says whether deleting a resource loses what users put into it.
func holdsData(name string) bool {
	return slices.Contains([]string{groupName, registryName, accountName, containerName}, name)
}
