package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azcli"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// Azure is what can be said of an environment on Azure before it is made. Everything is
// asked of az, Azure's own program; without it nothing is known, and said so.
type Azure struct {
	AZ     *azcli.Program // nil when there is none, and Absent says why
	Absent error
	Config *config.Config // nil when nothing says which subscription is meant
	Names  name.Names
	Getenv func(string) string
}

// who is the answer of "az account show", one of those of "az account list".
type who struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	TenantID string `json:"tenantId"`
	State    string `json:"state"`
	User     struct {
		Name string `json:"name"`
		Type string `json:"type"` // user or servicePrincipal
	} `json:"user"`
}

// step is a check, and how it is made.
type step struct {
	name string
	make func(context.Context, Check) Check
}

// Checks are the checks. What needs an earlier one that failed is skipped.
func (a Azure) Checks(ctx context.Context) []Check {
	var user who
	var checks []Check
	lacks := "" // what the next ones need
	for _, s := range []step{
		{"az", a.program},
		{"login", func(ctx context.Context, c Check) Check { return a.login(ctx, c, &user) }},
		{"subscription", func(ctx context.Context, c Check) Check { return a.subscription(ctx, c, &user) }},
		{"token", a.token},
	} {
		check := Check{Name: s.name}
		if lacks != "" {
			checks = append(checks, check.Skipped("it needs %s", lacks))
			continue
		}
		if check = s.make(ctx, check); check.Status == Failed || check.Status == Skipped {
			lacks = s.name
		}
		checks = append(checks, check)
	}
	return append(checks, a.resources(ctx, user, lacks)...)
}

// resources are the checks that ask Azure itself. az takes a second to start, so they are
// made at the same time.
func (a Azure) resources(ctx context.Context, user who, lacks string) []Check {
	steps := []step{
		{"provider-registry", func(ctx context.Context, c Check) Check {
			return a.provider(ctx, c, "Microsoft.ContainerRegistry", "registries")
		}},
		{"provider-storage", func(ctx context.Context, c Check) Check {
			return a.provider(ctx, c, "Microsoft.Storage", "storageAccounts")
		}},
		{"roles", func(ctx context.Context, c Check) Check { return a.roles(ctx, c, user) }},
		{"quota", a.quota},
		{"resource-group", a.group},
		{"registry-name", func(ctx context.Context, c Check) Check { return a.part(ctx, c, a.registry()) }},
		{"storage-name", func(ctx context.Context, c Check) Check { return a.part(ctx, c, a.storage()) }},
	}
	steps = append(steps, a.clusterSteps()...)
	checks := make([]Check, len(steps))
	var done sync.WaitGroup
	for i, s := range steps {
		checks[i].Name = s.name
		if lacks != "" {
			checks[i] = checks[i].Skipped("it needs %s", lacks)
			continue
		}
		done.Go(func() { checks[i] = s.make(ctx, checks[i]) })
	}
	done.Wait()
	return checks
}

func (a Azure) program(_ context.Context, c Check) Check {
	c.Looked = "PATH"
	if a.AZ == nil {
		c = c.FailedWith(a.Absent)
		c.Status, c.Code = Skipped, ""
		return c
	}
	c.Looked = a.AZ.Path()
	return c.OK("it is there")
}

func (a Azure) login(ctx context.Context, c Check, user *who) Check {
	c.Looked = "az account show"
	if err := a.AZ.Ask(ctx, user, "account", "show", "--output", "json"); err != nil {
		return c.FailedWith(err)
	}
	if user.ID == "" || user.User.Name == "" {
		return c.Failed(contracts.CodeFailed, "try it: az account show", "it does not say who is signed in")
	}
	// With these Pulumi signs in otherwise than az does.
	for _, variable := range []string{"ARM_CLIENT_ID", "ARM_USE_MSI", "ARM_USE_OIDC"} {
		if a.Getenv(variable) != "" {
			return c.Warning("to sign in as az does: unset "+variable, "%s (%s); but %s is set, so mops infra signs in by it, and what follows is about another identity",
				user.User.Name, user.User.Type, variable)
		}
	}
	return c.OK("%s (%s)", user.User.Name, user.User.Type)
}

