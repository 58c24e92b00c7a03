package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// State is where a job is.
type State string

// The states. A job is made Pending, is Submitted when a driver is about to be started
// for it, and Running when one has taken it.
const (
	Pending   State = "PENDING"
	Submitted State = "SUBMITTED"
	Running   State = "RUNNING"
	Succeeded State = "SUCCEEDED" // every task
	Partial   State = "PARTIAL"   // at least one task failed, and at least one succeeded
	Failed    State = "FAILED"
	Cancelled State = "CANCELLED"
)

// next are the states that may follow. A job that ended short of success may be
// submitted again: then what is missing runs.
func (s State) next() []State {
	switch s {
	case "":
		return []State{Pending}
	case Pending:
		return []State{Submitted, Failed, Cancelled}
	case Submitted:
		return []State{Submitted, Running, Failed, Cancelled}
	case Running: // Running again: another process of the same start drives it, see [Status.Start]
		return []State{Submitted, Running, Succeeded, Partial, Failed, Cancelled}
	case Partial, Failed, Cancelled:
		return []State{Submitted}
	}
	return nil
}

// Ended says whether nothing happens to the job any more unless somebody asks for it.
func (s State) Ended() bool {
	return slices.Contains([]State{Succeeded, Partial, Failed, Cancelled}, s)
}

// Transition is an object under state/.
type Transition struct {
	State  State  `json:"state"`
	At     string `json:"at"`               // RFC 3339, UTC
	By     By     `json:"by"`               // who made it
	Reason string `json:"reason,omitempty"` // in words, when there is one
	Driver string `json:"driver,omitempty"` // where the driver is started, in a transition to Submitted; "" is [Here]

	// How the job stood, in a transition that ends it.
	Tasks       *Counts  `json:"tasks,omitempty"`
	Evaluations *Counts  `json:"evaluations,omitempty"` // of a study with targets
	Errors      []Faults `json:"errors,omitempty"`

	Number int `json:"-"` // from 1
}

// Submission is a transition to [Submitted]: a driver is about to be started at a place.
func Submission(place, reason string) Transition {
	to := Transition{State: Submitted, Reason: reason}
	if place != Here {
		to.Driver = place
	}
	return to
}

// By is the process that made a transition.
type By struct {
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	Token string `json:"token,omitempty"` // of a driver: no two have the same
}

// Counts are tasks, or evaluations of targets, by what became of them. Total is the sum
// of the five after it; Cached are those of Succeeded whose result an earlier job had
// made. Evaluations whose replicates did not all succeed end as Cancelled.
type Counts struct {
	Total     int `json:"total"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Running   int `json:"running"`
	Pending   int `json:"pending"`
	Cancelled int `json:"cancelled"`
	Cached    int `json:"cached"`
}

// Stopped is the counts of a job that nobody drives any more.
func (c Counts) Stopped(state State) Counts {
	waiting := c.Running + c.Pending
	c.Running, c.Pending = 0, waiting
	if state.Ended() {
		c.Pending, c.Cancelled = 0, c.Cancelled+waiting
	}
	return c
}

// Faults are failures that are alike: the first of them, and how many there are.
type Faults struct {
	Count int              `json:"count"`
	Task  string           `json:"task,omitempty"` // the key of the first one's task
	Error *contracts.Error `json:"error"`
}

func stateKey(id string, n int) string { return "jobs/" + id + "/state/" + number(n) }

// stamp is a time as documents have it: RFC 3339 in UTC, of one width, so that the text
// sorts as the time does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// number is n as keys have it.
func number(n int) string { return fmt.Sprintf("%04d", n) }

// maxObject bounds the small documents of a job.
const maxObject = 64 << 20

// History is the job's transitions, the first one first. It is empty for a job that
// was not made to the end.
func (c *Catalog) History(ctx context.Context, id string) ([]Transition, error) {
	var history []Transition
	for {
		t, err := c.transition(ctx, id, len(history)+1)
		if errors.Is(err, blobstore.ErrNotFound) {
			return history, nil
		}
		if err != nil {
			return nil, err
		}
		history = append(history, t)
	}
}

func (c *Catalog) transition(ctx context.Context, id string, number int) (Transition, error) {
	t := Transition{Number: number}
	err := c.readJSON(ctx, stateKey(id, number), &t)
	return t, err
}

// After is the transition that followed t, or nil while none has.
func (c *Catalog) After(ctx context.Context, id string, t Transition) (*Transition, error) {
	next, err := c.transition(ctx, id, t.Number+1)
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, nil
	}
	return &next, err
}

// Last is the transition that the job is in.
func (c *Catalog) Last(ctx context.Context, id string) (Transition, error) {
	history, err := c.History(ctx, id)
	if err != nil {
		return Transition{}, err
	}
	if len(history) == 0 {
		return Transition{}, &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageSubmit,
			Message: "job " + id + " has no state: it was not submitted to the end", Hint: "remove it: mops jobs rm " + id}
	}
	return history[len(history)-1], nil
}

// Replaced says whether another driver than that with the token was the last to run.
func Replaced(history []Transition, token string) bool {
	for _, t := range slices.Backward(history) {
		if t.State == Running {
			return t.By.Token != token
		}
	}
	return false
}

// Began is when the first driver of the last start began: those that took over from it go
// on with the same start. It is the present for a job that has none.
func (c *Catalog) Began(ctx context.Context, id string) (time.Time, error) {
	history, err := c.History(ctx, id)
	began := c.now()
	for _, t := range slices.Backward(history) {
		if t.State == Submitted {
			break
		}
		if at, parseErr := time.Parse(time.RFC3339, t.At); parseErr == nil && t.State == Running {
			began = at
		}
	}
	return began, err
}

// Move makes a transition from whatever state the job is in, if it may follow; the
// error is a [contracts.Error] with [contracts.CodeConflict] if it may not.
func (c *Catalog) Move(ctx context.Context, id string, to Transition) (Transition, error) {
	for {
		history, err := c.History(ctx, id)
		if err != nil {
			return Transition{}, err
		}
		last := Transition{}
		if len(history) > 0 {
			last = history[len(history)-1]
		}
		moved, err := c.MoveFrom(ctx, id, last, to)
		if !errors.Is(err, errMoved) {
			return moved, err
		}
	}
}

// errMoved is the cause of the error when somebody else's transition came first.
var errMoved = errors.New("the job has moved on")

// MoveFrom makes a transition that directly follows last, which is the zero Transition
// for the first one. When the job has moved on since, the error is a [contracts.Error]
// with [contracts.CodeConflict].
func (c *Catalog) MoveFrom(ctx context.Context, id string, last, to Transition) (Transition, error) {
	if !slices.Contains(last.State.next(), to.State) {
		e := &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
			Message: fmt.Sprintf("job %s is %s and cannot become %s", id, last.State, to.State)}
		if last.State.Ended() {
			e.Hint = "it has ended, and nothing of it runs"
		}
		return Transition{}, e
	}
	to.Number = last.Number + 1
	to.At = stamp(c.now())
	to.By.Host, to.By.PID = c.By.Host, c.By.PID
	data, err := json.Marshal(to)
	if err != nil {
		return Transition{}, err
	}
	err = c.store.Create(ctx, stateKey(id, to.Number), append(data, '\n'))
	if errors.Is(err, blobstore.ErrExists) {
		return Transition{}, (&contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
			Message: fmt.Sprintf("job %s is no longer %s: somebody else changed it", id, last.State)}).Because(errMoved)
	}
	return to, err
}
