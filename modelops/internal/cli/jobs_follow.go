package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// pollTime is how often a job that is followed is looked at.
const pollTime = 100 * time.Millisecond

// follow waits for the job's end and prints the answer. ended, which may be nil, is
// closed when the driver's process ends. A job that did not succeed is an error, but the
// user's interrupt is not the job's.
func (l *located) follow(c *cli.Context, ended <-chan struct{}, answer *submitAnswer) error {
	status, err := l.await(c, ended)
	if err != nil {
		return err
	}
	answer.State, answer.Status = status.State, status
	if status.State == jobs.Succeeded {
		return command.Print(c, answer, func(w io.Writer) { fmt.Fprintln(w, answer.JobID) })
	}
	failure := unsuccessful(c, status)
	if !command.JSON(c) {
		return failure
	}
	answer.Error = failure
	if err := command.Print(c, answer, nil); err != nil {
		return err
	}
	return &command.Exited{Code: failure.ExitCode()}
}

// await waits until the job has ended, and shows how it goes.
func (l *located) await(c *cli.Context, ended <-chan struct{}) (*jobs.Status, error) {
	show := newProgress(c)
	defer show.end()
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	over := false // the driver's process has ended
	for {
		status, err := l.status(c)
		if c.Context.Err() != nil {
			return nil, &contracts.Error{Code: contracts.CodeInterrupted, Stage: contracts.StageRun,
				Message: "interrupted; job " + l.job.ID + " goes on",
				Hint:    "follow it: mops jobs status " + l.job.ID + "; stop it: mops jobs cancel " + l.job.ID}
		}
		if err != nil {
			return nil, err
		}
		show.update(status)
		switch {
		case status.State.Ended():
			return status, nil
		case over || status.Lost():
			return nil, l.lost(status)
		}
		select {
		case <-ticker.C:
		case <-ended:
			over, ended = true, nil // look once more: it may have ended the job
		case <-c.Context.Done():
		}
	}
}

// lost is the error for a job whose driver is no more.
func (l *located) lost(status *jobs.Status) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, StderrTail: l.logTail(),
		Message: fmt.Sprintf("the driver of job %s ended before the job did; %d of %s with a result", l.job.ID, status.Tasks.Succeeded, contracts.Count(status.Tasks.Total, "task", "tasks")),
		Hint:    "run what is missing: mops jobs resume " + l.job.ID}
}

// logTail is the end of the driver's log on this machine.
func (l *located) logTail() string {
	const lines, most = 20, 16 << 10
	f, err := os.Open(l.local.LogFile(l.job.ID))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// unsuccessful is the error for a job that ended otherwise than in success: its first
// failure, as it was. How many more there are, and of which kinds, is what status says.
func unsuccessful(c *cli.Context, status *jobs.Status) *contracts.Error {
	if status.State == jobs.Cancelled {
		return &contracts.Error{Code: contracts.CodeCancelled, Stage: contracts.StageRun,
			Message: "job " + status.ID + " was cancelled", Hint: "run what is missing: mops jobs resume " + status.ID}
	}
	see := "all failures: mops jobs status " + status.ID
	what := fmt.Sprintf("job %s %s: %d of %s failed", status.ID, strings.ToLower(string(status.State)), status.Tasks.Failed, contracts.Count(status.Tasks.Total, "task", "tasks"))
	if e := status.Evaluations; e != nil {
		what += fmt.Sprintf(", %d of %s of targets", e.Failed, contracts.Count(e.Total, "evaluation", "evaluations"))
	}
	if status.Tasks.Cancelled > 0 {
		what += fmt.Sprintf(", %d did not run", status.Tasks.Cancelled)
	}
	if status.Reason != "" {
		what += " (" + status.Reason + ")"
	}
	if len(status.Errors) == 0 {
		return &contracts.Error{Code: contracts.CodeTasksFailed, Stage: contracts.StageRun, Message: what, Hint: see}
	}
	command.Warn(c, "%s", what)
	first := *status.Errors[0].Error
	if first.Hint != "" {
		see = first.Hint + "; " + see
	}
	first.Hint = see
	return &first
}

// progress shows how a job goes: on a terminal in one line that changes, elsewhere in a
// line now and then.
type progress struct {
	c      *cli.Context
	live   *command.Live
	state  jobs.State
	tenths int
	kinds  int
	wait   string // what the driver waits for
}

func newProgress(c *cli.Context) *progress {
	return &progress{c: c, live: command.NewLive(c), tenths: -1}
}

func (p *progress) update(s *jobs.Status) {
	for _, fault := range s.Errors[min(p.kinds, len(s.Errors)):] {
		command.Warn(p.c, "failed: %s", faultLine(fault))
	}
	p.kinds = max(p.kinds, len(s.Errors))
	if s.Waiting != nil && s.Waiting.For != p.wait {
		command.Warn(p.c, "the job waits: %s; given up at %s", s.Waiting.For, localTime(s.Waiting.Until))
		p.wait = s.Waiting.For
	}
	done := s.Tasks.Succeeded + s.Tasks.Failed
	line := fmt.Sprintf("%s: %d of %s", strings.ToLower(string(s.State)), done, contracts.Count(s.Tasks.Total, "task", "tasks"))
	if s.Tasks.Cached > 0 {
		line += fmt.Sprintf(", %d reused", s.Tasks.Cached)
	}
	if s.Tasks.Failed > 0 {
		line += fmt.Sprintf(", %d failed", s.Tasks.Failed)
	}
	if s.Tasks.Cancelled > 0 {
		line += fmt.Sprintf(", %d did not run", s.Tasks.Cancelled)
	}
	if e := s.Evaluations; e != nil {
		line += fmt.Sprintf("; %d of %s", e.Succeeded+e.Failed+e.Cancelled, contracts.Count(e.Total, "evaluation", "evaluations"))
		if e.Failed > 0 {
			line += fmt.Sprintf(", %d failed", e.Failed)
		}
	}
	if p.live.On() {
		if s.SecondsLeft > 0 {
			line += fmt.Sprintf(", %s left", time.Duration(s.SecondsLeft)*time.Second)
		}
		p.live.Show(line)
		return
	}
	tenths := done * 10 / max(1, s.Tasks.Total)
	if s.State != p.state || tenths > p.tenths {
		command.Note(p.c, "%s", line)
	}
	p.state, p.tenths = s.State, max(p.tenths, tenths)
}

// end leaves the line that changes.
func (p *progress) end() { p.live.End() }

// faultLine is a failure on one line.
func faultLine(f jobs.Faults) string {
	line := string(f.Error.Code) + ": "
	if f.Error.Type != "" && !strings.HasPrefix(f.Error.Message, f.Error.Type) {
		line += f.Error.Type + ": "
	}
	first, _, _ := strings.Cut(f.Error.Message, "\n")
	return line + first
}
