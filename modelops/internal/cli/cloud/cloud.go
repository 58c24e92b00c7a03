// Package cloud is the part of the command line that links Pulumi and client-go: it makes
// the provider of an environment in a cloud from modelops.yaml, shows what its engine does,
// and reaches the drivers in a cluster. Only the program mops-cloud links it, see
// docs/adr/0007.
package cloud

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/podjob"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// The variables that say where the engine's parts are.
const (
	cliVariable     = "MODELOPS_PULUMI"         // the pulumi program
	pluginsVariable = "MODELOPS_PULUMI_PLUGINS" // a directory with the azure-native plugin
)

// Azure makes environments on Azure.
type Azure struct{}

// Provider is that of the environment which modelops.yaml in home describes, and what its
// names are derived from.
func (Azure) Provider(c *cli.Context, home string) (infra.Provider, name.Choice, error) {
	file := environment.ConfigPath(home)
	conf, err := config.Load(home)
	if err != nil {
		return nil, name.Choice{}, err
	}
	if conf == nil {
		return nil, name.Choice{}, &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
			Message: "an environment on Azure needs a configuration, and there is no " + contracts.Quote(file), Hint: "mops init writes it"}
	}
	if err := conf.Require(file, config.Azure); err != nil {
		return nil, name.Choice{}, err
	}
	choice := conf.Names()
	names, err := name.Ledger{Home: home}.Look(choice)
	if err != nil {
		return nil, name.Choice{}, err
	}
	plugins := command.EnvOf(c).Getenv(pluginsVariable)
	if plugins != "" {
		plugins = command.EnvOf(c).Path(plugins)
	}
	settings := engineConfig(c, home, conf)
	settings.Progress = newResourceLines(c).show
	settings.Note = func(line string) { command.Note(c, "%s", line) }
	settings.Kill, _ = engine.KillSignal() // as long as the process
	context.AfterFunc(c.Context, func() {
		command.Note(c, "what was begun is being finished; interrupt again to end at once")
	})
	provider, err := azure.New(azure.SettingsOf(conf, names), settings, plugins)
	return provider, choice, err
}

// Engine is the engine as the configuration has it, to be looked at.
func (Azure) Engine(c *cli.Context, home string, conf *config.Config) (doctor.Engine, error) {
	return engine.Open(engineConfig(c, home, conf))
}

// Drivers are those in a cluster that an environment names.
func (Azure) Drivers(c *cli.Context, at contracts.ComputeKubernetes) (jobs.Drivers, error) {
	cluster, err := kube.Open(kube.Place{
		Getenv: command.EnvOf(c).Getenv, Context: at.Context, Namespace: at.Namespace,
		Warn: func(line string) { command.Warn(c, "%s", line) },
	})
	if err != nil {
		return nil, err
	}
	return podjob.In(cluster), nil
}

// engineConfig says which engine runs, and where its state is.
func engineConfig(c *cli.Context, home string, conf *config.Config) engine.Config {
	env := command.EnvOf(c)
	e := engine.Config{
		Home: home, Environ: env.Environ, CLI: conf.Pulumi.CLI, CLIBy: "pulumi.cli in " + environment.ConfigPath(home),
		Backend: engine.Backend{URL: conf.Pulumi.BackendURL, SecretsProvider: conf.Pulumi.SecretsProvider},
	}
	if path := env.Getenv(cliVariable); path != "" {
		e.CLI, e.CLIBy = env.Path(path), cliVariable
	}
	return e
}
