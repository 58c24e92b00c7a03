package cli

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/local"
)

func infraCommand() *cli.Command {
	provider := &cli.StringFlag{Name: "provider", Usage: "`WHERE` the environment is: local or azure"}
	force := &cli.BoolFlag{Name: "force", Usage: "replace an environment file that somebody else wrote or changed"}
	return &cli.Command{
		Name:  "infra",
		Usage: "make, show and remove what an environment stands on",
		Subcommands: []*cli.Command{
			{
				Name: "up", Usage: "make the registry and the storage, and write the environment file", UsageText: "mops infra up\nmops infra up --with-dask --workers 4",
				Description: "Without configuration it makes the environment local on this machine: an OCI registry\n" +
					"that listens on the loopback, and a directory as storage. It is found again, with its\n" +
					"data, by another \"mops infra up\" after a restart. With provider azure it makes what\n" +
					"modelops.yaml says in Azure, changes what differs, and goes on where an earlier run\n" +
					"ended; it never deletes or replaces what holds data.",
				Flags: append([]cli.Flag{provider, force}, daskFlags()...), Action: infraUp,
			},
			kubeconfigCommand(provider), tokenCommand(),
			{Name: "preview", Usage: "say what up would do", UsageText: "mops infra preview", Flags: []cli.Flag{provider}, Action: infraPreview},
			{Name: "status", Usage: "say what there is, and whether it runs", UsageText: "mops infra status", Flags: []cli.Flag{provider}, Action: infraStatus},
			{
				Name: "outputs", Usage: "print what the environment file is made from", UsageText: "mops infra outputs --show-secrets",
				Flags: []cli.Flag{provider, showSecretsFlag()}, Action: infraOutputs,
			},
			{
				Name: "refresh", Usage: "look at what there is, and make the environment file say it", UsageText: "mops infra refresh",
				Flags: []cli.Flag{provider, force}, Action: infraRefresh,
			},
			{
				Name: "down", Usage: "stop what runs; data stays unless it is told to go", UsageText: "mops infra down\nmops infra down --destroy-registry --confirm local",
				Description: "A cluster in Azure costs by the hour, and is removed with what runs on it, once the\n" +
					"environment's name is typed.",
				Flags: []cli.Flag{
					provider, force, interruptFlag(),
					&cli.BoolFlag{Name: "dry-run", Usage: "say what would be stopped and deleted, and do nothing"},
					&cli.BoolFlag{Name: "destroy-registry", Usage: "remove the registry's data: every bundle in it"},
					&cli.BoolFlag{Name: "destroy-storage", Usage: "remove the storage's data: jobs and results"},
					&cli.StringFlag{Name: "confirm", Usage: "the environment's `NAME`, where nobody can be asked for it"},
				},
				Action: infraDown,
			},
			{
				Name: "unlock", Usage: "free an environment whose update was killed", UsageText: "mops infra unlock",
				Description: "The lock of an update that still runs on this machine is not broken.",
				Flags:       []cli.Flag{provider}, Action: infraUnlock,
			},
		},
	}
}

// infraAnswer is the document of the commands that look at or change infrastructure.
type infraAnswer struct {
	Environment string                   `json:"environment"`
	Provider    string                   `json:"provider"`
	EnvFile     string                   `json:"env_file"`
	FileState   infra.FileState          `json:"env_file_state"`
	Registry    *contracts.Registry      `json:"registry"` // null when there is none
	Storage     *contracts.Storage       `json:"storage"`
	Compute     *contracts.Compute       `json:"compute,omitempty"`
	Cluster     *infra.KubernetesCluster `json:"cluster,omitempty"`
	Components  []infra.Component        `json:"components"`
}

// target is the provider that a command works on, and the environment files.
type target struct {
	infra.Provider
	files   infra.Files
	store   environment.Store
	unasked bool    // nobody named the provider
	names   *ledger // of what is made in a cloud; nil on this machine
}

// chooseProvider is the one that --provider or modelops.yaml names; local when neither
// says anything.
func chooseProvider(c *cli.Context) (*target, error) {
	home, err := homeOf(c)
	if err != nil {
		return nil, err
	}
	name, by := c.String("provider"), "--provider"
	if name == "" {
		file, err := config.Load(home)
		if err != nil {
			return nil, err
		}
		if file != nil {
			name, by = file.Settings.Provider, environment.ConfigPath(home)
		}
	}
	t := &target{files: infra.Files{Home: home, Now: time.Now}, store: environment.Open(home), unasked: name == ""}
	switch name {
	case "", local.Name:
		launch, err := localLaunch(c)
		if err != nil {
			return nil, err
		}
		t.Provider = local.New(home, launch)
		return t, nil
	case config.Azure:
		return t, t.useCloud(c, home)
	}
	return nil, command.Usage("mops infra up --provider local", "provider %s (by %s) is neither local nor azure", contracts.Quote(name), by)
}

func infraUp(c *cli.Context) error {
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	if err := useDask(c, t); err != nil {
		return err
	}
	if t.unasked {
		command.Note(c, "this is the local environment, on this machine only; one on Azure: mops infra up --provider azure")
	}
	if c.IsSet("with-dask") && !c.Bool("with-dask") {
		if err := t.spareJobs(c, true); err != nil {
			return err
		}
	}
	before, err := t.Status(c.Context)
	if err != nil {
		return err
	}
	if err := t.files.Check(t.Environment(), before.Outputs); err != nil && !(c.Bool("force") && contracts.AsError(err).Code == contracts.CodeConflict) {
		return err
	}
	if err := t.names.settle(); err != nil {
		return err
	}
	state, err := t.Up(c.Context)
	if err != nil {
		return t.failed(c, state, err)
	}
	if was, is := before.Outputs, state.Outputs; t.Name() == local.Name && was != nil && is != nil && was.Registry.LoginServer != is.Registry.LoginServer {
		command.Warn(c, "the registry is now at %s: another program has the port of %s", is.Registry.LoginServer, was.Registry.LoginServer)
	}
	if err := t.publish(c, state); err != nil {
		return err
	}
	command.Note(c, "next: modelops-bundle init my-model")
	return nil
}

