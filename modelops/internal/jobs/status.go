package jobs

import (
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
	Waiting     *Waiting            `json:"waiting,omitempty"` // what its driver waits for

	Last Transition `json:"-"`
}

// DriverStatus is what is known of the process that drives the job.
type DriverStatus struct {
	Host      string `json:"host"`
	PID       int    `json:"pid"`
	Alive     bool   `json:"alive"`
	Heartbeat string `json:"heartbeat,omitempty"`
	AtOnce    int    `json:"at_once,omitempty"` // how many tasks it runs at once
}

// Lost says whether the job waits for a driver that is no more.
func (s *Status) Lost() bool { return s.Driver != nil && !s.Driver.Alive && !s.State.Ended() }

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
		s.Driver = c.driver(s.Last, progress, job.ID, live)
	}
	switch {
	case s.State.Ended() || s.Driver == nil || !s.Driver.Alive:
		s.Tasks = s.Tasks.Stopped(s.State)
		if s.Evaluations != nil {
			stopped := s.Evaluations.Stopped(s.State)
			s.Evaluations = &stopped
		}
	case progress.Waiting != nil && progress.Token == s.Last.By.Token:
		s.Waiting = progress.Waiting
	case s.Rate > 0:
		s.SecondsLeft = math.Round(float64(s.Tasks.Running+s.Tasks.Pending) / s.Rate)
	}
	return s, nil
}

// driver judges whether the driver that last is due to lives: on its own machine by the
// lock that it holds, elsewhere by its last word.
func (c *Catalog) driver(last Transition, progress Progress, id string, live Liveness) *DriverStatus {
	d := &DriverStatus{Host: last.By.Host, PID: last.By.PID}
	word := last.At
	if last.State == Running && progress.Token == last.By.Token {
		d.Heartbeat, d.AtOnce = progress.Heartbeat, progress.AtOnce
		word = max(word, progress.Heartbeat)
	}
	at, err := time.Parse(time.RFC3339, word)
	age := c.now().Sub(at)
	if err != nil {
		age = math.MaxInt64
	}
	if live != nil && last.By.Host == c.By.Host && last.By.Host != "" {
		if alive, known := live(id, last.By.Token); known {
			d.Alive = alive || last.State != Running && age < starting
			return d
		}
	}
	d.Alive = age < Silence
	return d
}
