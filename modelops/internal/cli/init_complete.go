package cli

import (
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azcli"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/local"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// legacyPath is where the Python suite's older configuration lies.
func legacyPath(home string) string { return filepath.Join(home, "infrastructure.yaml") }

// complete puts into the draft what flags say, what can be found out, and what a person
// answers, in that order.
func (d *draft) complete(c *cli.Context) error {
	if err := d.flags(c); err != nil {
		return err
	}
	settings := &d.config.Settings
	if settings.Provider == "" {
		settings.Provider = config.Azure
	}
	if settings.Provider == config.Local {
		for _, flag := range []string{"username", "subscription", "tenant", "location", "resource-group"} {
			if c.String(flag) != "" {
				return command.Usage("", "--%s is for --provider azure", flag)
			}
		}
		if settings.Environment == "" {
			settings.Environment = local.Name
		}
		return nil
	}
	if settings.Environment == "" {
		settings.Environment = "dev"
	}
	if settings.Username == "" && name.Personal(settings.Environment) {
		if err := d.username(c); err != nil {
			return err
		}
	}
	return d.account(c)
}

// flags are those whose value is a key's.
func (d *draft) flags(c *cli.Context) error {
	for _, flag := range []struct{ name, key string }{
		{"provider", "settings.provider"},
		{"env", "settings.environment"},
		{"username", "settings.username"},
		{"tenant", "azure.tenant_id"},
		{"location", "azure.location"},
		{"resource-group", "azure.resource_group"},
	} {
		if value := c.String(flag.name); value != "" {
			if problem := d.set(flag.key, value); problem != nil {
				return command.Usage(problem.Hint, "--%s %s", flag.name, problem.Message)
			}
		}
	}
	return nil
}

func (d *draft) set(path, value string) *contracts.Problem {
	keys := config.Keys()
	i := slices.IndexFunc(keys, func(k config.Key) bool { return k.Path == path })
	return keys[i].Set(d.config, contracts.StringValue(value))
}

// ask asks for the value of a key until it can have it. Where nobody can be asked, the
// flag is needed; why says what kept it from being found out.
func (d *draft) ask(c *cli.Context, flag, question, why string, use func(answer string) *contracts.Problem) error {
	if !command.Interactive(c) {
		return command.Usage("mops init --"+flag+" …", "mops init needs --%s: %s", flag, why)
	}
	for range 3 {
		answer, err := command.Ask(c, question)
		if err != nil {
			return err
		}
		problem := use(answer)
		if problem == nil {
			return nil
		}
		command.Warn(c, "it %s; %s", problem.Message, problem.Hint)
	}
	return command.Usage("mops init --"+flag+" …", "mops init needs --%s", flag)
}

// username takes the system's.
func (d *draft) username(c *cli.Context) error {
	env := command.EnvOf(c)
	found := ""
	for _, variable := range []string{"LOGNAME", "USER", "USERNAME"} {
		if found == "" {
			found = env.Getenv(variable)
		}
	}
	if found == "" {
		if current, err := user.Current(); err == nil {
			found = current.Username[strings.LastIndexByte(current.Username, '\\')+1:] // DOMAIN\user
		}
	}
	problem := d.set("settings.username", found)
	if problem == nil {
		return nil
	}
	return d.ask(c, "username", "Username, for names in Azure: ", "the system's username "+problem.Message,
		func(answer string) *contracts.Problem { return d.set("settings.username", answer) })
}

// account finds the subscription, its tenant, and the region.
func (d *draft) account(c *cli.Context) error {
	env, azure := command.EnvOf(c), &d.config.Azure
	given := c.String("subscription")
	isID := given != "" && d.set("azure.subscription_id", given) == nil
	decided := isID || given == "" && azure.SubscriptionID != ""
	located := c.String("location") != "" || d.migrated != nil
	if decided && located {
		return nil
	}
	az, azErr := azcli.Find(env.Getenv, env.Environ)
	if !decided {
		var accounts []azcli.Account
		if azErr == nil {
			accounts, azErr = az.Accounts(c.Context)
		}
		if err := d.subscription(c, given, accounts, azErr); err != nil {
			return err
		}
	}
	if located || az != nil && d.set("azure.location", az.Location(c.Context)) == nil {
		return nil
	}
	if !command.Interactive(c) {
		command.Note(c, "region %s; another one: --location", azure.Location)
		return nil
	}
	return d.ask(c, "location", "Region ["+azure.Location+"]: ", "", func(answer string) *contracts.Problem {
		if answer == "" {
			return nil
		}
		return d.set("azure.location", answer)
	})
}

// subscription chooses among the accounts of az; why says why there are none.
func (d *draft) subscription(c *cli.Context, given string, accounts []azcli.Account, why error) error {
	use := func(answer string) *contracts.Problem { return d.choose(accounts, answer) }
	switch {
	case why != nil && c.Context.Err() != nil:
		return why
	case given != "" && why != nil:
		problem := d.set("azure.subscription_id", given)
		return command.Usage(problem.Hint, "--subscription %s, and its name cannot be looked up: %s", problem.Message, contracts.AsError(why).Message)
	case given != "":
		if problem := use(given); problem != nil {
			return command.Usage(problem.Hint, "--subscription %s", problem.Message)
		}
	case why != nil:
		e := contracts.AsError(why)
		if command.Interactive(c) {
			command.Note(c, "%s (%s)", e.Message, e.Hint)
		}
		return d.ask(c, "subscription", "Subscription ID: ", e.Message+" ("+e.Hint+")", use)
	case len(accounts) > 1 && command.Interactive(c):
		for i, account := range accounts {
			command.Note(c, "%3d  %s  %s", i+1, account.Name, account.ID)
		}
		if err := d.ask(c, "subscription", "Subscription [1]: ", "", use); err != nil {
			return err
		}
	default:
		if problem := use(""); problem != nil {
			return command.Usage(problem.Hint, "the subscription that az answers %s", problem.Message)
		}
		if len(accounts) > 1 {
			command.Note(c, "subscription %s, the default one of %d; another one: --subscription", accounts[0].Name, len(accounts))
		}
	}
	return nil
}

// choose takes the account that an answer names by number, ID or name; the first when it
// names none.
func (d *draft) choose(accounts []azcli.Account, answer string) *contracts.Problem {
	if answer == "" && len(accounts) > 0 {
		answer = accounts[0].ID
	}
	n, _ := strconv.Atoi(answer)
	var found []azcli.Account
	for i, account := range accounts {
		if i+1 == n || strings.EqualFold(account.ID, answer) || account.Name == answer {
			found = append(found, account)
		}
	}
	switch len(found) {
	case 0:
		problem := d.set("azure.subscription_id", answer)
		if problem != nil && len(accounts) > 0 {
			problem.Message, problem.Hint = "is "+contracts.Quote(answer)+", and no subscription of that name can be used", "az account list --output table lists them"
		}
		return problem
	case 1:
		if d.config.Azure.TenantID == "" && found[0].TenantID != "" {
			if problem := d.set("azure.tenant_id", found[0].TenantID); problem != nil {
				return problem
			}
		}
		return d.set("azure.subscription_id", found[0].ID)
	}
	return &contracts.Problem{Message: fmt.Sprintf("is the name of %d subscriptions", len(found)), Hint: "give its ID"}
}