func infraRefresh(c *cli.Context) error {
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	state, err := t.Refresh(c.Context)
	if err != nil {
		return t.failed(c, state, err)
	}
	if state.Outputs == nil {
		return t.nothing(state)
	}
	return t.publish(c, state)
}

// failed makes the environment file true after an operation that failed in the middle,
// when it is known what there is. Else the file stays, and the error says so.
func (t *target) failed(c *cli.Context, state *infra.State, err error) error {
	if state == nil {
		return err
	}
	t.note(c, state)
	if recordErr := t.remember(state); recordErr != nil {
		command.Warn(c, "%s", recordErr.Error())
	}
	if state.Outputs != nil {
		file, fileErr := t.files.Publish(state.Outputs, c.Bool("force"))
		if fileErr == nil {
			if file == infra.Written {
				command.Note(c, "%s says what there is", t.store.Path(t.Environment()))
			}
			return err
		}
		command.Warn(c, "%s", fileErr.Error())
	}
	if !state.Changed {
		return err
	}
	e := *contracts.AsError(err)
	e.Message += "; infrastructure changed, and the environment file did not"
	return e.Because(err)
}

// note says what a state's user should know.
func (t *target) note(c *cli.Context, state *infra.State) {
	for _, line := range state.Notes {
		command.Note(c, "%s", line)
	}
	if state.Unread != nil {
		command.Note(c, "%s", state.Unread.Error())
	}
}

// publish makes the environment file say what there is, and answers with it.
func (t *target) publish(c *cli.Context, state *infra.State) error {
	if state.Unread != nil {
		return state.Unread
	}
	if state.Outputs == nil {
		return &contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageProvision, Message: "the provider made no registry"}
	}
	if err := t.remember(state); err != nil {
		return err
	}
	file, err := t.files.Publish(state.Outputs, c.Bool("force"))
	if err != nil {
		return unpublished(err)
	}
	return t.answer(c, state, file)
}

// unpublished says what to do about an environment file that could not be written.
func unpublished(err error) error {
	e := *contracts.AsError(err)
	if e.Hint == "" {
		e.Hint = "what it is to say is there: mops infra outputs prints it, and mops infra refresh writes it when that can be done"
	}
	return e.Because(err)
}

// nothing is the error for an environment that was never made, or not to its end.
func (t *target) nothing(state *infra.State) error {
	if state.Unread != nil {
		return state.Unread
	}
	return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
		Message: "there is no " + t.Name() + " environment", Hint: "mops infra up makes it"}
}

// answer prints the state.
func (t *target) answer(c *cli.Context, state *infra.State, file infra.FileState) error {
	t.note(c, state)
	a := infraAnswer{
		Environment: t.Environment(), Provider: t.Name(), EnvFile: t.store.Path(t.Environment()), FileState: file,
		Cluster: state.Cluster, Components: state.Components,
	}
	if state.Outputs != nil {
		a.Registry, a.Storage, a.Compute = &state.Outputs.Registry, state.Outputs.Storage, state.Outputs.Compute
	}
	return command.Print(c, a, func(w io.Writer) {
		fmt.Fprintf(w, "environment %s: %s (%s)\n", a.Environment, a.EnvFile, a.FileState)
		rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, component := range a.Components {
			where := ""
			switch {
			case component.Name == infra.Registry && a.Registry != nil:
				where = a.Registry.LoginServer
			case component.Name == infra.Compute && a.Compute != nil:
				where = a.Compute.Scheduler + "  " + a.Compute.Dashboard
			}
			fmt.Fprintf(rows, "%s\t%s\t%s\t%s\n", component.Name, component.Phase, where, component.Place)
		}
		_ = rows.Flush() // into memory
	})
}

func infraStatus(c *cli.Context) error {
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	state, err := t.Status(c.Context)
	if err != nil {
		return err
	}
	file, err := t.files.State(t.Environment(), state.Outputs)
	if err != nil {
		return err
	}
	return t.answer(c, state, file)
}

func infraPreview(c *cli.Context) error {
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	changes, err := t.Preview(c.Context)
	if err != nil {
		return err
	}
	return t.foresee(c, changes)
}

// foresee prints what would be done.
func (t *target) foresee(c *cli.Context, changes []infra.Change) error {
	document := struct {
		Environment string         `json:"environment"`
		Provider    string         `json:"provider"`
		EnvFile     string         `json:"env_file"`
		Changes     []infra.Change `json:"changes"`
	}{t.Environment(), t.Name(), t.store.Path(t.Environment()), changes}
	return command.Print(c, document, func(w io.Writer) {
		for _, change := range changes {
			fmt.Fprintf(w, "%-6s  %s  %s%s\n", change.Action, cmp.Or(change.Resource, change.Component), change.Place, inBrackets(change.Properties))
		}
	})
}

func infraOutputs(c *cli.Context) error {
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	state, err := t.Status(c.Context)
	if err != nil {
		return err
	}
	if state.Outputs == nil {
		return t.nothing(state)
	}
	return printEnvironment(c, state.Outputs)
}
