package doctor

import (
	"context"

	"github.com/modelops-suite/modelops-go/contracts"
)

// part is a resource whose name is its own in all of Azure.
type part struct {
	what, section string // "registry", and its section of modelops.yaml
	name, kind    string
	group         string
	existing      bool
	scoped        bool     // its host is not its name, so that others may have that too
	available     []string // the question whether nobody has the name
	free          string   // why there is no such question
}

func (a Azure) registry() part {
	r := a.Config.Registry
	return part{
		what: "registry", section: "registry", name: a.Names.Registry, kind: "Microsoft.ContainerRegistry/registries",
		group: r.ResourceGroup, existing: r.Existing, scoped: r.DomainNameLabelScope != "Unsecure", available: []string{"acr", "check-name"},
	}
}

func (a Azure) storage() part {
	s := a.Config.Storage
	return part{
		what: "storage account", section: "storage", name: a.Names.StorageAccount, kind: "Microsoft.Storage/storageAccounts",
		group: s.ResourceGroup, existing: s.Existing, available: []string{"storage", "account", "check-name"},
	}
}

// part looks whether what exists does, and whether what is to be made can have its name.
func (a Azure) part(ctx context.Context, c Check, p part) Check {
	c.Looked = p.name
	subscription := a.Config.Azure.SubscriptionID
	var free struct {
		Available bool   `json:"nameAvailable"`
		Reason    string `json:"reason"`
	}
	if !p.existing {
		if p.scoped {
			p.free = "its host will be told apart by a hash"
		}
		if p.free != "" {
			return c.OK("%s", p.free)
		}
		if err := a.AZ.Ask(ctx, &free, append(p.available, "--name", p.name, "--subscription", subscription, "--output", "json")...); err != nil {
			return asked(c, err)
		}
		if free.Available {
			return c.OK("nobody has the name; mops infra up makes it")
		}
	}
	group := p.group
	if group == "" {
		group = a.Names.ResourceGroup
	}
	id := "/subscriptions/" + subscription + "/resourceGroups/" + group + "/providers/" + p.kind + "/" + p.name
	var resource struct {
		ID string `json:"id"`
	}
	err := a.AZ.Ask(ctx, &resource, "resource", "show", "--ids", id, "--output", "json")
	switch {
	case err == nil:
		return c.OK("it is there, in %s", group)
	case contracts.AsError(err).Code != contracts.CodeNotFound:
		return asked(c, err)
	case p.existing:
		return c.Failed(contracts.CodeNotFound, "check "+p.section+".name and "+p.section+".resource_group in modelops.yaml; to have it made: "+p.section+".existing: false",
			"there is no such %s in %s", p.what, group)
	}
	return c.Failed(contracts.CodeConflict, "choose another name: "+p.section+".name in modelops.yaml; one that was removed lately stays taken for a while",
		"somebody else in Azure has the name (%s)", free.Reason)
}
