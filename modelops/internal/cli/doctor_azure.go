package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azcli"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// checkProvider checks modelops.yaml, and what its provider needs.
func checkProvider(c *cli.Context) []doctor.Check {
	check := doctor.Check{Name: "configuration"}
	home, err := homeOf(c)
	if err != nil {
		return []doctor.Check{check.FailedWith(err)}
	}
	check.Looked = environment.ConfigPath(home)
	found, err := config.Load(home)
	asked := c.String("provider") == config.Azure
	switch {
	case err != nil:
		check = check.FailedWith(err)
	case found == nil && asked:
		check = check.Skipped("there is none: mops init writes it")
	case found == nil:
		return []doctor.Check{check.OK("there is none, and environments are made on this machine")}
	case c.String("provider") == config.Local || !asked && found.Settings.Provider != config.Azure:
		return []doctor.Check{check.OK("environments are made on this machine")}
	}
	azure := doctor.Azure{Getenv: command.EnvOf(c).Getenv}
	if err == nil && found != nil {
		check = useConfiguration(check, home, found, &azure)
	}
	env := command.EnvOf(c)
	if az, err := azcli.Find(env.Getenv, env.Environ); err != nil {
		azure.Absent = err
	} else {
		azure.AZ = az.Within(c.Duration("timeout"))
	}
	checks := append([]doctor.Check{check}, azure.Checks(c.Context)...)
	return append(checks, checkPulumi(c, home, azure.Config)...)
}

// checkPulumi checks the engine as the configuration has it, nil for none.
func checkPulumi(c *cli.Context, home string, found *config.Config) []doctor.Check {
	if found == nil {
		found = config.Default()
	}
	check := doctor.Check{Name: "pulumi", Looked: environment.ConfigPath(home)}
	cloud := linkageOf(c).cloud
	if cloud == nil {
		return []doctor.Check{check.Skipped("only mops-cloud, which lies beside mops, knows it; and only when the configuration is right")}
	}
	e, err := cloud.Engine(c, home, found)
	if err != nil {
		return []doctor.Check{check.FailedWith(err)}
	}
	return doctor.Pulumi(c.Context, e)
}

// aboutCloud says whether the environment in question is in a cloud.
func aboutCloud(c *cli.Context) bool {
	if asked := c.String("provider"); asked != "" {
		return asked == config.Azure
	}
	home, err := homeOf(c)
	if err != nil {
		return false
	}
	found, err := config.Load(home)
	return err == nil && found != nil && found.Settings.Provider == config.Azure
}

// useConfiguration takes over what a configuration says, if it is enough for Azure.
func useConfiguration(check doctor.Check, home string, found *config.Config, azure *doctor.Azure) doctor.Check {
	if err := found.Require(check.Looked, config.Azure); err != nil {
		return check.FailedWith(err)
	}
	names, err := (name.Ledger{Home: home}).Look(found.Names())
	if err != nil {
		return check.FailedWith(err)
	}
	azure.Config, azure.Names = found, names
	return check.OK("environment %s on Azure, in %s", found.Settings.Environment, found.Azure.Location)
}
