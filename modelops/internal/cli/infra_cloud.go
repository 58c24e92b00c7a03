package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

// Cloud makes environments in a cloud. A main that links one hands it to [Main].
type Cloud interface {
	// Provider is that of the environment that modelops.yaml in home describes, and what
	// its names are derived from.
	Provider(c *cli.Context, home string) (infra.Provider, name.Choice, error)
	// Engine is what would make it, to be looked at.
	Engine(c *cli.Context, home string, conf *config.Config) (doctor.Engine, error)
	// Drivers are those in a cluster that an environment names. The cluster is not asked.
	Drivers(c *cli.Context, at contracts.ComputeKubernetes) (jobs.Drivers, error)
	// Workspace does what a command of mops workspace says.
	Workspace(c *cli.Context, verb, home string, conf *config.Config, chosen *environment.Chosen) error
}

// linkage is what the main knows, as the app carries it.
type linkage struct {
	cloud Cloud // nil: the program mops-cloud has it
	args  []string
}

const linkageKey = "linkage"

func linkageOf(c *cli.Context) linkage {
	l, _ := c.App.Metadata[linkageKey].(linkage)
	return l
}

// useCloud makes the target an environment in a cloud. Where this program has no cloud,
// the one that has takes its place, with the same command line.
func (t *target) useCloud(c *cli.Context, home string) (err error) {
	l := linkageOf(c)
	if l.cloud == nil {
		return delegate(c, l.args)
	}
	t.names = &ledger{Ledger: name.Ledger{Home: home}}
	t.Provider, t.names.choice, err = l.cloud.Provider(c, home)
	return err
}

// delegate runs mops-cloud in this program's place.
func delegate(c *cli.Context, args []string) error {
	env := command.EnvOf(c)
	path, err := program.Find(env.Getenv, program.Cloud)
	if err != nil {
		return err
	}
	return program.Become(path, args[1:], env.Environ)
}

// ledger keeps the names of one environment; nil keeps none.
type ledger struct {
	name.Ledger
	choice name.Choice
}

// settle records the names, before anything is made of them.
func (l *ledger) settle() error {
	if l == nil {
		return nil
	}
	_, err := l.Settle(l.choice)
	return err
}

// forget frees the names of what is no more.
func (l *ledger) forget(destroyed infra.Destruction, cluster bool) error {
	if l == nil || !destroyed.Any() && !cluster {
		return nil
	}
	return l.Forget(l.choice.Environment, name.Parts{Registry: destroyed.Registry, StorageAccount: destroyed.Storage, Cluster: cluster})
}

// unlocker is a provider whose environment can be left locked.
type unlocker interface {
	Unlock(ctx context.Context) (broken []string, err error)
}

func infraUnlock(c *cli.Context) error {
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	broken := []string{}
	if u, ok := t.Provider.(unlocker); ok {
		locks, err := u.Unlock(c.Context)
		if err != nil {
			return err
		}
		broken = append(broken, locks...)
	}
	document := struct {
		Environment string   `json:"environment"`
		Provider    string   `json:"provider"`
		Broken      []string `json:"broken"`
	}{t.Environment(), t.Name(), broken}
	return command.Print(c, document, func(w io.Writer) {
		for _, lock := range broken {
			fmt.Fprintf(w, "broke the lock of %s\n", lock)
		}
		if len(broken) == 0 {
			fmt.Fprintf(w, "environment %s is not locked\n", t.Environment())
		}
	})
}
