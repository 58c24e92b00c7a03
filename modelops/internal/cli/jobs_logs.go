package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

func jobsLogsCommand() *cli.Command {
	return &cli.Command{
		Name:        "logs",
		Usage:       "show the driver's log, or what one task wrote on its standard error",
		ArgsUsage:   "JOB",
		Description: jobHelp,
		UsageText:   "mops jobs logs latest --follow\nmops jobs logs latest --task 17",
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "task", Usage: "of the task with this `KEY`, its beginning, or its place in the study, from 0"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the job has ended"},
		},
		Action: runJobsLogs,
	}
}

func runJobsLogs(c *cli.Context) error {
	l, err := locate(c)
	if err != nil {
		return err
	}
	if word := c.String("task"); word != "" {
		return l.printTask(c, word)
	}
	f, err := os.Open(l.local.LogFile(l.job.ID))
	if err == nil {
		defer func() { _ = f.Close() }()
		return l.printLog(c, f)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return readError(l.local.LogFile(l.job.ID), err)
	}
	kept, err := l.catalog.Log(c.Context, l.job.ID)
	if errors.Is(err, blobstore.ErrNotFound) {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageRun,
			Message: "the log of job " + l.job.ID + " is not on this machine", Hint: "it is on the machine of its driver until that ends; mops jobs status " + l.job.ID + " says where"}
	}
	if err != nil {
		return err
	}
	defer func() { _ = kept.Close() }()
	return l.printLog(c, kept)
}

type logLine struct {
	Line string `json:"line"`
}

// printLog writes a log as it is, or with --json a document per line; with --follow
// until the job has ended.
func (l *located) printLog(c *cli.Context, log io.Reader) error {
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	rest := ""
	for {
		over := true
		if c.Bool("follow") {
			status, err := l.status(c)
			if err != nil {
				return err
			}
			over = status.State.Ended() || status.Lost()
		}
		data, err := io.ReadAll(log)
		if err != nil {
			return err
		}
		lines := strings.SplitAfter(rest+string(data), "\n")
		rest, lines = lines[len(lines)-1], lines[:len(lines)-1]
		for _, line := range lines {
			line = strings.TrimSuffix(line, "\n")
			if err := command.Print(c, logLine{line}, func(w io.Writer) { fmt.Fprintln(w, contracts.Lines(line)) }); err != nil {
				return err
			}
		}
		if over {
			return nil
		}
		select {
		case <-ticker.C:
		case <-c.Context.Done():
			return c.Context.Err()
		}
	}
}

// taskAnswer is what is known of one task.
type taskAnswer struct {
	JobID      string           `json:"job_id"`
	Task       string           `json:"task"`
	Index      int              `json:"index"`
	Set        int              `json:"set"`
	Replicate  int              `json:"replicate"`
	Seed       uint64           `json:"seed"`
	ParamID    string           `json:"param_id"`
	State      string           `json:"state"` // succeeded, failed, or no result
	Seconds    float64          `json:"seconds"`
	StderrTail string           `json:"stderr_tail"`
	Error      *contracts.Error `json:"error,omitempty"`
}

func (l *located) printTask(c *cli.Context, word string) error {
	answer, err := l.findTask(c.Context, word)
	if err != nil {
		return err
	}
	result, err := l.resultOf(c.Context, answer.Task)
	if err != nil {
		return err
	}
	answer.State = "no result"
	if result != nil {
		answer.State, answer.Seconds, answer.StderrTail, answer.Error = "succeeded", result.Seconds, result.StderrTail, result.Error
	}
	if answer.Error != nil {
		answer.State = "failed"
	}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "task %s (%d): parameter set %d, replicate %d, seed %d: %s\n", answer.Task[:12], answer.Index, answer.Set, answer.Replicate, answer.Seed, answer.State)
		if answer.Error != nil {
			_, _ = io.WriteString(w, answer.Error.Text())
		} else if answer.StderrTail != "" {
			_, _ = io.WriteString(w, contracts.Lines(answer.StderrTail))
		}
	})
}

// shortestKey is how much of a task's key must be given.
const shortestKey = 8

// findTask is the task that a key, its beginning, or a place means.
func (l *located) findTask(ctx context.Context, word string) (*taskAnswer, error) {
	study, err := l.catalog.LoadStudy(ctx, l.job.ID)
	if err != nil {
		return nil, err
	}
	place, err := strconv.Atoi(word)
	isPlace := err == nil && len(word) < shortestKey
	if !isPlace && len(word) < shortestKey {
		return nil, command.Usage("", "--task %s is neither a place nor at least %d digits of a key", contracts.Quote(word), shortestKey)
	}
	i := 0
	for task := range l.job.SimTasks(study) {
		if key := task.Key(l.job.Content); isPlace && i == place || !isPlace && strings.HasPrefix(key, word) {
			return &taskAnswer{JobID: l.job.ID, Task: key, Index: i, Set: task.Set, Replicate: task.Replicate, Seed: task.Seed, ParamID: task.Params.ID}, nil
		}
		i++
	}
	return nil, &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageRun,
		Message: "job " + l.job.ID + " has no task " + contracts.Quote(word), Hint: fmt.Sprintf("it has %d, counted from 0", l.job.Tasks)}
}

// resultOf is what became of a task: its result, or its failure in the last attempt that
// has one; nil for neither.
func (l *located) resultOf(ctx context.Context, key string) (*contracts.SimReturn, error) {
	archives := []*archive.Archive{l.catalog.Results(l.job)}
	history, err := l.catalog.History(ctx, l.job.ID)
	if err != nil {
		return nil, err
	}
	for _, t := range slices.Backward(history) {
		if t.State == jobs.Running {
			archives = append(archives, l.catalog.Failures(l.job.ID, t.Number))
		}
	}
	for i, a := range archives {
		index, err := a.Index(ctx, archive.Option{Job: l.job.ID, Only: i == 0 && l.job.Options.NoCache})
		if err != nil {
			return nil, err
		}
		if at, found := index.Find(key); found {
			return a.NewReader(0).Read(ctx, at)
		}
	}
	return nil, nil
}
