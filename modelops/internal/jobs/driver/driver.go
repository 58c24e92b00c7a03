// Package driver drives one job: it hands the tasks that have no result yet to an
// executor, makes what comes back durable, and keeps the job's state.
//
// Results are durable before they are counted, and counted before anybody is told, so
// that killing the driver at any moment loses nothing that was reported. A driver that
// takes the job over reads which results are there and runs the rest.
package driver

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// Driver drives jobs of one catalog.
type Driver struct {
	Catalog  *jobs.Catalog
	Executor jobs.Executor
	Log      *slog.Logger
	Token    string // by which it is known: no two drivers have the same; made when empty
	AtOnce   int    // how many tasks the executor runs at once, for those who ask
	// Inline is how many bytes of outputs of replicates travel with an evaluation; those that
	// are more are in the storage, and the evaluation refers to them. With 0 all travel.
	Inline int
	// Source, if not nil, makes up the tasks while the job runs, in the place of the study's.
	Source Source

	// Start is the number of the transition that this driver was started by, where several
	// are, one after the other, as pods of a cluster: one that finds the job Running goes
	// on where an earlier driver of the same start is lost, once that has stopped, or said
	// nothing for [jobs.Silence]. With 0 a job that is Running is somebody else's.
	Start int
}

// waiter is an executor that may have to wait for what it runs tasks on.
type waiter interface{ Waiting() *jobs.Wait }

// attempt is one go at a job, from its transition to Running to its end.
type attempt struct {
	*Driver
	job     *jobs.Job
	study   *contracts.SimulationStudy
	begun   jobs.Transition
	start   time.Time
	looked  time.Time // when the job was last seen to be this attempt's
	since   time.Time // when the first driver of this start began, from where the job's time limit counts
	results *archive.Archive
	index   *archive.Index
	tally   *tally
	ran     int // simulations that this attempt has results of
	pace    pace

	located *located // of evaluations and of a source; nil without either

	evaluations *tally // of a study with targets
}

// Drive takes the job, which must be submitted, and returns when it has ended. The
// transition is the one that ended it.
//
// When ctx ends, what runs is stopped and the job stays Running, for somebody to resume;
// the error is the context's. When the job was moved on by somebody else, cancelled
// above all, what runs is stopped and their transition is returned.
func (d *Driver) Drive(ctx context.Context, id string) (jobs.Transition, error) {
	var moved *movedError
	a, err := d.begin(ctx, id)
	if errors.As(err, &moved) {
		return moved.to, nil
	}
	if err != nil {
		return jobs.Transition{}, err
	}
	d.Log.Info("job is running", "job", id, "tasks", a.job.Tasks, "bundle", a.job.Bundle.String())
	reason, err := a.run(ctx)
	switch {
	case errors.As(err, &moved):
		d.Log.Info("job was moved on", "state", moved.to.State, "reason", moved.to.Reason)
		if !a.replaced(ctx) {
			a.report(ctx, true)
		}
		return moved.to, nil
	case ctx.Err() != nil:
		d.Log.Warn("driver was told to stop; resume the job to go on")
		a.report(ctx, true)
		return jobs.Transition{}, ctx.Err()
	}
	return a.end(ctx, reason, err)
}

// begin takes the job. It is a [movedError] when a driver of the same start ended it before.
func (d *Driver) begin(ctx context.Context, id string) (*attempt, error) {
	token := cmp.Or(d.Token, rand.Text())
	job, err := d.Catalog.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	status, err := d.turn(ctx, job)
	if err != nil {
		return nil, err
	}
	if d.Start != 0 && status.State.Ended() {
		return nil, &movedError{status.Last}
	}
	a := &attempt{Driver: d, job: job, start: d.Catalog.Now(), results: d.Catalog.Results(job), tally: newTally()}
	a.since = a.start
	to := jobs.Transition{State: jobs.Running, By: jobs.By{Token: token}}
	if status.State == jobs.Running {
		if a.since, err = d.Catalog.Began(ctx, id); err != nil {
			return nil, err
		}
		to.Reason = "taken over from " + contracts.Quote(status.Last.By.Host) + ", which is lost"
	}
	a.looked = d.Catalog.Now()
	a.begun, err = d.Catalog.MoveFrom(ctx, id, status.Last, to)
	return a, err
}

// run plans and executes. reason says in words why it ended early, if it did.
func (a *attempt) run(ctx context.Context) (reason string, err error) {
	if a.study, err = a.Catalog.LoadStudy(ctx, a.job.ID); err != nil {
		return "", err
	}
	if err := a.plan(ctx); err != nil {
		return "", err
	}
	a.report(ctx, false)
	if a.Source != nil {
		return a.execute(ctx)
	}
	counts, _ := a.tally.snapshot()
	if evaluations, _ := a.evaluated(); counts.Pending == 0 && (evaluations == nil || evaluations.Pending == 0) {
		return "", nil
	}
	return a.execute(ctx)
}

