package jobs

import (
	"cmp"
	"context"
	"math"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Status is how a job stands, as mops jobs status shows it.
type Status struct {
	ID          string              `json:"job_id"`
	State       State               `json:"state"`
	Tasks       Counts              `json:"tasks"`
	Evaluations *Counts             `json:"evaluations,omitempty"` // of a study with targets
	Errors      []Faults            `json:"errors"`
	Reason      string              `json:"reason,omitempty"`
	Bundle      contracts.BundleRef `json:"bundle"`
	Environment string              `json:"environment"`
	Executor    string              `json:"executor"`
	Created     string              `json:"created"`
	Started     string              `json:"started,omitempty"`  // of the last attempt
	Finished    string              `json:"finished,omitempty"` // when it ended
	Rate        float64             `json:"rate,omitempty"`     // tasks run per second
	SecondsLeft float64             `json:"seconds_left,omitempty"`
	Driver      *DriverStatus       `json:"driver,omitempty"`
	Waiting     *Wait               `json:"waiting,omitempty"` // what its driver waits for
	Cluster     *Sighting           `json:"cluster,omitempty"` // of a driver in a cluster that was asked

	Last  Transition `json:"-"`
	Start Transition `json:"-"` // the last to Submitted: a driver that is lost in a cluster may have successors, all of this start
}

// DriverStatus is what is known of the process that drives the job.
type DriverStatus struct {
	Place     string `json:"place"` // [Here] or [InCluster]
	Host      string `json:"host"`
	PID       int    `json:"pid"`
	Alive     bool   `json:"alive"`
	Expected  bool   `json:"expected,omitempty"` // it is not alive, and a cluster starts it, or its successor
	Heartbeat string `json:"heartbeat,omitempty"`
	AtOnce    int    `json:"at_once,omitempty"` // how many tasks it runs at once
}

// Lost says whether the job waits for a driver that is no more.
func (s *Status) Lost() bool {
	return s.Driver != nil && !s.Driver.Alive && !s.Driver.Expected && !s.State.Ended()
}

// Liveness says of a driver on this machine whether it lives: of the one with this token,
// or of any when that is "". known is false for one elsewhere.
type Liveness func(id, token string) (alive, known bool)

const (
	// starting is how long a driver may take from its start to its first word.
	starting = 15 * time.Second
	// Silence is how long a driver on another machine may say nothing before it is
	// taken for lost. It reports every few seconds.
	Silence = time.Minute
)

// Status reads how the job stands. live asks this machine about the driver; it may be
// nil.
func (c *Catalog) Status(ctx context.Context, job *Job, live Liveness) (*Status, error) {
	// Progress first: what is read later can only be newer.
	progress, err := c.Progress(ctx, job.ID)
	if err != nil {
		return nil, err
	}
	history, err := c.History(ctx, job.ID)
	if err != nil {
		return nil, err
	}
	s := &Status{ID: job.ID, State: Pending, Errors: []Faults{}, Bundle: job.Bundle, Environment: job.Environment, Executor: job.Executor, Created: job.Created}
	for _, t := range history {
		s.Last, s.State, s.Finished = t, t.State, ""
		switch {
		case t.State == Submitted:
			s.Start = t
		case t.State == Running:
			s.Started = t.At
		case t.State.Ended():
			s.Finished = t.At
		}
	}
	s.Reason = s.Last.Reason
	s.Tasks = Counts{Total: job.Tasks, Pending: job.Tasks}
	if job.Evaluations > 0 {
		s.Evaluations = &Counts{Total: job.Evaluations, Pending: job.Evaluations}
	}
	if progress.Attempt > 0 {
		s.Tasks, s.Evaluations, s.Rate = progress.Tasks, progress.Evaluations, progress.Rate
		s.Errors = append(s.Errors, progress.Errors...)
	}
	if s.Last.Tasks != nil {
		s.Tasks, s.Evaluations, s.Errors = *s.Last.Tasks, s.Last.Evaluations, append([]Faults{}, s.Last.Errors...)
	}
	if len(history) > 0 && !s.State.Ended() {
		s.Driver = c.driver(s, progress, live)
	}
	switch {
	case s.State.Ended() || s.Driver == nil || !s.Driver.Alive:
		s.stop()
	case progress.Waiting != nil && progress.Token == s.Last.By.Token:
		s.Waiting = progress.Waiting
	case s.Rate > 0:
		s.SecondsLeft = math.Round(float64(s.Tasks.Running+s.Tasks.Pending) / s.Rate)
	}
	return s, nil
}

// stop makes the counts those of a job that nobody drives.
func (s *Status) stop() {
	s.Tasks, s.SecondsLeft = s.Tasks.Stopped(s.State), 0
	if s.Evaluations != nil {
		stopped := s.Evaluations.Stopped(s.State)
		s.Evaluations = &stopped
	}
}

// driver judges whether the driver that the last transition is due to lives: on its own
// machine by the lock that it holds, elsewhere by its last word. One in a cluster that
// does not live is expected, for as long as nobody has asked the cluster.
func (c *Catalog) driver(s *Status, progress Progress, live Liveness) *DriverStatus {
	last := s.Last
	d := &DriverStatus{Place: cmp.Or(s.Start.Driver, Here), Host: last.By.Host, PID: last.By.PID}
	word, stopped := last.At, false
	if last.State == Running && progress.Token == last.By.Token {
		d.Heartbeat, d.AtOnce, stopped = progress.Heartbeat, progress.AtOnce, progress.Stopped
		word = max(word, progress.Heartbeat)
	}
	at, err := time.Parse(time.RFC3339, word)
	age := c.now().Sub(at)
	if err != nil {
		age = math.MaxInt64
	}
	if d.Place == InCluster {
		d.Alive = last.State == Running && !stopped && age < Silence
		d.Expected = !d.Alive
		return d
	}
	if live != nil && last.By.Host == c.By.Host && last.By.Host != "" {
		if alive, known := live(s.ID, last.By.Token); known {
			d.Alive = alive || last.State != Running && age < starting
			return d
		}
	}
	d.Alive = age < Silence && !stopped
	return d
}
