package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
)

func infraDown(c *cli.Context) error {
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	destroy := infra.Destruction{Registry: c.Bool("destroy-registry"), Storage: c.Bool("destroy-storage")}
	changes, err := t.PreviewDown(c.Context, destroy)
	if err != nil {
		return err // before the file says that it was done
	}
	if c.Bool("dry-run") {
		return t.foresee(c, changes)
	}
	cluster := t.doomed(changes)
	if err := t.confirm(c, destroy, cluster); err != nil {
		return err
	}
	if err := t.spareJobs(c, false); err != nil {
		return err
	}
	file, err := t.disown(c, destroy, cluster)
	if err != nil {
		return err
	}
	state, err := t.Down(c.Context, destroy)
	if err != nil {
		return t.failed(c, state, err)
	}
	if err := errors.Join(t.names.forget(destroy, cluster != ""), t.remember(state)); err != nil {
		return err
	}
	switch {
	case destroy.Registry:
		state.Outputs = nil
		return t.answer(c, state, file)
	case destroy.Storage && state.Outputs != nil:
		return t.publish(c, state)
	}
	if file, err = t.files.State(t.Environment(), state.Outputs); err != nil {
		return err
	}
	return t.answer(c, state, file)
}

// disown takes what is to be removed out of the environment file before it is: it never
// names what is no more.
func (t *target) disown(c *cli.Context, destroy infra.Destruction, cluster string) (infra.FileState, error) {
	if cluster != "" && !destroy.Registry {
		before, err := t.Status(c.Context)
		if err != nil {
			return "", err
		}
		return "", t.withoutWorkspace(c, before)
	}
	if !destroy.Registry {
		return "", nil
	}
	retired, err := t.files.Retire(t.Environment())
	if err != nil {
		return "", err
	}
	if !retired {
		command.Warn(c, "%s was written or changed by somebody else, and stays", t.store.Path(t.Environment()))
		return infra.Foreign, nil
	}
	return infra.Destroyed, nil
}

// confirm makes sure that whoever destroys data, or a cluster, knows whose.
func (t *target) confirm(c *cli.Context, destroy infra.Destruction, cluster string) error {
	name, typed := t.Environment(), c.String("confirm")
	if !destroy.Any() && cluster == "" {
		if typed != "" {
			return command.Usage("", "--confirm goes with --destroy-registry or --destroy-storage, or with a cluster")
		}
		return nil
	}
	var what []string
	if cluster != "" {
		what = append(what, cluster)
	}
	if destroy.Registry {
		what = append(what, "every bundle in its registry")
	}
	if destroy.Storage {
		what = append(what, "every job and result in its storage")
	}
	if typed == "" && command.Interactive(c) {
		var err error
		question := fmt.Sprintf("This removes %s, for good. Type the environment's name (%s) to go on: ", strings.Join(what, ", and "), name)
		if typed, err = command.Ask(c, question); err != nil {
			return err
		}
	}
	if typed == "" {
		again := slices.DeleteFunc([]string{"mops infra down", flagIf(destroy.Registry, "--destroy-registry"), flagIf(destroy.Storage, "--destroy-storage"), "--confirm " + name},
			func(s string) bool { return s == "" })
		return command.Usage(strings.Join(again, " "), "removing %s needs the environment's name", strings.Join(what, ", and "))
	}
	if typed != name {
		return command.Usage("--confirm "+name, "nothing was removed: the environment is %s, not %s", name, contracts.Quote(typed))
	}
	return nil
}

func inBrackets(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

func flagIf(given bool, flag string) string {
	if given {
		return flag
	}
	return ""
}
