package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

func jobsListCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the jobs of an environment, the newest first",
		UsageText: "mops jobs list --env prod",
		Flags:     []cli.Flag{envFlag()},
		Action:    runJobsList,
	}
}

type jobsListAnswer struct {
	Environment string         `json:"environment"`
	Jobs        []*jobs.Status `json:"jobs"`
}

func runJobsList(c *cli.Context) error {
	home, err := homeOf(c)
	if err != nil {
		return err
	}
	l := &located{home: home, local: jobs.LocalIn(home), lookout: &lookout{}}
	if err := l.choose(c, ""); err != nil {
		return err
	}
	list, err := l.catalog.List(c.Context)
	if err != nil {
		return err
	}
	answer := jobsListAnswer{Environment: l.environment.Name, Jobs: []*jobs.Status{}}
	studies := map[string]jobs.Study{}
	for _, job := range list {
		if job.Environment != l.environment.Name {
			continue // the storage is shared, or lies on this machine for several
		}
		status, err := l.judge(c.Context, job, "")
		if missing(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		answer.Jobs = append(answer.Jobs, status)
		studies[job.ID] = job.Study
	}
	return command.Print(c, answer, func(w io.Writer) {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		if len(answer.Jobs) > 0 {
			fmt.Fprintln(table, "JOB\tSTATE\tDONE\tFAILED\tCREATED\tBUNDLE\tSTUDY")
		}
		for _, s := range answer.Jobs {
			state := string(s.State)
			switch {
			case s.Lost():
				state += " (no driver)"
			case s.Cluster != nil && s.Cluster.Phase != jobs.Up:
				state += " (" + string(s.Cluster.Phase) + ")"
			}
			fmt.Fprintf(table, "%s\t%s\t%d/%d\t%d\t%s\t%s@%s\t%s\n", s.ID, state, s.Tasks.Succeeded+s.Tasks.Failed, s.Tasks.Total, s.Tasks.Failed,
				localTime(s.Created), s.Bundle.Repository, s.Bundle.Digest.Short(), contracts.Lines(studies[s.ID].File))
		}
		_ = table.Flush()
	})
}

// localTime is a time of a document for people.
func localTime(stamp string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return stamp
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func jobsStatusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "show how a job stands, and what failed",
		ArgsUsage:   "JOB",
		Description: jobHelp,
		UsageText:   "mops jobs status latest\nmops jobs status latest --wait",
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "wait", Usage: "follow the job to its end first; exit code 1 when tasks failed"},
		},
		Action: runJobsStatus,
	}
}

func runJobsStatus(c *cli.Context) error {
	l, err := locateDriven(c)
	if err != nil {
		return err
	}
	if c.Bool("wait") {
		return l.waitForStatus(c)
	}
	status, err := l.status(c)
	if err != nil {
		return err
	}
	if status.Lost() {
		command.Warn(c, "nobody drives this job any more; run what is missing: mops jobs resume %s", status.ID)
	}
	return command.Print(c, status, func(w io.Writer) { writeStatus(w, l.job, status) })
}

// waitForStatus shows how the job stands once it has ended.
func (l *located) waitForStatus(c *cli.Context) error {
	status, err := l.await(c, nil)
	if err != nil {
		return err
	}
	if err := command.Print(c, status, func(w io.Writer) { writeStatus(w, l.job, status) }); err != nil || status.State == jobs.Succeeded {
		return err
	}
	return &command.Exited{Code: unsuccessful(c, status).ExitCode()}
}

