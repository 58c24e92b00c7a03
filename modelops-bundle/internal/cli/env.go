package cli

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

func envCommand() *cli.Command {
	return &cli.Command{
		Name:  "env",
		Usage: "show or switch the environment that the project is pinned to",
		Subcommands: []*cli.Command{
			{
				Name:      "show",
				Usage:     "show the environment in force, and what decided",
				UsageText: `modelops-bundle env show`,
				Flags:     []cli.Flag{envFlag()},
				Action:    runEnvShow,
			},
			{
				Name:      "switch",
				Usage:     "pin the project to another environment",
				ArgsUsage: "NAME",
				Description: `The project keeps its name; registry_ref and storage in config.yaml, which are a record,
are rewritten.`,
				UsageText: `modelops-bundle env switch prod`,
				Action:    runEnvSwitch,
			},
		},
	}
}

type envAnswer struct {
	Environment string `json:"environment"`
	Pinned      string `json:"pinned"`
	Project     string `json:"project"`
	RegistryRef string `json:"registry_ref"`
}

func runEnvShow(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	answer := envAnswer{s.env.Environment, s.project.Pin, s.repository.Name, s.repository.Location.String()}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s\n", answer.Environment, answer.RegistryRef)
	})
}

func runEnvSwitch(c *cli.Context) error {
	env := command.EnvOf(c)
	p, err := project.Open(env.Dir)
	if err != nil {
		return err
	}
	name := contracts.NormalizeEnvironmentName(c.Args().First())
	if err := contracts.ValidateEnvironmentName(name); err != nil {
		return err
	}
	home, err := environment.Home(env.Getenv)
	if err != nil {
		return err
	}
	loaded, err := environment.Open(home).Load(name)
	if err != nil {
		return err
	}
	before := p.Pin
	if p.Config.Project == "" && before != "" { // the Python suite's: its name follows from the old environment
		if err := nameFromOld(p, environment.Open(home)); err != nil {
			return err
		}
	}
	if err := p.Switch(loaded.Env); err != nil {
		return err
	}
	answer := envAnswer{name, name, p.Config.Project, p.Config.RegistryRef}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "project %s is pinned to %s: %s\n", answer.Project, name, answer.RegistryRef)
	})
}

func nameFromOld(p *project.Project, store environment.Store) error {
	old, err := store.Load(p.Pin)
	if err != nil {
		return err
	}
	p.Config.Project, err = p.Repository(old.Env)
	return err
}
