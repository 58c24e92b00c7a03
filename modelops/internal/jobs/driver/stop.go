package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// defaultStopAfter is how many failures alike end a job that does not say.
const defaultStopAfter = 20

// errEnough is the cause of stopping when more tasks would tell nobody more.
var errEnough = errors.New("stopped early")

// streak counts the failures since the last success, by what makes them alike. Results
// come in the order in which tasks end, so that failures of two kinds alternate; each
// kind counts for itself.
type streak map[string]int

// add takes a result in, and is how many failures alike there are now.
func (s streak) add(failure *contracts.Error) int {
	if failure == nil {
		clear(s)
		return 0
	}
	key := jobs.Signature(failure)
	s[key]++
	return s[key]
}

// judge decides whether a durable result ends the job, of the simulations or of the
// evaluations, whichever the tally counts. first says in words that it ends at once by a
// failure that has nothing to do with the task that met it; it is empty when it does not.
func (x *execution) judge(t *tally, r jobs.Result, first string) {
	failure := r.Return.Error
	alike := t.streak.add(failure)
	limit := x.job.Options.StopAfter
	if limit == 0 {
		limit = defaultStopAfter
	}
	switch {
	case failure == nil || x.job.Options.KeepGoing || x.reason != "":
		return
	case first != "" && hopeless(failure):
		x.reason = first
	case alike >= limit:
		t.lead(r.Task.Key, failure)
		x.reason = fmt.Sprintf("stopped after %s alike and no success between them", contracts.Count(alike, "failure", "failures"))
	default:
		return
	}
	x.reason += " (--keep-going runs all)"
	x.Log.Error(x.reason)
	x.stop(errEnough)
}

// hopeless says whether a failure has nothing to do with the task that met it.
func hopeless(e *contracts.Error) bool {
	return slices.Contains([]contracts.Code{
		contracts.CodeWireMissing, contracts.CodeImport, contracts.CodeDependencies, contracts.CodeInvalidBundle, contracts.CodeBundleNotFound,
		contracts.CodeUnauthenticated, contracts.CodeDenied, contracts.CodeIntegrity, contracts.CodeUnavailable, contracts.CodeUnsupported,
		contracts.CodeContractMismatch, contracts.CodeDiskFull, contracts.CodeInvalidEnvironment, contracts.CodeEnvironmentNotFound,
	}, e.Code)
}

// limit has the attempt end when the job's time limit has passed since it began, or the
// attempt that it goes on for. The function that it returns ends the watch.
func (a *attempt) limit(stop context.CancelCauseFunc) (unlimit func(), err error) {
	limit, err := (contracts.Resources{Timeout: a.job.Options.JobTimeout}).TimeoutDuration()
	if err != nil || limit == 0 {
		return func() {}, err
	}
	timer := time.AfterFunc(limit-a.Catalog.Now().Sub(a.since), func() { stop(&overdue{limit}) })
	return func() { timer.Stop() }, nil
}

// overdue is the cause of stopping when the job's time limit has passed.
type overdue struct{ limit time.Duration }

func (o *overdue) Error() string {
	return "the job's time limit of " + o.limit.String() + " has passed"
}

// timeout is the error of a job that is overdue; nil when there was nothing left to do.
func (a *attempt) timeout(o *overdue) error {
	counts, _ := a.tally.snapshot()
	missing := counts.Pending + counts.Running
	if missing == 0 {
		return nil
	}
	return &contracts.Error{Code: contracts.CodeTimeout, Stage: contracts.StageRun,
		Message: fmt.Sprintf("%s; %d of %s without a result", o.Error(), missing, contracts.Count(counts.Total, "task", "tasks")),
		Hint:    "run the rest, within the same limit again: mops jobs resume " + a.job.ID}
}
