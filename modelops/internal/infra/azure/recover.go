package azure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// identify is the ID of what was being made when an update was interrupted.
func (p *Provider) identify(pending engine.Pending) string {
	if pending.Type == assignmentType {
		scope, _ := pending.Inputs["scope"].(string)
		name, _ := pending.Inputs["roleAssignmentName"].(string)
		if scope == "" || name == "" {
			return ""
		}
		return scope + "/providers/Microsoft.Authorization/roleAssignments/" + name
	}
	if pending.Type == clusterType && p.settings.Cluster == nil {
		// It is no longer in the settings, and must be found to be removed.
		group, _ := pending.Inputs["resourceGroupName"].(string)
		name, _ := pending.Inputs["resourceName"].(string)
		gone := p.settings
		gone.Group, gone.Cluster = group, &Cluster{}
		gone.Cluster.Name = name
		return gone.clusterID()
	}
	return p.settings.id(pending.Name)
}

// update runs the program. A resource that Azure has and the record does not, because the
// answer to its creation was lost, is taken up if it is this environment's.
func (p *Provider) update(ctx context.Context, s engine.Stack) (*engine.Result, error) {
	const most = 16 // more than a program has resources that are found so
	for range most {
		result, err := p.engine.Up(ctx, s, engine.UpOptions{})
		f, id := existing(err)
		if f == nil || ctx.Err() != nil {
			return result, err
		}
		if adoptErr := p.takeUp(ctx, s, f, id); adoptErr != nil {
			return result, adoptErr
		}
	}
	return nil, &contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageProvision, Message: "what Azure has and what is recorded cannot be brought together"}
}

// existing is the failure to make something that is there already, and its ID.
func existing(err error) (*engine.Failure, string) {
	f, ok := errors.AsType[*engine.Failure](err)
	if !ok {
		return nil, ""
	}
	_, rest, found := strings.Cut(f.Message, "cannot create already existing resource '")
	id, _, closed := strings.Cut(rest, "'")
	if !found || !closed {
		return nil, ""
	}
	return f, id
}

// takeUp records a resource that is there, unless it is somebody else's.
func (p *Provider) takeUp(ctx context.Context, s engine.Stack, f *engine.Failure, id string) error {
	if ours, err := p.ours(ctx, s, f, id); err != nil || !ours {
		if err != nil {
			return err
		}
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("%s %s is there already, and was not made for environment %s", what(f.Name), id, p.settings.Environment),
			Hint:    notOurs(f.Name)}
	}
	return p.engine.Adopt(ctx, s, f)
}

// ours says whether a resource bears this environment's marks. What bears none lies in
// one that does.
func (p *Provider) ours(ctx context.Context, look engine.Stack, f *engine.Failure, id string) (bool, error) {
	if !holdsData(f.Name) && f.Name != clusterName && f.Name != identityName {
		return true, nil
	}
	var mu sync.Mutex
	marks := map[string]string{}
	look.Name = p.settings.Environment + "-look" // a preview leaves nothing of it
	look.Program = func(c *pulumi.Context) error {
		provider, err := p.settings.provider(c)
		if err != nil {
			return err
		}
		var r struct {
			pulumi.CustomResourceState
			Tags     pulumi.StringMapOutput `pulumi:"tags"`
			Metadata pulumi.StringMapOutput `pulumi:"metadata"`
		}
		err = c.ReadResource(f.Type, "look", pulumi.ID(id), nil, &r, pulumi.Provider(provider), pulumi.Version(pluginVersion))
		if err != nil {
			return err
		}
		// What a resource does not have stays unknown in a preview, and is not waited for.
		for _, found := range []pulumi.StringMapOutput{r.Tags, r.Metadata} {
			found.ApplyT(func(m map[string]string) string {
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(marks, m)
				return ""
			})
		}
		return nil
	}
	if _, err := p.engine.Preview(ctx, look); err != nil {
		return false, p.explain(err)
	}
	wanted := p.settings.tags()
	if f.Name == containerName {
		wanted = p.settings.metadata()
	}
	for key, value := range wanted {
		if marks[key] != value {
			return false, nil
		}
	}
	return true, nil
}

// notOurs is the hint for something that is there already and somebody else's.
func notOurs(name string) string {
	key := component(name) + ".existing"
	switch name {
	case groupName:
		key = "azure.existing_resource_group"
	case identityName:
		return "its name follows from the cluster's: choose another cluster.name, or have its owner remove it"
	}
	return "to use it as it is, say so in modelops.yaml: " + key + ": true; else choose another name"
}
