package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/process"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/submit"
)

// indent writes text a little to the right.
func indent(w io.Writer, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if text != "" {
			fmt.Fprintf(w, "    %s\n", contracts.Lines(line))
		}
	}
}

func jobsCancelCommand() *cli.Command {
	return &cli.Command{
		Name:        "cancel",
		Usage:       "stop a job; what has results keeps them",
		ArgsUsage:   "JOB",
		Description: jobHelp,
		UsageText:   "mops jobs cancel job-1a2b3c4d5e6f",
		Flags:       []cli.Flag{envFlag()},
		Action:      runJobsCancel,
	}
}

// cancelPatience is how long cancel waits for the processes to end.
const cancelPatience = 10 * time.Second

func runJobsCancel(c *cli.Context) error {
	l, err := locateDriven(c)
	if err != nil {
		return err
	}
	before, err := l.status(c)
	if err != nil {
		return err
	}
	if _, err := l.catalog.Move(c.Context, l.job.ID, jobs.Transition{State: jobs.Cancelled, Reason: "cancelled by the user"}); err != nil {
		return err
	}
	if before.Driver != nil && before.Driver.Alive {
		if err := l.awaitStop(c, before.Last.By.Token); err != nil {
			return err
		}
	}
	if before.Driver != nil && before.Driver.Place == jobs.InCluster {
		l.stopInCluster(c)
	}
	status, err := l.status(c)
	if err != nil {
		return err
	}
	return command.Print(c, status, func(w io.Writer) {
		fmt.Fprintf(w, "%s is cancelled; %d of %s with a result\n", status.ID, status.Tasks.Succeeded, contracts.Count(status.Tasks.Total, "task", "tasks"))
	})
}

// stopInCluster removes the driver of a job that has ended. Where the cluster cannot be
// asked the driver ends by itself, as soon as it sees how the job stands.
func (l *located) stopInCluster(c *cli.Context) {
	err := l.lookout.reach(l.environment.Name)
	if err == nil {
		err = l.lookout.Stop(c.Context, l.job.ID)
	}
	if err != nil {
		command.Warn(c, "Job %s stays in the cluster (%s); a driver that it still runs, or starts, ends when it sees how the job stands", l.job.ID, contracts.AsError(err).Message)
	}
}

// awaitStop waits until the driver with this token has ended what it ran.
func (l *located) awaitStop(c *cli.Context, token string) error {
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	deadline := time.After(cancelPatience)
	for {
		if alive, known := l.local.Alive(l.job.ID, token); known && !alive {
			return nil
		}
		if progress, err := l.catalog.Progress(c.Context, l.job.ID); err != nil || progress.Stopped && progress.Token == token {
			return err
		}
		select {
		case <-ticker.C:
		case <-deadline:
			command.Warn(c, "the driver has not said yet that its processes have ended")
			return nil
		case <-c.Context.Done():
			return c.Context.Err()
		}
	}
}

func jobsResumeCommand() *cli.Command {
	return &cli.Command{
		Name:      "resume",
		Usage:     "run what a job has no results of: after its driver's death, after failures, after cancelling",
		ArgsUsage: "JOB",
		Description: jobHelp + `
A job whose driver ran in a cluster gets another one there; any other runs on this machine
from now on, whichever submitted it. Code and data are those that it was submitted with; a
change of either is a new job. While its driver may live, on this machine or another, or in
a cluster, resuming is refused: cancel the job first to take it over.`,
		UsageText: "mops jobs resume latest --wait",
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "driver", Usage: "`WHERE` the driver runs from now on: local or kubernetes; as it was submitted when not given"},
			&cli.BoolFlag{Name: "wait", Usage: "follow the job to its end; exit code 1 when tasks failed"},
		},
		Action: runJobsResume,
	}
}

func runJobsResume(c *cli.Context) error {
	if !oneOf(c.String("driver"), "", jobs.Here, jobs.InCluster) {
		return command.Usage("", "--driver is %s or %s", jobs.Here, jobs.InCluster)
	}
	l, err := locateDriven(c)
	if err != nil {
		return err
	}
	place := cmp.Or(c.String("driver"), l.job.Driver, jobs.Here)
	status, err := l.status(c)
	if err != nil {
		return err
	}
	if err := l.resumable(status); err != nil {
		return err
	}
	atOnce, err := l.prepare(c, place)
	if err != nil {
		return err
	}
	if err := l.local.Remember(l.job); err != nil {
		return err
	}
	// From the very state that was judged: of two who resume at once one is refused.
	start, err := l.catalog.MoveFrom(c.Context, l.job.ID, status.Last, jobs.Submission(place, "resumed"))
	if err != nil {
		return err
	}
	ended, err := l.startDriver(c, start)
	if err != nil {
		return err
	}
	answer := &submitAnswer{JobID: l.job.ID, Bundle: l.job.Bundle, Content: l.job.Content, Environment: l.job.Environment, Executor: l.job.Executor, Driver: place,
		Tasks: l.job.Tasks, Reused: status.Tasks.Succeeded, AtOnce: atOnce, Resources: l.job.Resources}
	command.Note(c, "job %s: %d of %s to run%s", answer.JobID, answer.Tasks-answer.Reused, contracts.Count(answer.Tasks, "task", "tasks"), answer.atOnce())
	if c.Bool("wait") {
		return l.follow(c, ended, answer)
	}
	return command.Print(c, answer, func(w io.Writer) { fmt.Fprintln(w, answer.JobID) })
}

