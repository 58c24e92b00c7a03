package cli

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/registration"
)

func targetSetCommand() *cli.Command {
	return &cli.Command{
		Name:  "target-set",
		Usage: "name sets of registered targets, with weights",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list the sets", UsageText: `modelops-bundle target-set list`, Action: runTargetSetList},
			{
				Name: "set", Usage: "make or replace a set; of all targets unless some are named", ArgsUsage: "NAME",
				UsageText: `modelops-bundle target-set set early --target incidence --weight incidence=2`,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "target", Aliases: []string{"t"}, Usage: "take the target `ID`"},
					&cli.StringSliceFlag{Name: "weight", Aliases: []string{"w"}, Usage: "weigh a target, as `ID=NUMBER`"},
				},
				Action: runTargetSetSet,
			},
			{Name: "delete", Usage: "delete a set", ArgsUsage: "NAME", UsageText: `modelops-bundle target-set delete early`, Action: runTargetSetDelete},
		},
	}
}

type targetSetAnswer struct {
	Sets map[string]*registration.Set `json:"target_sets"`
}

func runTargetSetList(c *cli.Context) error {
	return editSets(c, func(*registration.Registry) error { return nil })
}

func runTargetSetDelete(c *cli.Context) error {
	return editSets(c, func(r *registration.Registry) error {
		name := c.Args().First()
		if r.Sets[name] == nil {
			return unknownID("target set", name, slices.Sorted(maps.Keys(r.Sets)))
		}
		delete(r.Sets, name)
		return nil
	})
}

func runTargetSetSet(c *cli.Context) error {
	return editSets(c, func(r *registration.Registry) error {
		known := slices.Sorted(maps.Keys(r.Targets))
		s := &registration.Set{Weights: map[string]float64{}}
		for _, id := range c.StringSlice("target") {
			if r.Targets[id] == nil {
				return unknownID("target", id, known)
			}
			if !slices.Contains(s.Targets, id) {
				s.Targets = append(s.Targets, id)
			}
		}
		if len(s.Targets) == 0 {
			s.Targets = known
		}
		if len(s.Targets) == 0 {
			return unknownID("target", "", known)
		}
		for _, w := range c.StringSlice("weight") {
			id, number, _ := strings.Cut(w, "=")
			value, err := strconv.ParseFloat(number, 64)
			if err != nil || math.IsInf(value, 0) || math.IsNaN(value) || value < 0 {
				return command.Usage("--weight ID=2.5", "%s is no weight", contracts.Quote(w))
			}
			if !slices.Contains(s.Targets, id) {
				return command.Usage("name it with --target", "%s has a weight and is not in the set", contracts.Quote(id))
			}
			s.Weights[id] = value
		}
		r.Sets[c.Args().First()] = s
		return nil
	})
}

func unknownID(what, id string, known []string) error {
	e := &contracts.Error{
		Code: contracts.CodeNotFound, Stage: contracts.StageProject,
		Message: "there is no " + what + " " + contracts.Quote(id), Hint: "there are: " + strings.Join(known, ", "),
	}
	if len(known) == 0 {
		e.Message, e.Hint = "no "+what+" is registered", "run: modelops-bundle register-target FILE"
	}
	return e
}

func editSets(c *cli.Context, edit func(*registration.Registry) error) error {
	l, err := openListing(c, false)
	if err != nil {
		return err
	}
	defer l.root.Close()
	r, err := registration.Read(l.root)
	if err != nil {
		return err
	}
	if err := edit(r); err != nil {
		return err
	}
	if c.Command.Name != "list" {
		if err := writeRegistry(l.project, l, r); err != nil {
			return err
		}
	}
	return command.Print(c, targetSetAnswer{r.Sets}, func(w io.Writer) {
		for _, name := range slices.Sorted(maps.Keys(r.Sets)) {
			fmt.Fprintf(w, "%s: %s\n", name, weighted(r.Sets[name]))
		}
	})
}
