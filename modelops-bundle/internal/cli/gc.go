package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

func gcCommand() *cli.Command {
	return &cli.Command{
		Name:  "gc",
		Usage: "say which bundles that this project pushed nothing leads to any more, and delete them",
		Description: `A bundle is kept that a tag leads to (a job's tag, too), that another manifest refers to, that
this project last pushed or pulled, or that it pushed within the grace period. What was
pushed from elsewhere is not looked at: a registry does not list what has no tag. The registry
frees the room of what is deleted by its own garbage collection. It cannot be asked and told
in one: a tag that somebody gives to such a bundle while gc --delete runs may be lost. What
lies in the environment's storage stays: other projects may have the same files there.

Beside that, it removes what interrupted pulls left on this machine.`,
		UsageText: "modelops-bundle gc\nmodelops-bundle gc --delete",
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "delete", Usage: "delete it; without this nothing is changed"},
			&cli.DurationFlag{Name: "grace", Value: 7 * 24 * time.Hour, Usage: "keep what is younger than `DURATION`"},
			&cli.BoolFlag{Name: "local", Usage: "look at this machine only"},
		},
		Action: runGC,
	}
}

type gcAnswer struct {
	Repository string             `json:"repository,omitempty"` // absent with --local
	Deleted    bool               `json:"deleted"`              // false: nothing was changed
	Bundles    []gcBundle         `json:"bundles"`
	Leftovers  []project.Leftover `json:"leftovers"`
	Bytes      int64              `json:"bytes"` // of what is deleted, or would be
}

type gcBundle struct {
	bundleoci.Verdict
	Pushed time.Time `json:"pushed"` // from here, the last time
}

func runGC(c *cli.Context) error {
	if c.Duration("grace") < 0 {
		return command.Usage("modelops-bundle gc --grace 24h", "--grace is not negative")
	}
	answer := gcAnswer{Deleted: c.Bool("delete"), Bundles: []gcBundle{}}
	before := time.Now().Add(-c.Duration("grace"))
	p, err := project.Open(command.EnvOf(c).Dir)
	if err != nil {
		return err
	}
	if answer.Leftovers, err = p.Leftovers(before); err != nil {
		return err
	}
	if !c.Bool("local") {
		if err := answer.remote(c, before); err != nil {
			return err
		}
	}
	for _, l := range answer.Leftovers {
		answer.Bytes += l.Bytes
		if answer.Deleted {
			if err := p.Remove(l); err != nil {
				return err
			}
		}
	}
	return command.Print(c, answer, answer.text)
}

// remote judges what the project pushed to the environment's repository.
func (a *gcAnswer) remote(c *cli.Context, before time.Time) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	state, err := s.project.ReadState()
	if err != nil {
		return err
	}
	a.Repository = s.repository.Location.String()
	pushed := state.PushedTo(s.repository.Location)
	known := state.Known(s.repository.Location)
	var old []contracts.Digest
	for d, at := range pushed {
		switch {
		case slices.Contains(known, d):
			a.Bundles = append(a.Bundles, gcBundle{bundleoci.Verdict{Digest: d, Why: "this project last pushed or pulled it"}, at})
		case at.After(before):
			a.Bundles = append(a.Bundles, gcBundle{bundleoci.Verdict{Digest: d, Why: "pushed within the grace period"}, at})
		default:
			old = append(old, d)
		}
	}
	verdicts, err := s.repository.Judge(c.Context, old)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		a.Bundles = append(a.Bundles, gcBundle{v, pushed[v.Digest]})
	}
	slices.SortFunc(a.Bundles, func(x, y gcBundle) int { return x.Pushed.Compare(y.Pushed) })
	return a.carryOut(s, verdicts)
}

// carryOut deletes what is unused, and forgets what is there no more.
func (a *gcAnswer) carryOut(s *session, verdicts []bundleoci.Verdict) error {
	var failure error
	var gone []contracts.Digest
	for _, v := range verdicts {
		if v.Unused {
			a.Bytes += v.Bytes
		}
		if !a.Deleted || failure != nil || !v.Unused && !v.Gone {
			continue
		}
		if v.Unused {
			failure = s.repository.Delete(s.c.Context, v)
		}
		if failure == nil {
			gone = append(gone, v.Digest)
		}
	}
	if len(gone) == 0 {
		return failure
	}
	state, err := s.project.ReadState() // again: a push may have written it meanwhile
	if err != nil {
		return err
	}
	for _, d := range gone {
		state.Forget(s.repository.Location, d)
	}
	return errors.Join(failure, s.project.WriteState(state))
}

func (a *gcAnswer) text(w io.Writer) {
	word := "would delete"
	if a.Deleted {
		word = "deleted"
	}
	doomed := 0
	for _, b := range a.Bundles {
		what := "keep"
		if b.Unused {
			what = word
			doomed++
		}
		if b.Gone {
			what = "gone"
		}
		fmt.Fprintf(w, "%-12s %s  %s: %s\n", what, b.Digest.Short(), b.Pushed.Local().Format(time.DateOnly), b.Why)
	}
	for _, l := range a.Leftovers {
		fmt.Fprintf(w, "%-12s %s: %s\n", word, contracts.Lines(l.Path), l.Why)
	}
	fmt.Fprintf(w, "%s: %s, %s, %s\n", word, contracts.Count(doomed, "bundle", "bundles"), contracts.Count(len(a.Leftovers), "leftover", "leftovers"), size(a.Bytes))
	if !a.Deleted && doomed+len(a.Leftovers) > 0 {
		fmt.Fprintln(w, "nothing was changed; --delete does it")
	}
}