// resumable is the error for a job that has nothing to resume, or a driver.
func (l *located) resumable(s *jobs.Status) error {
	switch {
	case s.State == jobs.Succeeded:
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
			Message: "job " + l.job.ID + " has succeeded: there is nothing to resume",
			Hint:    "fetch its tables: mops jobs results " + l.job.ID}
	case s.Driver == nil:
		return nil
	case s.Driver.Place == jobs.InCluster && (s.Driver.Alive || s.Driver.Expected):
		e := &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
			Message: "job " + l.job.ID + " has a driver in the cluster",
			Hint:    "follow it: mops jobs status " + l.job.ID + " --wait; stop it: mops jobs cancel " + l.job.ID}
		if s.Cluster != nil && s.Cluster.Words != "" {
			e.Message += ": " + s.Cluster.Words
		}
		return e
	case s.Driver.Alive:
		return l.driven(s)
	}
	return nil
}

// prepare finds out whether a driver can begin at a place, and how many tasks run at once
// then, where that is known.
func (l *located) prepare(c *cli.Context, place string) (atOnce int, err error) {
	if place == jobs.InCluster {
		if err := l.lookout.reach(l.environment.Name); err != nil {
			return 0, err
		}
		return 0, l.lookout.Check(c.Context, l.job)
	}
	if atOnce, err = l.atOnce(); err != nil {
		return 0, err
	}
	return atOnce, l.adoptLog(c.Context)
}

// atOnce is how many tasks of the job this machine runs at once; 0 when they run elsewhere.
func (l *located) atOnce() (int, error) {
	if l.job.Executor != jobs.Process {
		return 0, nil
	}
	if err := process.Supported(); err != nil {
		return 0, err
	}
	machine := process.ThisMachine()
	return machine.Processes(l.job), machine.Check(l.job.Resources)
}

// driven is the error for a job whose driver lives, or may.
func (l *located) driven(s *jobs.Status) *contracts.Error {
	e := &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
		Message: fmt.Sprintf("job %s is being driven by process %d on %s", l.job.ID, s.Driver.PID, contracts.Quote(s.Driver.Host)),
		Hint:    "follow it: mops jobs status " + l.job.ID + " --wait; stop it: mops jobs cancel " + l.job.ID}
	if _, known := l.local.Alive(l.job.ID, s.Last.By.Token); !known {
		e.Message += "; it last spoke at " + localTime(cmp.Or(s.Driver.Heartbeat, s.Last.At))
		e.Hint = "a driver elsewhere is taken for lost when it has said nothing for " + jobs.Silence.String() + "; stop it before that: mops jobs cancel " + l.job.ID
	}
	return e
}

func jobsRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "remove a job: its record, its state and its log",
		ArgsUsage: "JOB",
		Description: jobHelp + `
Results belong to the content that made them, not to the job: they stay, and are reused by
jobs to come. The bundle is no longer kept for the job's sake: the tag that the job had in
the registry is removed, and no other.`,
		UsageText: "mops jobs rm job-1a2b3c4d5e6f",
		Flags:     []cli.Flag{envFlag()},
		Action:    runJobsRemove,
	}
}

func runJobsRemove(c *cli.Context) error {
	l, err := locateDriven(c)
	if err != nil {
		return err
	}
	status, err := l.status(c)
	if err != nil {
		return err
	}
	alive, known := l.local.Alive(l.job.ID, "")
	if status.Driver != nil && (status.Driver.Alive || status.Driver.Expected) || known && alive {
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
			Message: "job " + l.job.ID + " is " + string(status.State), Hint: "stop it first: mops jobs cancel " + l.job.ID}
	}
	if l.job.Driver == jobs.InCluster || status.Start.Driver == jobs.InCluster {
		l.stopInCluster(c)
	}
	if err := l.catalog.Remove(c.Context, l.job.ID); err != nil {
		return err
	}
	if err := l.local.Forget(l.job.ID); err != nil {
		return err
	}
	answer := struct {
		ID       string `json:"job_id"`
		Removed  bool   `json:"removed"`
		Released bool   `json:"bundle_released"` // its tag is gone from the registry
	}{l.job.ID, true, l.release(c)}
	return command.Print(c, answer, func(w io.Writer) { fmt.Fprintln(w, l.job.ID, "is removed") })
}

// release removes the tag by which the job kept its bundle. A registry that does not let
// that happen, or that is gone, is no reason to keep the job.
func (l *located) release(c *cli.Context) bool {
	programs, err := findPrograms(c, l.home)
	if err == nil {
		err = programs.Release(c.Context, l.environment, l.job)
	}
	if err != nil {
		command.Warn(c, "%s", submit.NotReleased(l.job, err))
	}
	return err == nil
}
