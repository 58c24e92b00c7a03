package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
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
			&cli.StringFlag{Name: "task", Usage: "of the task, or the evaluation of a target, with this `KEY`, its beginning, or its place in the study, from 0"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the job has ended"},
		},
		Action: runJobsLogs,
	}
}

func runJobsLogs(c *cli.Context) error {
	l, err := locateDriven(c)
	if err != nil {
		return err
	}
	if word := c.String("task"); word != "" {
		return l.printTask(c, word)
	}
	return l.printLog(c)
}

// elsewhere says whether the job's log grows on another machine, from which it is copied
// now and then.
func (l *located) elsewhere(s *jobs.Status) bool {
	if _, err := os.Stat(l.local.LogFile(l.job.ID)); errors.Is(err, os.ErrNotExist) {
		return true
	}
	_, known := l.local.Alive(l.job.ID, s.Last.By.Token)
	return s.State == jobs.Running && !known
}

// readLog is the driver's log from an offset on.
func (l *located) readLog(ctx context.Context, elsewhere bool, offset int64) ([]byte, error) {
	open := func() (io.ReadCloser, error) { return os.Open(l.local.LogFile(l.job.ID)) }
	if elsewhere {
		open = func() (io.ReadCloser, error) { return l.catalog.Log(ctx, l.job.ID) }
	}
	log, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	if _, err := io.CopyN(io.Discard, log, offset); err != nil && err != io.EOF {
		return nil, err
	}
	return io.ReadAll(log)
}

// taskAnswer is what is known of one task.
type taskAnswer struct {
	JobID      string           `json:"job_id"`
	Task       string           `json:"task"`
	Index      int              `json:"index"`
	Set        int              `json:"set"`
	Replicate  int              `json:"replicate"`
	Target     string           `json:"target,omitempty"` // of an evaluation, which has no index, replicate or seed
	Seed       uint64           `json:"seed"`
	ParamID    string           `json:"param_id"`
	Params     contracts.Params `json:"params"`
	State      string           `json:"state"` // succeeded, failed, or no result
	Seconds    float64          `json:"seconds"`
	StderrTail string           `json:"stderr_tail"`
	Error      *contracts.Error `json:"error,omitempty"`
}

func (l *located) printTask(c *cli.Context, word string) error {
	answer, err := l.identify(c.Context, word)
	if err != nil {
		return err
	}
	result, _, err := l.resultOf(c.Context, answer.Task)
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
		if answer.Target != "" {
			fmt.Fprintf(w, "evaluation %s: target %s, parameter set %d: %s\n", answer.Task[:12], contracts.Lines(answer.Target), answer.Set, answer.State)
		} else {
			fmt.Fprintf(w, "task %s (%d): parameter set %d, replicate %d, seed %d: %s\n", answer.Task[:12], answer.Index, answer.Set, answer.Replicate, answer.Seed, answer.State)
		}
		if params, err := json.Marshal(answer.Params); err == nil {
			fmt.Fprintf(w, "parameters %s\n", contracts.Lines(string(params)))
		}
		if answer.Error != nil {
			_, _ = io.WriteString(w, answer.Error.Text())
		} else if answer.StderrTail != "" {
			_, _ = io.WriteString(w, contracts.Lines(answer.StderrTail))
		}
	})
}

// shortestKey is how much of a task's key must be given.
const shortestKey = 8

// findTask is the task that a key, its beginning, or a place means, and its place.
func (l *located) findTask(ctx context.Context, word string) (task jobs.Task, index int, err error) {
	study, err := l.catalog.LoadStudy(ctx, l.job.ID)
	if err != nil {
		return task, 0, err
	}
	place, err := strconv.Atoi(word)
	isPlace := err == nil && len(word) < shortestKey
	if !isPlace && len(word) < shortestKey {
		return task, 0, command.Usage("the first task is 0; keys are in mops jobs status "+l.job.ID+" and in the tables' column task", "task %s is neither a place nor at least %d digits of a key", contracts.Quote(word), shortestKey)
	}
	for sim := range l.job.SimTasks(study) {
		if key := sim.Key(l.job.Content); isPlace && index == place || !isPlace && strings.HasPrefix(key, word) {
			return jobs.Task{Key: key, Sim: sim}, index, nil
		}
		index++
	}
	return task, 0, &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageRun,
		Message: "job " + l.job.ID + " has no task " + contracts.Quote(word), Hint: fmt.Sprintf("it has %d, counted from 0", l.job.Tasks)}
}

// identify is the task or evaluation that a word means, without what became of it.
func (l *located) identify(ctx context.Context, word string) (*taskAnswer, error) {
	task, index, err := l.findTask(ctx, word)
	if err == nil {
		return &taskAnswer{JobID: l.job.ID, Task: task.Key, Index: index, Set: task.Sim.Set, Replicate: task.Sim.Replicate,
			Seed: task.Sim.Seed, ParamID: task.Sim.Params.ID, Params: task.Sim.Params.Values}, nil
	}
	if contracts.AsError(err).Code != contracts.CodeNotFound {
		return nil, err
	}
	answer, searchErr := l.findEvaluation(ctx, word)
	if answer == nil && searchErr == nil {
		return nil, err
	}
	return answer, searchErr
}

// findEvaluation is the evaluation of a target that a key, or its beginning, means; nil for
// none.
func (l *located) findEvaluation(ctx context.Context, word string) (*taskAnswer, error) {
	study, err := l.catalog.LoadStudy(ctx, l.job.ID)
	if err != nil || len(study.Targets) == 0 || len(word) < shortestKey {
		return nil, err
	}
	for set := range l.job.Sets(study) {
		for _, target := range study.Targets {
			if key := contracts.EvaluationKey(l.job.Content, target, set.Keys); set.Complete && strings.HasPrefix(key, word) {
				params := set.Tasks[0].Params
				return &taskAnswer{JobID: l.job.ID, Task: key, Set: set.Tasks[0].Set, ParamID: params.ID, Params: params.Values, Target: target}, nil
			}
		}
	}
	return nil, nil
}

// archives are where what became of the job's tasks may be: the results of its content,
// then its failures, those of the last attempt first.
func (l *located) archives(ctx context.Context) ([]*archive.Archive, error) {
	archives := []*archive.Archive{l.catalog.Results(l.job)}
	history, err := l.catalog.History(ctx, l.job.ID)
	for _, t := range slices.Backward(history) {
		if t.State == jobs.Running {
			archives = append(archives, l.catalog.Failures(l.job.ID, t.Number))
		}
	}
	return archives, err
}

// resultOf is what became of a task: its result, or its failure in the last attempt that
// has one, and the archive that has it; nil for neither.
func (l *located) resultOf(ctx context.Context, key string) (*contracts.SimReturn, *archive.Archive, error) {
	archives, err := l.archives(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i, a := range archives {
		index, err := a.Index(ctx, archive.Option{Job: l.job.ID, Only: i == 0 && l.job.Options.NoCache})
		if err != nil {
			return nil, nil, err
		}
		if at, found := index.Find(key); found {
			result, err := a.NewReader(0).Read(ctx, at)
			return result, a, err
		}
	}
	return nil, nil, nil
}

// environmentOf is what the digest of an environment stands for. A worker tells it once,
// with the first of its results, whichever archive that is in; nil when none has it.
func (l *located) environmentOf(ctx context.Context, digest string) (*contracts.EnvironmentRecord, error) {
	archives, err := l.archives(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range archives {
		if record, err := a.Environment(ctx, digest); record != nil || err != nil {
			return record, err
		}
	}
	return nil, nil
}
