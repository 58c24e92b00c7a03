package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/local"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

func interruptFlag() cli.Flag {
	return &cli.BoolFlag{Name: "interrupt-jobs", Usage: "stop what jobs need that still run; they can be resumed"}
}

// spareJobs makes sure that whoever stops the local environment, or only its cluster, knows
// which jobs run there.
func (t *target) spareJobs(c *cli.Context, onlyDask bool) error {
	if t.Name() != local.Name || c.Bool("interrupt-jobs") {
		return nil
	}
	running, err := t.runningJobs(c, onlyDask)
	if err != nil || len(running) == 0 {
		return err
	}
	var lines []string
	for _, s := range running {
		lines = append(lines, fmt.Sprintf("%s (%s, %d of %s)", s.ID, s.Executor, s.Tasks.Succeeded+s.Tasks.Failed, contracts.Count(s.Tasks.Total, "task", "tasks")))
	}
	what := fmt.Sprintf("%s in environment %s: %s", contracts.Count(len(running), "job runs", "jobs run"), t.Environment(), strings.Join(lines, ", "))
	if command.Interactive(c) {
		typed, err := command.Ask(c, what+"\nWhat is stopped now interrupts them; \"mops jobs resume\" goes on with them. Type yes to stop it: ")
		if err != nil || strings.EqualFold(typed, "yes") {
			return err
		}
	}
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision, Message: "nothing was stopped: " + what,
		Hint: "wait for them (mops jobs status JOB --wait), cancel them (mops jobs cancel JOB), or interrupt them and resume them later: --interrupt-jobs"}
}

// runningJobs are those of the environment whose driver lives.
func (t *target) runningJobs(c *cli.Context, onlyDask bool) ([]*jobs.Status, error) {
	state, err := t.Status(c.Context)
	if err != nil || state.Outputs == nil || state.Outputs.Storage == nil {
		return nil, err
	}
	store, err := jobs.Storage(state.Outputs, t.files.Home)
	if err != nil {
		return nil, err
	}
	catalog, machine := jobs.Open(store, nil), jobs.LocalIn(t.files.Home)
	list, err := catalog.List(c.Context)
	if err != nil {
		return nil, err
	}
	var running []*jobs.Status
	for _, job := range list {
		if job.Environment != t.Environment() || onlyDask && job.Executor != jobs.Dask {
			continue
		}
		status, err := catalog.Status(c.Context, job, machine.Alive)
		if missing(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if status.Driver != nil && status.Driver.Alive && !status.State.Ended() {
			running = append(running, status)
		}
	}
	return running, nil
}
