package jobs_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// How a job with a driver in a cluster stands, by the storage and by what the cluster says:
// each sighting, in each state.
func TestSee(t *testing.T) {
	broken := jobs.Sighting{Phase: jobs.Broken, Start: 2, Words: "exit code 4", Failure: &contracts.Error{Code: contracts.CodeWorkerStopped, Message: "exit code 4"}}
	for name, tc := range map[string]struct {
		running bool          // else submitted
		silent  time.Duration // since the last word
		g       jobs.Sighting
		phase   jobs.Phase // as it is shown
		alive   bool
		lost    bool
		state   jobs.State // once it is settled
		words   string
	}{
		"waits":               {g: jobs.Sighting{Phase: jobs.Waiting, Start: 2, Words: "no node"}, phase: jobs.Waiting, state: jobs.Submitted, words: "no node"},
		"waits for an hour":   {silent: time.Hour, g: jobs.Sighting{Phase: jobs.Waiting, Start: 2}, phase: jobs.Waiting, state: jobs.Submitted},
		"begins":              {g: jobs.Sighting{Phase: jobs.Up, Start: 2}, phase: jobs.Up, state: jobs.Submitted},
		"was not made":        {silent: time.Hour, g: jobs.Sighting{Phase: jobs.Absent}, phase: jobs.Absent, lost: true, state: jobs.Submitted, words: "no Job"},
		"is being made":       {g: jobs.Sighting{Phase: jobs.Absent}, phase: jobs.Waiting, state: jobs.Submitted, words: "being made"},
		"begins meanwhile":    {running: true, g: jobs.Sighting{Phase: jobs.Broken, Start: 1, Failure: broken.Failure}, phase: jobs.Waiting, state: jobs.Running},
		"of an earlier start": {silent: time.Hour, g: jobs.Sighting{Phase: jobs.Broken, Start: 1, Failure: broken.Failure}, phase: jobs.Absent, lost: true, state: jobs.Submitted},
		"cannot begin":        {g: broken, phase: jobs.Broken, lost: true, state: jobs.Failed, words: "exit code 4"},
		"runs":                {running: true, g: jobs.Sighting{Phase: jobs.Up, Start: 2}, phase: jobs.Up, alive: true, state: jobs.Running},
		"runs and is silent":  {running: true, silent: 2 * jobs.Silence, g: jobs.Sighting{Phase: jobs.Up, Start: 2}, phase: jobs.Up, state: jobs.Running, words: "has said nothing"},
		"evicted":             {running: true, g: jobs.Sighting{Phase: jobs.Returning, Start: 2, Words: "evicted"}, phase: jobs.Returning, state: jobs.Running, words: "evicted"},
		"killed":              {running: true, g: broken, phase: jobs.Broken, lost: true, state: jobs.Failed, words: "exit code 4"},
		"deleted":             {running: true, silent: time.Hour, g: jobs.Sighting{Phase: jobs.Absent}, phase: jobs.Absent, lost: true, state: jobs.Running, words: "no Job"},
		"unanswered":          {running: true, g: jobs.Unanswered(errors.New("timeout")), phase: jobs.Unknown, alive: true, state: jobs.Running, words: "timeout"},
		"unanswered, silent":  {running: true, silent: 2 * jobs.Silence, g: jobs.Unanswered(errors.New("timeout")), phase: jobs.Unknown, state: jobs.Running, words: "last wrote"},
		"unanswered, begins":  {g: jobs.Unanswered(errors.New("timeout")), phase: jobs.Unknown, state: jobs.Submitted},
	} {
		t.Run(name, func(t *testing.T) {
			ahead := time.Duration(0)
			c := open(t, func() time.Time { return time.Now().Add(ahead) })
			job := create(t, c, "job-00000001")
			if _, err := c.Move(t.Context(), job.ID, jobs.Submission(jobs.InCluster, "")); err != nil {
				t.Fatal(err)
			}
			if tc.running {
				if _, err := c.Move(t.Context(), job.ID, jobs.Transition{State: jobs.Running, By: jobs.By{Token: "t"}}); err != nil {
					t.Fatal(err)
				}
				if err := c.Report(t.Context(), job.ID, jobs.Progress{Attempt: 3, Token: "t", Tasks: jobs.Counts{Total: 3, Succeeded: 1, Running: 1, Pending: 1}}); err != nil {
					t.Fatal(err)
				}
			}
			ahead = tc.silent
			s, err := c.Status(t.Context(), job, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.See(tc.g, c.Now())
			if s.Cluster == nil || s.Cluster.Phase != tc.phase || s.Driver.Alive != tc.alive || s.Lost() != tc.lost {
				t.Errorf("status = %+v, driver %+v, want %s, alive %v, lost %v", s.Cluster, s.Driver, tc.phase, tc.alive, tc.lost)
			}
			if !strings.Contains(s.Cluster.Words, tc.words) {
				t.Errorf("%q does not say %q", s.Cluster.Words, tc.words)
			}
			if !tc.alive && s.Tasks.Running != 0 {
				t.Errorf("tasks run without a driver: %+v", s.Tasks)
			}
			settled, err := c.Settle(t.Context(), s)
			if err != nil || settled != (tc.state == jobs.Failed) {
				t.Errorf("settled = %v, %v", settled, err)
			}
			after, err := c.Status(t.Context(), job, nil)
			if err != nil || after.State != tc.state {
				t.Errorf("state = %s, %v; want %s", after.State, err, tc.state)
			}
			if settled && (len(after.Errors) != 1 || after.Errors[0].Error.Hint == "" || after.Tasks.Cancelled+after.Tasks.Succeeded != 3) {
				t.Errorf("what ended it: %+v, %+v", after.Errors, after.Tasks)
			}
		})
	}
}

// A reader that is late settles nothing: the job was resumed since it looked.
func TestSettleLate(t *testing.T) {
	c := open(t, nil)
	job := create(t, c, "job-00000001")
	if _, err := c.Move(t.Context(), job.ID, jobs.Submission(jobs.InCluster, "")); err != nil {
		t.Fatal(err)
	}
	s, err := c.Status(t.Context(), job, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.See(jobs.Sighting{Phase: jobs.Broken, Start: 2, Failure: &contracts.Error{Code: contracts.CodeWorkerStopped, Message: "it failed"}}, c.Now())
	if _, err := c.Move(t.Context(), job.ID, jobs.Submission(jobs.InCluster, "resumed")); err != nil {
		t.Fatal(err)
	}
	if settled, err := c.Settle(t.Context(), s); settled || err != nil {
		t.Errorf("settled = %v, %v; want neither", settled, err)
	}
	if last, err := c.Last(t.Context(), job.ID); err != nil || last.State != jobs.Submitted || last.Driver != jobs.InCluster {
		t.Errorf("last = %+v, %v", last, err)
	}
}

// A driver in a cluster that said it stopped does not live, however short ago that was.
func TestStoppedDriver(t *testing.T) {
	c := open(t, nil)
	job := create(t, c, "job-00000001")
	for _, to := range []jobs.Transition{jobs.Submission(jobs.InCluster, ""), {State: jobs.Running, By: jobs.By{Token: "t"}}} {
		if _, err := c.Move(t.Context(), job.ID, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, stopped := range []bool{false, true} {
		if err := c.Report(t.Context(), job.ID, jobs.Progress{Attempt: 3, Token: "t", Stopped: stopped}); err != nil {
			t.Fatal(err)
		}
		s, err := c.Status(t.Context(), job, nil)
		if err != nil || s.Driver.Alive == stopped || s.Lost() || s.Driver.Place != jobs.InCluster {
			t.Errorf("stopped %v: driver = %+v, %v", stopped, s.Driver, err)
		}
	}
}
