package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
)

// makes says whether a built-in role of Azure lets its holder make an environment.
func makes(role string) bool { return role == "Owner" || role == "Contributor" }

// gives says whether a built-in role lets its holder give roles.
func gives(role string) bool {
	return slices.Contains([]string{"Owner", "User Access Administrator", "Role Based Access Control Administrator"}, role)
}

// unknown says whether nobody here knows what a role allows, as with one of the user's
// own. Those that are known and not for making things are of no use here.
func unknown(role string) bool {
	known := []string{"Reader", "AcrPull", "AcrPush", "AcrDelete", "Storage Blob Data Owner", "Storage Blob Data Contributor", "Storage Blob Data Reader"}
	return !makes(role) && !gives(role) && !slices.Contains(known, role)
}

// roles looks at what the user may do where the environment is made: in the subscription,
// or in the resource group when it is there.
func (a Azure) roles(ctx context.Context, c Check, user who) Check {
	scope := "/subscriptions/" + a.Config.Azure.SubscriptionID
	group := scope + "/resourceGroups/" + a.Names.ResourceGroup
	if a.Config.Azure.ExistingResourceGroup {
		scope = group
	}
	c.Looked = user.User.Name + " at " + scope
	id, err := a.principal(ctx, user)
	if err != nil {
		return asked(c, err)
	}
	if id == "" {
		return c.Skipped("the roles of a managed identity are not looked up")
	}
	found, err := a.rolesAt(ctx, id, scope)
	if err != nil {
		return asked(c, err)
	}
	if scope != group && !a.enough(found) {
		// Somebody may have made the group for this user.
		if inGroup, err := a.rolesAt(ctx, id, group); err == nil && a.enough(inGroup) {
			c.Looked, found = user.User.Name+" at "+group, inGroup
		}
	}
	return a.judge(c, found)
}

// principal is the user's object ID, "" when it cannot be told.
func (a Azure) principal(ctx context.Context, user who) (string, error) {
	var object struct {
		ID string `json:"id"`
	}
	switch {
	case user.User.Type == "user":
		err := a.AZ.Ask(ctx, &object, "ad", "signed-in-user", "show", "--output", "json")
		return object.ID, err
	case user.User.Name == "systemAssignedIdentity" || user.User.Name == "userAssignedIdentity":
		return "", nil
	}
	err := a.AZ.Ask(ctx, &object, "ad", "sp", "show", "--id", user.User.Name, "--output", "json")
	return object.ID, err
}

// rolesAt are the names of the roles that the user has at a scope, those from above it
// and by groups among them.
func (a Azure) rolesAt(ctx context.Context, principal, scope string) ([]string, error) {
	var assignments []struct {
		Role string `json:"roleDefinitionName"`
	}
	err := a.AZ.Ask(ctx, &assignments, "role", "assignment", "list", "--assignee", principal, "--scope", scope,
		"--include-inherited", "--include-groups", "--output", "json")
	var roles []string
	for _, assignment := range assignments {
		roles = append(roles, assignment.Role)
	}
	slices.Sort(roles)
	return slices.Compact(roles), err
}

func (a Azure) enough(roles []string) bool {
	return slices.ContainsFunc(roles, makes) && (!a.assigns() || slices.ContainsFunc(roles, gives))
}

// assigns says whether making the environment gives somebody a role.
func (a Azure) assigns() bool {
	return a.Config.Storage.Auth == config.Identity || a.Config.Cluster.Wanted
}

func (a Azure) judge(c Check, roles []string) Check {
	has := strings.Join(roles, ", ")
	if has == "" {
		has = "none"
	}
	const ask = "ask the subscription's owner; a role for which you are only eligible has to be activated first"
	switch {
	case a.enough(roles):
		return c.OK("%s", has)
	case slices.ContainsFunc(roles, unknown):
		return c.Warning("mops infra up says it if they do not", "whether these roles allow it is not known here: %s", has)
	case !slices.ContainsFunc(roles, makes):
		return c.Failed(contracts.CodeDenied, ask, "making an environment needs Contributor or Owner; the roles are: %s", has)
	}
	what, without := a.rolesFor()
	return c.Failed(contracts.CodeDenied, ask+without,
		"%s needs somebody who may assign roles (User Access Administrator or Owner) as well; the roles are: %s", what, has)
}
