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

// PreviewDown says what Down would do.
func (p *Provider) PreviewDown(ctx context.Context, destroy infra.Destruction) ([]infra.Change, error) {
	cluster, err := p.engine.Status(ctx, p.cluster())
	if err != nil {
		return nil, p.explain(err)
	}
	found, doomed, err := p.doomed(ctx, destroy)
	if err != nil {
		return nil, err
	}
	var changes []infra.Change
	for _, r := range cluster.Resources {
		c := infra.Change{Component: infra.Cluster, Action: infra.Delete, Place: r.ID, Resource: r.Name}
		if strings.HasPrefix(r.Name, adopted) {
			c.Action = infra.Keep
		}
		changes = append(changes, c)
	}
	for _, r := range found.Resources {
		c := infra.Change{Component: component(r.Name), Action: infra.Keep, Place: r.ID, Resource: r.Name}
		if slices.Contains(doomed, r.URN) {
			c.Action = infra.Delete
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Down removes the cluster, which costs by the hour, and then the data that is to be
// destroyed.
func (p *Provider) Down(ctx context.Context, destroy infra.Destruction) (*infra.State, error) {
	found, doomed, err := p.doomed(ctx, destroy)
	if err != nil {
		return nil, err
	}
	all, err := p.removeCluster(ctx)
	if err != nil {
		return p.undone(ctx, p.cluster(), all, p.explain(err))
	}
	if len(doomed) == 0 {
		state, err := p.after(ctx, all, nil)
		if err == nil && found.Exists && !destroy.Any() {
			before := "nothing was stopped: "
			if state.Changed {
				before = ""
			}
			state.Notes = append(state.Notes, before+"the registry and the storage hold data, stay, and go on costing; --destroy-registry and --destroy-storage remove them")
		}
		return state, err
	}
	result, err := p.engine.Destroy(ctx, p.data(), engine.DestroyOptions{Only: doomed, Unprotect: true})
	if result != nil {
		all.Changes, all.Recovered = append(all.Changes, result.Changes...), append(all.Recovered, result.Recovered...)
	}
	if err != nil {
		return p.undone(ctx, p.data(), all, p.explain(err))
	}
	state, err := p.after(ctx, all, nil)
	if err == nil && !slices.ContainsFunc(state.Components, func(c infra.Component) bool { return c.Phase != infra.Absent }) && !p.settings.AdoptGroup {
		state.Notes = append(state.Notes, fmt.Sprintf("the resource group %s stays, and costs nothing; with all that others put into it: az group delete --name %s", p.settings.Group, p.settings.Group))
	}
	return state, err
}

// removeCluster removes all of the cluster's stack but what is adopted. There may be none.
func (p *Provider) removeCluster(ctx context.Context) (*engine.Result, error) {
	found, err := p.engine.Status(ctx, p.cluster())
	if err != nil || !found.Exists {
		return &engine.Result{}, err
	}
	result, err := p.engine.Destroy(ctx, p.cluster(), engine.DestroyOptions{Remove: true})
	if result == nil {
		result = &engine.Result{}
	}
	return result, err
}

// undone is the state after a destruction that failed: what Azure says is left, and no
// outputs when it does not say. What is recorded may be gone.
func (p *Provider) undone(ctx context.Context, s engine.Stack, result *engine.Result, err error) (*infra.State, error) {
	_, lookErr := p.refresh(context.WithoutCancel(ctx), s)
	state, err := p.after(ctx, result, err)
	if lookErr != nil {
		state.Outputs = nil
	}
	return state, err
}

// doomed are the stack of data, and the URNs of what a destruction deletes of it.
func (p *Provider) doomed(ctx context.Context, destroy infra.Destruction) (*engine.Status, []string, error) {
	found, err := p.engine.Status(ctx, p.data())
	if err != nil {
		return nil, nil, p.explain(err)
	}
	if destroy.Registry && p.settings.Registry.Adopt != "" {
		return nil, nil, &contracts.Error{Code: contracts.CodeDenied, Stage: contracts.StageProvision,
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
	return found, urns, nil
}
