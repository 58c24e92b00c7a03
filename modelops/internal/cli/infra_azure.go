package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// The variables that say where the engine's parts are.
const (
	cliVariable     = "MODELOPS_PULUMI"         // the pulumi program
	pluginsVariable = "MODELOPS_PULUMI_PLUGINS" // a directory with the azure-native plugin
)

// useAzure makes the target the environment on Azure that modelops.yaml describes.
func (t *target) useAzure(c *cli.Context, home string) error {
	file := environment.ConfigPath(home)
	conf, err := config.Load(home)
	if err != nil {
		return err
	}
	if conf == nil {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
			Message: "an environment on Azure needs a configuration, and there is no " + contracts.Quote(file), Hint: "mops init writes it"}
	}
	if err := conf.Require(file, config.Azure); err != nil {
		return err
	}
	t.names = &ledger{Ledger: name.Ledger{Home: home}, choice: conf.Names()}
	names, err := t.names.Look(t.names.choice)
	if err != nil {
		return err
	}
	env := command.EnvOf(c)
	engineConfig := engine.Config{
		Home: home, Environ: env.Environ, CLI: conf.Pulumi.CLI, CLIBy: "pulumi.cli in " + file,
		Backend:  engine.Backend{URL: conf.Pulumi.BackendURL, SecretsProvider: conf.Pulumi.SecretsProvider},
		Progress: newResourceLines(c).show,
		Note:     func(line string) { command.Note(c, "%s", line) },
	}
	if path := env.Getenv(cliVariable); path != "" {
		engineConfig.CLI, engineConfig.CLIBy = env.Path(path), cliVariable
	}
	engineConfig.Kill, _ = engine.KillSignal() // as long as the process
	context.AfterFunc(c.Context, func() {
		command.Note(c, "what was begun is being finished; interrupt again to end at once")
	})
	plugins := env.Getenv(pluginsVariable)
	if plugins != "" {
		plugins = env.Path(plugins)
	}
	t.Provider, err = azure.New(azure.SettingsOf(conf, names), engineConfig, plugins)
	return err
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
func (l *ledger) forget(destroyed infra.Destruction) error {
	if l == nil || !destroyed.Any() {
		return nil
	}
	return l.Forget(l.choice.Environment, name.Parts{Registry: destroyed.Registry, StorageAccount: destroyed.Storage})
}

// unlocker is a provider whose environment can be left locked.
type unlocker interface {
	Unlock(ctx context.Context) ([]engine.Lock, error)
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
		for _, l := range locks {
			broken = append(broken, l.String())
		}
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

// resourceLines show what happens to resources: a line for each that is done, and on a
// terminal below it, what is going on.
type resourceLines struct {
	c       *cli.Context
	live    bool
	running []string
}

func newResourceLines(c *cli.Context) *resourceLines {
	return &resourceLines{c: c, live: command.EnvOf(c).Terminal && !c.Bool("quiet") && c.String("log-format") != "json"}
}

func (p *resourceLines) show(e engine.Event) {
	doing, done, ok := words(e.Op)
	if !ok {
		return
	}
	current := doing + " " + e.Name
	p.clear()
	switch e.Phase {
	case engine.Started:
		p.running = append(p.running, current)
	case engine.Done:
		p.drop(current)
		command.Note(p.c, "%s %s%s%s", done, e.Name, inBrackets(e.Keys), after(e.Duration))
	case engine.Failed:
		p.drop(current)
		command.Note(p.c, "%s failed%s", current, after(e.Duration))
	}
	if p.live && len(p.running) > 0 {
		_, _ = fmt.Fprintf(command.EnvOf(p.c).Stderr, "%s …", strings.Join(p.running, ", "))
	}
}

func (p *resourceLines) clear() {
	if p.live && len(p.running) > 0 {
		_, _ = io.WriteString(command.EnvOf(p.c).Stderr, "\r\x1b[K")
	}
}

func (p *resourceLines) drop(current string) {
	for i, name := range p.running {
		if name == current {
			p.running = append(p.running[:i], p.running[i+1:]...)
			return
		}
	}
}

// words are those for an operation; ok is false for one that changes nothing.
func words(op engine.Op) (doing, done string, ok bool) {
	switch op {
	case engine.Create:
		return "creating", "created", true
	case engine.Update:
		return "updating", "updated", true
	case engine.Delete:
		return "deleting", "deleted", true
	case engine.Replace:
		return "replacing", "replaced", true
	}
	return "", "", false
}

// after is a duration that is worth saying.
func after(d time.Duration) string {
	if d < time.Second {
		return ""
	}
	return " in " + d.Round(time.Second).String()
}