// subscription looks whether the one that is configured can be used; which one is az's
// default does not matter.
func (a Azure) subscription(ctx context.Context, c Check, user *who) Check {
	if a.Config == nil {
		c.Looked = "modelops.yaml"
		return c.Skipped("it does not say which subscription is meant")
	}
	id, tenant := a.Config.Azure.SubscriptionID, a.Config.Azure.TenantID
	c.Looked = id + ", az account list"
	var accounts []who
	if err := a.AZ.Ask(ctx, &accounts, "account", "list", "--all", "--output", "json"); err != nil {
		return c.FailedWith(err)
	}
	for _, account := range accounts {
		if !strings.EqualFold(account.ID, id) {
			continue
		}
		*user = account
		switch {
		case account.State != "Enabled" && account.State != "Warned":
			return c.Failed(contracts.CodeDenied, "its owner has to enable it; another one: azure.subscription_id in modelops.yaml", "%s is %s", account.Name, account.State)
		case tenant != "" && !strings.EqualFold(tenant, account.TenantID):
			return c.Failed(contracts.CodeConflict, "mend azure.tenant_id in modelops.yaml, or leave it out", "%s belongs to tenant %s, and the configuration says %s", account.Name, account.TenantID, tenant)
		case account.State == "Warned":
			return c.Warning("see to its billing, before it is disabled", "%s is Warned", account.Name)
		}
		return c.OK("%s, tenant %s", account.Name, account.TenantID)
	}
	login := "az login"
	if tenant != "" {
		login += " --tenant " + tenant
	}
	return c.Failed(contracts.CodeNotFound, "az account list shows those that you can use: azure.subscription_id in modelops.yaml; if it is in another tenant: "+login,
		"it is none of those that %s has; az's default one is %s (%s)", user.User.Name, user.Name, user.ID)
}

// token gets one, for what az knows of who is signed in may long have ended. Only its
// end is asked for: the token itself does not come here.
func (a Azure) token(ctx context.Context, c Check) Check {
	c.Looked = "az account get-access-token"
	var expires string
	err := a.AZ.Ask(ctx, &expires, "account", "get-access-token", "--subscription", a.Config.Azure.SubscriptionID, "--query", "expiresOn", "--output", "json")
	if err != nil {
		return c.FailedWith(err)
	}
	return c.OK("Azure takes the sign-in")
}

// asked is the outcome of a question that az did not answer. That the user may not ask
// is no fault of the environment: it was not checked.
func asked(c Check, err error) Check {
	c = c.FailedWith(err)
	if c.Code == contracts.CodeDenied {
		c.Status, c.Code = Skipped, ""
	}
	return c
}

// provider looks whether the subscription may have resources of a kind at all, and the
// region has them.
func (a Azure) provider(ctx context.Context, c Check, namespace, kind string) Check {
	subscription, location := a.Config.Azure.SubscriptionID, a.Config.Azure.Location
	c.Looked = namespace + " in " + location
	var answer struct {
		State string `json:"registrationState"`
		Types []struct {
			Name      string   `json:"resourceType"`
			Locations []string `json:"locations"`
		} `json:"resourceTypes"`
	}
	err := a.AZ.Ask(ctx, &answer, "provider", "show", "--namespace", namespace, "--subscription", subscription, "--output", "json")
	if err != nil {
		return asked(c, err)
	}
	switch answer.State {
	case "Registered":
	case "Registering":
		return c.Warning("wait some minutes", "it is being registered")
	default:
		return c.Failed(contracts.CodeDenied, fmt.Sprintf("az provider register --namespace %s --subscription %s --wait", namespace, subscription),
			"it is %s in the subscription", strings.ToLower(answer.State))
	}
	for _, t := range answer.Types {
		if t.Name == kind && len(t.Locations) > 0 && !has(t.Locations, location) {
			return c.Failed(contracts.CodeNotFound, "az account list-locations --output table: azure.location in modelops.yaml", "the region has no %s, or there is none of that name", kind)
		}
	}
	return c.OK("it is registered")
}

// has says whether a region is among those of a list, which has them as in "East US 2".
func has(locations []string, location string) bool {
	for _, l := range locations {
		if strings.EqualFold(strings.ReplaceAll(l, " ", ""), location) {
			return true
		}
	}
	return false
}

func (a Azure) quota(ctx context.Context, c Check) Check {
	c.Looked = "storage accounts in " + a.Config.Azure.Location
	if a.Config.Storage.Existing {
		return c.OK("none is needed: the account exists")
	}
	var usage struct {
		Current int `json:"currentValue"`
		Limit   int `json:"limit"`
	}
	err := a.AZ.Ask(ctx, &usage, "storage", "account", "show-usage", "--location", a.Config.Azure.Location,
		"--subscription", a.Config.Azure.SubscriptionID, "--output", "json")
	if err != nil {
		return asked(c, err)
	}
	if usage.Limit > 0 && usage.Current >= usage.Limit {
		return c.Warning("remove one, ask for a higher quota (Azure portal, Quotas), or choose another azure.location",
			"%d of %d are in use: unless this environment's is among them, it cannot be made", usage.Current, usage.Limit)
	}
	return c.OK("%d of %d are in use", usage.Current, usage.Limit)
}

func (a Azure) group(ctx context.Context, c Check) Check {
	c.Looked = a.Names.ResourceGroup
	var exists bool
	err := a.AZ.Ask(ctx, &exists, "group", "exists", "--name", a.Names.ResourceGroup, "--subscription", a.Config.Azure.SubscriptionID)
	switch {
	case err != nil:
		return asked(c, err)
	case exists:
		return c.OK("it is there")
	case a.Config.Azure.ExistingResourceGroup:
		return c.Failed(contracts.CodeNotFound, "check azure.resource_group in modelops.yaml, or have it made: azure.existing_resource_group: false", "it does not exist")
	}
	return c.OK("it is not there yet; mops infra up makes it")
}
