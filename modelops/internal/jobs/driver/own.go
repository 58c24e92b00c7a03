package driver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// A job has one driver: the one that made its last transition to Running. That holds
// between machines without anybody's help but the storage's, whose transitions are created
// once. A driver looks at the job's state all the time and says that it lives; nobody takes
// the job from it before it has been silent for [jobs.Silence]. What it writes, it writes
// within moments of a look: one that was stopped or cut off looks first, and finds that
// another one went on.

const (
	turnTime = time.Second
	// fresh is how long after a look the job still counts as this attempt's; [jobs.Silence]
	// is many times that.
	fresh = 5 * time.Second
)

// turn waits until this driver may take the job, and is how it stands then.
func (d *Driver) turn(ctx context.Context, job *jobs.Job) (*jobs.Status, error) {
	for waits := false; ; waits = true {
		status, err := d.Catalog.Status(ctx, job, nil)
		if err != nil {
			return nil, err
		}
		switch {
		case d.Start != 0 && status.Start.Number != d.Start:
			return nil, &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
				Message: fmt.Sprintf("job %s was started again (%d) since this driver was (%d)", job.ID, status.Start.Number, d.Start)}
		case status.State != jobs.Running || d.Start != 0 && !status.Driver.Alive:
			return status, nil
		case d.Start == 0:
			return nil, &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
				Message: "job " + job.ID + " is being driven by process " + strconv.Itoa(status.Driver.PID) + " on " + contracts.Quote(status.Driver.Host)}
		case !waits:
			d.Log.Info("the job's driver may live; waiting for its end", "driver", status.Driver.Host, "silent", jobs.Silence)
		}
		select {
		case <-time.After(turnTime):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look is a [movedError] when the job has left the state that this attempt put it in.
func (a *attempt) look(ctx context.Context) error {
	next, err := a.Catalog.After(ctx, a.job.ID, a.begun)
	switch {
	case err != nil:
		return err
	case next != nil:
		return &movedError{*next}
	}
	a.looked = a.Catalog.Now()
	return nil
}

// own looks unless that was done a moment ago. The wall clock says when, which goes on
// while a machine sleeps.
func (a *attempt) own(ctx context.Context) error {
	if age := a.Catalog.Now().Round(0).Sub(a.looked.Round(0)); age >= 0 && age < fresh {
		return nil
	}
	return a.look(ctx)
}

// replaced says whether another driver runs the job now: what is said of it is that one's.
func (a *attempt) replaced(ctx context.Context) bool {
	history, err := a.Catalog.History(context.WithoutCancel(ctx), a.job.ID)
	return err == nil && jobs.Replaced(history, a.begun.By.Token)
}

// movedError is the cause of stopping when somebody else moved the job on.
type movedError struct{ to jobs.Transition }

func (m *movedError) Error() string { return "the job became " + string(m.to.State) }