// plan finds out which tasks have results already.
func (a *attempt) plan(ctx context.Context) (err error) {
	option := archive.Option{Job: a.job.ID, Only: a.job.Options.NoCache}
	if a.index, err = a.results.Index(ctx, option); err != nil {
		return err
	}
	for _, segment := range a.index.Damaged {
		a.Log.Warn("stored results are damaged; what was in them runs again", "segment", segment)
	}
	if a.Source != nil {
		a.located = &located{index: a.index}
		return ctx.Err()
	}
	for task := range a.job.SimTasks(a.study) {
		key := task.Key(a.job.Content)
		at, known := a.index.Find(key)
		a.tally.plan(key, known, known && at.Job != a.job.ID)
	}
	a.planEvaluations()
	a.index = nil // its work is done, and it is large
	counts, _ := a.tally.snapshot()
	a.Log.Info("planned", "total", counts.Total, "cached", counts.Cached, "done", counts.Succeeded-counts.Cached, "to run", counts.Pending)
	return ctx.Err()
}

// end makes the transition that the counts call for.
func (a *attempt) end(ctx context.Context, reason string, fault error) (jobs.Transition, error) {
	counts, faults := a.tally.snapshot()
	succeeded, failed := counts.Succeeded, counts.Failed
	evaluations, more := a.evaluated()
	if evaluations != nil {
		succeeded, failed = succeeded+evaluations.Succeeded, failed+evaluations.Failed
	}
	to := jobs.Transition{State: jobs.Succeeded, Reason: reason, Evaluations: evaluations, Errors: append(faults, more...)}
	switch {
	case fault != nil:
		e := *contracts.AsError(fault)
		if e.Hint == "" {
			e.Hint = "once that is mended, run the rest: mops jobs resume " + a.job.ID
		}
		to.State = jobs.Failed
		to.Reason = e.Message
		to.Errors = append([]jobs.Faults{{Error: &e}}, to.Errors...)
		if succeeded > 0 && failed > 0 {
			to.State = jobs.Partial
		}
	case failed > 0 && succeeded > 0:
		to.State = jobs.Partial
	case failed > 0:
		to.State = jobs.Failed
	}
	counts = counts.Stopped(to.State)
	to.Tasks = &counts
	if evaluations != nil {
		*evaluations = evaluations.Stopped(to.State)
	}
	a.report(ctx, true)
	var ended jobs.Transition
	err := a.persist(ctx, "end the job", func(ctx context.Context) (err error) {
		ended, err = a.Catalog.MoveFrom(ctx, a.job.ID, a.begun, to)
		return err
	})
	if contracts.Except(err, contracts.CodeConflict) != nil {
		return jobs.Transition{}, err
	}
	if err != nil { // cancelled in the last moment, or given up for lost
		return a.Catalog.Last(context.WithoutCancel(ctx), a.job.ID)
	}
	a.Log.Info("job has ended", "state", ended.State, "succeeded", counts.Succeeded, "failed", counts.Failed, "cancelled", counts.Cancelled,
		"seconds", fmt.Sprintf("%.1f", a.Catalog.Now().Sub(a.start).Seconds()))
	return ended, nil
}

// report tells everybody how the job stands. That it cannot is no reason to stop: what
// counts is the results and the transitions.
func (a *attempt) report(ctx context.Context, stopped bool) {
	p := jobs.Progress{Attempt: a.begun.Number, Token: a.begun.By.Token, Stopped: stopped, AtOnce: a.AtOnce}
	p.Tasks, p.Errors = a.tally.snapshot()
	evaluations, faults := a.evaluated()
	p.Evaluations, p.Errors = evaluations, append(p.Errors, faults...)
	if stopped {
		p.Tasks = p.Tasks.Stopped(jobs.Running)
		if evaluations != nil {
			*evaluations = evaluations.Stopped(jobs.Running)
		}
	}
	if w, can := a.Executor.(waiter); can && !stopped {
		p.Waiting = w.Waiting()
	}
	p.Rate = a.pace.rate(a.Catalog.Now(), a.ran)
	if err := a.Catalog.Report(context.WithoutCancel(ctx), a.job.ID, p); err != nil {
		a.Log.Warn("progress cannot be written", "error", err)
	}
}

// patience is how often a write to the storage is tried, with twice the wait each time:
// about two minutes in all.
const patience = 8

// persist does what must not be lost, and tries again while the storage may recover. It
// goes on when ctx has ended: there is only what is at hand to bring home.
func (a *attempt) persist(ctx context.Context, what string, write func(ctx context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	wait := time.Second / 2
	for try := 1; ; try++ {
		err := write(ctx)
		if err == nil {
			return nil
		}
		switch contracts.AsError(err).Code {
		case contracts.CodeUnavailable, contracts.CodeDiskFull:
		default:
			return err
		}
		if try == patience {
			return err
		}
		a.Log.Warn("storage: cannot "+what+"; trying again", "in", wait, "error", err)
		<-time.After(wait)
		wait *= 2
	}
}
