package jobs

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Where the driver runs.
const (
	Here      = "local"      // a process of this machine
	InCluster = "kubernetes" // a pod in the environment's cluster, which starts another one when it is lost
)

// Drivers are those that a cluster runs. See package podjob.
type Drivers interface {
	// Check finds out whether a job's driver could be made.
	Check(ctx context.Context, job *Job) error
	// Start has the cluster drive the job, from its transition with this number.
	Start(ctx context.Context, job *Job, start int) error
	// Look is what the cluster knows of drivers, by the job: of one, or of all for "".
	Look(ctx context.Context, id string) (map[string]Sighting, error)
	// Stop ends a job's driver, with its time of grace, and has no other one come.
	Stop(ctx context.Context, id string) error
	// Log is what a driver's pod wrote; with follow until its end.
	Log(ctx context.Context, pod string, follow bool) (io.ReadCloser, error)
}

// Sighting is what a cluster knows of a job's driver, and the storage cannot: why it has
// not begun, and whether another one comes.
type Sighting struct {
	Phase Phase  `json:"phase"`
	Pod   string `json:"pod,omitempty"`
	Node  string `json:"node,omitempty"`
	Words string `json:"message,omitempty"` // why it is as it is, when there is more to say

	Start   int              `json:"-"` // the number of the transition that the driver was started by; 0 when Absent
	Failure *contracts.Error `json:"-"` // of a driver that is [Broken]
}

// Phase is where a driver in a cluster is.
type Phase string

// The phases.
const (
	Absent    Phase = "absent"    // the cluster has none, and starts none
	Waiting   Phase = "waiting"   // it cannot begin yet
	Up        Phase = "up"        // its pod runs
	Returning Phase = "returning" // its pod was lost, and another one comes
	Completed Phase = "completed" // it did its part
	Broken    Phase = "broken"    // it failed, and no other one comes
	Unknown   Phase = "unknown"   // the cluster does not answer
)

// Over says whether the cluster will do nothing more for the job.
func (p Phase) Over() bool { return p == Absent || p == Completed || p == Broken }

// Unanswered is the sighting of a cluster that could not be asked.
func Unanswered(err error) Sighting {
	return Sighting{Phase: Unknown, Words: "the cluster cannot be asked (" + contracts.AsError(err).Message + "): this is what the driver last wrote"}
}

// See adds to a status what the cluster says. The state stays what the storage has; see
// [Catalog.Settle] for what becomes of it when the cluster has given up. It changes
// nothing for a job that has ended, or whose driver is not in a cluster.
//
// When the sighting is [Phase.Over], the status must have been read after it.
func (s *Status) See(g Sighting, now time.Time) {
	if s.State.Ended() || s.Driver == nil || s.Driver.Place != InCluster {
		return
	}
	if g.Phase != Unknown && g.Start != s.Start.Number { // an earlier start's, whose time is over
		g = Sighting{Phase: Absent}
	}
	if at, err := time.Parse(time.RFC3339, s.Start.At); g.Phase == Absent && err == nil && now.Sub(at) < starting {
		g = Sighting{Phase: Waiting, Words: "its Job is being made"} // or was, since the cluster was asked
	}
	if g.Phase == Absent {
		g.Words = "the cluster has no Job for it"
	}
	s.Cluster = &g
	s.Driver.Expected = false
	switch g.Phase {
	case Unknown: // its own last word is all there is
		s.Driver.Expected = !s.Driver.Alive
	case Up: // one that says nothing may be cut off from the storage, or its node from the cluster
		s.Driver.Expected = !s.Driver.Alive
		if s.State == Running && !s.Driver.Alive && g.Words == "" {
			g.Words = fmt.Sprintf("the cluster takes its pod for running, and it has said nothing for %s", Silence)
		}
	case Waiting, Returning:
		s.Driver.Alive, s.Driver.Expected = false, true
	default:
		s.Driver.Alive = false
	}
	if !s.Driver.Alive {
		s.stop()
	}
}

// Settle ends a job whose driver failed in a cluster, for good, and could not say so
// itself, and says whether it did. The status must have been read after the sighting; when
// the job has moved on since, nothing happens.
func (c *Catalog) Settle(ctx context.Context, s *Status) (bool, error) {
	if s.Cluster == nil || s.Cluster.Phase != Broken || s.State.Ended() {
		return false, nil
	}
	failure := *s.Cluster.Failure
	if failure.Hint == "" {
		failure.Hint = "once that is mended, run the rest: mops jobs resume " + s.ID
	}
	counts := s.Tasks.Stopped(Failed)
	to := Transition{State: Failed, Reason: failure.Message, Tasks: &counts, Errors: append([]Faults{{Error: &failure}}, s.Errors...)}
	if s.Evaluations != nil {
		stopped := s.Evaluations.Stopped(Failed)
		to.Evaluations = &stopped
	}
	_, err := c.MoveFrom(ctx, s.ID, s.Last, to)
	return err == nil, contracts.Except(err, contracts.CodeConflict)
}