func writeStatus(w io.Writer, job *jobs.Job, s *jobs.Status) {
	fmt.Fprintf(w, "%s  %s\n", s.ID, s.State)
	if s.Reason != "" {
		fmt.Fprintf(w, "  %s\n", contracts.Lines(s.Reason))
	}
	writeCounts(w, "tasks", s.Tasks)
	if s.Evaluations != nil {
		writeCounts(w, "targets", *s.Evaluations)
	}
	if s.Waiting != nil {
		fmt.Fprintf(w, "waiting   %s; given up at %s\n", contracts.Lines(s.Waiting.For), localTime(s.Waiting.Until))
	}
	if s.Rate > 0 && !s.State.Ended() {
		fmt.Fprintf(w, "rate      %.1f tasks/s", s.Rate)
		if s.SecondsLeft > 0 {
			fmt.Fprintf(w, ", about %s left", time.Duration(s.SecondsLeft)*time.Second)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "study     %s: %s/%s, %s\n", contracts.Lines(job.Study.File), contracts.Lines(job.Study.Model), contracts.Lines(job.Study.Scenario), contracts.Count(job.Study.Sets, "parameter set", "parameter sets"))
	fmt.Fprintf(w, "bundle    %s\n", s.Bundle)
	fmt.Fprintf(w, "runs in   environment %s, executor %s\n", s.Environment, s.Executor)
	fmt.Fprintf(w, "created   %s\n", localTime(s.Created))
	if s.Started != "" {
		fmt.Fprintf(w, "started   %s\n", localTime(s.Started))
	}
	if s.Finished != "" {
		fmt.Fprintf(w, "finished  %s\n", localTime(s.Finished))
	}
	if s.Driver != nil {
		writeDriver(w, s)
	}
	for i, f := range s.Errors {
		if i == 0 {
			fmt.Fprintln(w, "failures:")
		}
		writeFault(w, f, i == 0)
	}
	if len(s.Errors) > 0 && s.Errors[0].Task != "" {
		fmt.Fprintf(w, "more of one: mops jobs logs %s --task KEY, or replay\n", s.ID)
	}
}

// writeDriver writes where the job's driver is, and what its cluster says of it.
func writeDriver(w io.Writer, s *jobs.Status) {
	d := s.Driver
	alive := "lives"
	if !d.Alive {
		alive = "is gone"
	}
	if d.Alive && d.AtOnce > 0 {
		alive += fmt.Sprintf(", %d at once", d.AtOnce)
	}
	switch {
	case d.Place == jobs.InCluster && s.State == jobs.Running:
		fmt.Fprintf(w, "driver    pod %s %s\n", contracts.Lines(d.Host), alive)
	case d.Place != jobs.InCluster:
		fmt.Fprintf(w, "driver    process %d on %s %s\n", d.PID, contracts.Lines(d.Host), alive)
	}
	if g := s.Cluster; g != nil {
		line := string(g.Phase)
		if g.Node != "" {
			line += " on node " + g.Node
		}
		if g.Words != "" {
			line += ": " + g.Words
		}
		fmt.Fprintf(w, "cluster   %s\n", contracts.Lines(line))
	}
}

// writeCounts writes how tasks, or evaluations of targets, stand.
func writeCounts(w io.Writer, what string, n jobs.Counts) {
	fmt.Fprintf(w, "%-10s%d: %d succeeded (%d reused), %d failed, %d running, %d pending, %d cancelled\n",
		what, n.Total, n.Succeeded, n.Cached, n.Failed, n.Running, n.Pending, n.Cancelled)
}

// writeFault writes one kind of failure, and of the first all that is known.
func writeFault(w io.Writer, f jobs.Faults, whole bool) {
	count := ""
	if f.Count > 0 {
		count = fmt.Sprintf("%d × ", f.Count)
	}
	fmt.Fprintf(w, "  %s%s\n", count, contracts.Lines(faultLine(f)))
	if f.Task != "" {
		fmt.Fprintf(w, "    first in task %s\n", f.Task[:12])
	}
	if f.Error.Hint != "" {
		fmt.Fprintf(w, "    hint: %s\n", contracts.Lines(f.Error.Hint))
	}
	if !whole {
		return
	}
	if f.Error.Traceback != "" {
		indent(w, f.Error.Traceback)
	} else {
		indent(w, f.Error.StderrTail)
	}
}
