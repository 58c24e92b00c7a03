package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/process"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/replay"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

func jobsReplayCommand() *cli.Command {
	return &cli.Command{
		Name:      "replay",
		Usage:     "run one task of a job once more, here, and compare what it gives byte for byte",
		ArgsUsage: "JOB TASK",
		Description: jobHelp + `
TASK is a task's key, its beginning, or its place in the study, from 0.

The very bundle of the job is fetched, its Python environment made, and the task run in a
process of its own. Every output is compared with the one on record, a failure with the
recorded failure; what differs in Python, platform and packages is said first. Neither the
project nor the machine that ran the job is needed. Exit code 1 says that they differ.

With --shell it opens a shell instead, with what the task had, in a writable copy of the
bundle, and says how to run the task there. The copy is kept if something in it was
changed.`,
		UsageText: "mops jobs replay latest 17\nmops jobs replay latest 17 --repeat 3 --output replay-17\nmops jobs replay latest 17 --shell",
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "shell", Usage: "open a shell with what the task had"},
			&cli.IntFlag{Name: "repeat", Value: 1, Usage: "run it `N` times, and compare the runs with each other too"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the outputs of both into `DIRECTORY`, as recorded/ and replayed/"},
		},
		Action: runJobsReplay,
	}
}

func runJobsReplay(c *cli.Context) error {
	switch {
	case c.Int("repeat") < 1:
		return command.Usage("--repeat 3", "--repeat is less than 1")
	case c.Bool("shell") && (c.IsSet("repeat") || c.IsSet("output") || command.JSON(c)):
		return command.Usage("mops jobs replay JOB TASK --shell", "--shell goes with none of --repeat, --output and --json")
	}
	save := ""
	if dir := c.String("output"); dir != "" {
		save = command.EnvOf(c).Path(dir)
		if err := replay.CheckSave(save); err != nil {
			return err
		}
	}
	if err := process.Supported(); err != nil {
		return err
	}
	l, err := locate(c)
	if err != nil {
		return err
	}
	task, _, err := l.findTask(c.Context, c.Args().Get(1))
	if err != nil {
		return err
	}
	worker, err := program.Find(command.EnvOf(c).Getenv, program.Worker)
	if err != nil {
		return err
	}
	if c.Bool("shell") {
		return l.replayShell(c, worker, task)
	}
	return l.replay(c, worker, task, save)
}

func (l *located) replay(c *cli.Context, worker string, task jobs.Task, save string) error {
	recorded, archive, err := l.resultOf(c.Context, task.Key)
	if err != nil {
		return err
	}
	if recorded == nil {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageRun,
			Message: "task " + task.Key[:12] + " of job " + l.job.ID + " has no result to compare with",
			Hint:    "it has not run: mops jobs status " + l.job.ID + "; --shell works without"}
	}
	log := slog.New(slog.DiscardHandler)
	if c.Bool("verbose") {
		log = slog.New(slog.NewTextHandler(command.EnvOf(c).Stderr, nil))
	}
	command.Note(c, "running task %s of %s in bundle %s", task.Key[:12], l.job.ID, l.job.Bundle)
	replayer := &replay.Replayer{
		Job: l.job, Task: task, Recorded: recorded, Archive: archive, Environment: l.environmentOf, Runs: c.Int("repeat"), Save: save,
		Executor: func(dir string) jobs.Executor {
			return &process.Executor{
				Program: worker, EnvFile: l.environment.Path, Environ: workerEnviron(command.EnvOf(c), l.home),
				Outputs: dir, Processes: 1, Log: log,
			}
		},
	}
	report, err := replayer.Replay(c.Context)
	if err != nil {
		return err
	}
	if err := command.Print(c, report, func(w io.Writer) { printReplay(w, report) }); err != nil || report.Same {
		return err
	}
	if command.JSON(c) {
		return &command.Exited{Code: report.Error.ExitCode()}
	}
	return report.Error
}

