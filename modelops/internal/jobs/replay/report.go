package replay

import (
	"fmt"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Report is what a replay found.
type Report struct {
	JobID     string `json:"job_id"`
	Task      string `json:"task"`
	Set       int    `json:"set"`
	Replicate int    `json:"replicate"`
	Seed      uint64 `json:"seed"`

	Same        bool        `json:"same"`       // every run is as recorded
	Runs        []bool      `json:"runs"`       // of each whether it is as recorded
	RunsAgree   bool        `json:"runs_agree"` // all runs are alike
	Shown       int         `json:"shown"`      // the run, from 1, that the rest is about: the first that differs
	Outputs     []Output    `json:"outputs"`
	Environment Environment `json:"environment"`

	RecordedError *contracts.Error `json:"recorded_error,omitempty"` // that the task failed with
	ReplayedError *contracts.Error `json:"replayed_error,omitempty"`
	Error         *contracts.Error `json:"error,omitempty"` // that they differ, and what to look for
}

// report compares the runs with the record and with each other.
func (r *Replayer) report(runs []version) *Report {
	report := &Report{
		JobID: r.Job.ID, Task: r.Task.Key, Set: r.Task.Sim.Set, Replicate: r.Task.Sim.Replicate, Seed: r.Task.Sim.Seed,
		Same: true, RunsAgree: true, Shown: 1, RecordedError: r.Recorded.Error,
	}
	want, first := fingerprint(r.Recorded), fingerprint(runs[0].SimReturn)
	for i, run := range runs {
		got := fingerprint(run.SimReturn)
		if got != want && report.Same {
			report.Same, report.Shown = false, i+1
		}
		report.Runs = append(report.Runs, got == want)
		report.RunsAgree = report.RunsAgree && got == first
	}
	report.ReplayedError = runs[report.Shown-1].Error
	return report
}

// verdict is nil for the same, and else an error that says what differs and where the
// cause is to be looked for.
func (r *Report) verdict() *contracts.Error {
	if r.Same {
		return nil
	}
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageRun, Hint: r.hint()}
	task := "task " + r.Task[:12]
	switch recorded, replayed := r.RecordedError, r.ReplayedError; {
	case recorded == nil && replayed == nil:
		e.Message = task + " gives other outputs than are on record: " + r.differing()
	case recorded == nil:
		e.Message = task + " succeeded in the job and fails here: " + Failure(replayed)
	case replayed == nil:
		e.Message = task + " failed in the job and succeeds here; it failed with " + Failure(recorded)
	default:
		e.Message = task + " fails otherwise than in the job: here with " + Failure(replayed) + "; in the job with " + Failure(recorded)
	}
	if r.ReplayedError != nil {
		e.Type, e.Traceback, e.StderrTail = r.ReplayedError.Type, r.ReplayedError.Traceback, r.ReplayedError.StderrTail
	}
	return e
}

// Failure is an error in a few words.
func Failure(e *contracts.Error) string {
	if e.Type != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Type, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// differing names the outputs that differ.
func (r *Report) differing() string {
	const shown = 5
	var names []string
	for _, output := range r.Outputs {
		if !output.Same {
			names = append(names, contracts.Quote(output.Name))
		}
	}
	if more := len(names) - shown; more > 0 {
		names = append(names[:shown], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// hint says where the cause is to be looked for, by what can be excluded.
func (r *Report) hint() string {
	const (
		inside = "a generator that is not seeded from the wire's seed, the clock, the order of a set or of files in a directory, or threads"
		left   = "what an earlier task left in the process that ran it: a global, a cache, a generator that is seeded only on import"
	)
	switch failed := r.RecordedError; {
	case failed != nil && !ofTask(failed.Code):
		return "the recorded failure is not the model's; run again what the job has no results of: mops jobs resume " + r.JobID
	case failed != nil && (failed.Code == contracts.CodeTimeout || failed.Code == contracts.CodeOutOfMemory):
		return "the recorded failure may be for the machine that ran the job, its memory and its load: see resources.memory and resources.timeout of the study"
	case !r.RunsAgree:
		return "the runs here differ from each other: the model uses something besides its parameters and its seed: " + inside
	case r.Environment.Recorded == "":
		return "which environment the job had is not on record: the task ended before it was known, and the cause may lie there"
	case !r.Environment.Same:
		return "the environments differ, which may be all of it: pin Python packages in the bundle (uv.lock, or requirements.txt with ==), or replay where the job ran"
	case len(r.Runs) > 1:
		return fmt.Sprintf("%d runs in fresh processes agree with each other, not with the job: look for %s", len(r.Runs), left)
	}
	return "in the same environment a model that uses only its parameters and its seed gives the same; it uses " + inside +
		"; or " + left + ". --repeat 3 tells which: runs in fresh processes agree only if it is the latter"
}