func printReplay(w io.Writer, r *replay.Report) {
	fmt.Fprintf(w, "task %s: parameter set %d, replicate %d, seed %d\n", r.Task[:12], r.Set, r.Replicate, r.Seed)
	printEnvironments(w, &r.Environment)
	if len(r.Runs) > 1 {
		same := 0
		for _, run := range r.Runs {
			if run {
				same++
			}
		}
		agree := "all alike"
		if !r.RunsAgree {
			agree = "not all alike"
		}
		fmt.Fprintf(w, "%s, %s; %d as recorded\n", contracts.Count(len(r.Runs), "run", "runs"), agree, same)
	}
	if r.RecordedError == nil || r.ReplayedError == nil { // else there are none
		for _, output := range r.Outputs {
			printOutput(w, &output)
		}
	}
	switch {
	case r.Same && r.RecordedError != nil:
		fmt.Fprintf(w, "same: it fails as recorded\n")
		indent(w, r.RecordedError.Text())
	case r.Same:
		fmt.Fprintln(w, "same")
	default:
		fmt.Fprintln(w, "different")
	}
}

// shownDifferences bounds what of two environments is printed.
const shownDifferences = 20

func printEnvironments(w io.Writer, e *replay.Environment) {
	switch {
	case e.Recorded == "":
		fmt.Fprintln(w, "environment: that of the job is not on record")
	case e.Same:
		fmt.Fprintf(w, "environment: same, %.12s\n", e.Recorded)
	case !e.Known:
		fmt.Fprintf(w, "environment: differs, %.12s recorded, %.12s here; what the recorded one had is not known\n", e.Recorded, e.Replayed)
	default:
		fmt.Fprintf(w, "environment: differs, %.12s recorded, %.12s here\n", e.Recorded, e.Replayed)
	}
	for i, d := range e.Differences {
		if i == shownDifferences {
			fmt.Fprintf(w, "    and %d more, which --json shows\n", len(e.Differences)-i)
			return
		}
		what := d.Kind
		if d.Name != "" {
			what = d.Name
		}
		fmt.Fprintf(w, "    %-20s %s recorded, %s here\n", contracts.Lines(what), versionOrNone(d.Recorded), versionOrNone(d.Replayed))
	}
}

func versionOrNone(version string) string {
	if version == "" {
		return "none"
	}
	return contracts.Lines(version)
}

func printOutput(w io.Writer, o *replay.Output) {
	name := contracts.Quote(o.Name)
	switch {
	case o.Same:
		fmt.Fprintf(w, "output %s: same, %s\n", name, contracts.Count(o.Recorded.Size, "byte", "bytes"))
	case o.Recorded == nil:
		fmt.Fprintf(w, "output %s: not recorded, %s here\n", name, contracts.Count(o.Replayed.Size, "byte", "bytes"))
	case o.Replayed == nil:
		fmt.Fprintf(w, "output %s: %s recorded, not there here\n", name, contracts.Count(o.Recorded.Size, "byte", "bytes"))
	default:
		d := o.FirstDifference
		place := fmt.Sprintf("byte %d", d.Offset)
		if d.Line > 0 {
			place += fmt.Sprintf(", line %d", d.Line)
		}
		fmt.Fprintf(w, "output %s: differs from %s on\n", name, place)
		fmt.Fprintf(w, "    recorded: %s\n    replayed: %s\n", sideOf(d, d.Recorded, o.Recorded.Size), sideOf(d, d.Replayed, o.Replayed.Size))
	}
}

// sideOf is one side of a difference.
func sideOf(d *replay.Difference, shown string, size int64) string {
	if d.Line == 0 && shown != "" {
		shown = "hexadecimal " + shown
	}
	if d.Offset == size {
		shown += " (ends after " + contracts.Count(size, "byte", "bytes") + ")"
	}
	return contracts.Lines(shown)
}

// replayShell opens a shell with what the task had.
func (l *located) replayShell(c *cli.Context, worker string, task jobs.Task) error {
	env := command.EnvOf(c)
	data, err := json.Marshal(task.Sim)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "mops-task-*.json")
	if err == nil {
		defer func() { _ = os.Remove(f.Name()) }()
		_, err = f.Write(append(data, '\n'))
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StagePrepare, Message: "the task cannot be written: " + err.Error()}).Because(err)
	}
	shell := env.Getenv("SHELL")
	if shell == "" {
		shell = "sh"
	}
	cmd := exec.Command(worker, "--env-file", l.environment.Path, "run", l.job.Bundle.String(), "--task", f.Name(), "--quiet", "--", shell)
	cmd.Dir, cmd.Env = env.Dir, workerEnviron(env, l.home)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr
	return runVisibly(c, cmd)
}
