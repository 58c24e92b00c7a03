package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/process"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/submit"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

func submitCommand() *cli.Command {
	return &cli.Command{
		Name:      "submit",
		Usage:     "run a study, with exactly the code and data of this project",
		ArgsUsage: "STUDY",
		Description: `The project around the current directory, or around the study, is pushed first, under a
tag of the job's own, and the job is bound to the digest of what was pushed. Results that
an earlier job has of the same content are reused. The job goes on when the terminal is
closed, and, where the environment names a Kubernetes cluster, when this machine is: the
driver is a pod there then.

A bundle that is named with --bundle gets the job's own tag too, where the registry permits
that, so that the registry keeps it for as long as there is the job.

--dry-run pushes and makes nothing. With --json it answers tasks, run and reused (tasks;
absent when the content is not known before a push), last_run (the newest job of this study
and project: job_id, state, created, bundle, new_parameter_sets, removed_parameter_sets; null
when there is none), and changes (path, change: added, modified or deleted) since
changes_since: that job, or "push", the last push or pull; "" when it is not known.`,
		UsageText: "mops jobs submit study.json --wait\nmops jobs submit study.json --bundle my-model:v2 --limit 10",
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "auto", Usage: "push the project first, which is what happens without --bundle"},
			&cli.StringFlag{Name: "bundle", Usage: "run the bundle `REF`, as it is in the registry"},
			&cli.StringFlag{Name: "project", Usage: "the project's `DIRECTORY`"},
			&cli.BoolFlag{Name: "wait", Usage: "follow the job to its end; exit code 1 when tasks failed"},
			&cli.IntFlag{Name: "limit", Usage: "run the first `N` tasks only"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would run, what is reused, and what changed since the last run of this study; push and make nothing"},
			&cli.StringFlag{Name: "executor", Usage: "`WHERE` tasks run: process or dask; dask when not given and the environment names a scheduler or a cluster"},
			&cli.StringFlag{Name: "driver", Usage: "`WHERE` the driver runs: local or kubernetes; kubernetes when not given, tasks run on Dask, and the environment names a cluster"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "run `N` tasks at once; as many as fit by cores and memory otherwise"},
			&cli.BoolFlag{Name: "no-cache", Usage: "run also what has results already"},
			&cli.BoolFlag{Name: "keep-going", Usage: "run all tasks, however many fail alike"},
			&cli.IntFlag{Name: "stop-after", Usage: "end the job after `K` failures alike without a success between them; 0 is --keep-going", Value: 20},
			&cli.StringFlag{Name: "timeout", Usage: "time limit of one task, as `DURATION`: 90s, 1h30m"},
			&cli.StringFlag{Name: "job-timeout", Usage: "time limit of the job, as `DURATION`; what has results then keeps them, and resume runs the rest"},
		},
		Action: runSubmit,
	}
}

type submitAnswer struct {
	JobID       string              `json:"job_id"`
	Bundle      contracts.BundleRef `json:"bundle"`
	Content     contracts.Digest    `json:"content_digest"`
	Environment string              `json:"environment"`
	Executor    string              `json:"executor"`
	Driver      string              `json:"driver"`
	Tasks       int                 `json:"tasks"`
	Reused      int                 `json:"reused"`
	AtOnce      int                 `json:"at_once,omitempty"`  // tasks that run at the same time
	Resources   contracts.Resources `json:"resources,omitzero"` // of each task

	// With --wait, how it ended.
	State  jobs.State       `json:"state,omitempty"`
	Status *jobs.Status     `json:"status,omitempty"`
	Error  *contracts.Error `json:"error,omitempty"`
}

// atOnce says how many tasks run at once, where that is known: a cluster's driver finds out.
func (a *submitAnswer) atOnce() string {
	if a.AtOnce == 0 {
		return ""
	}
	return fmt.Sprintf(", %d at once", a.AtOnce)
}

func runSubmit(c *cli.Context) error {
	request, err := submitRequest(c)
	if err != nil {
		return err
	}
	s, out, err := newSubmitter(c, request)
	if err != nil {
		return err
	}
	plan, err := s.Prepare(c.Context, *request, c.Bool("dry-run"))
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return printPlan(c, plan)
	}
	start, err := s.Submit(c.Context, plan)
	if err != nil {
		return err
	}
	at := &located{job: plan.Job, catalog: plan.Catalog, local: jobs.LocalIn(s.Home), home: s.Home, environment: s.Environment, lookout: out}
	ended, err := at.startDriver(c, start)
	if err != nil {
		return err
	}
	answer := &submitAnswer{JobID: plan.Job.ID, Bundle: plan.Job.Bundle, Content: plan.Job.Content, Environment: plan.Job.Environment,
		Executor: plan.Job.Executor, Driver: plan.Job.Driver, Tasks: plan.Job.Tasks, Reused: plan.Reused, AtOnce: plan.AtOnce, Resources: plan.Job.Resources}
	command.Note(c, "job %s: %s, %s already%s", answer.JobID, contracts.Count(answer.Tasks, "task", "tasks"), contracts.Count(answer.Reused, "has a result", "have results"), answer.atOnce())
	if c.Bool("wait") {
		return at.follow(c, ended, answer)
	}
	command.Note(c, "follow it: mops jobs status %s", answer.JobID)
	return command.Print(c, answer, func(w io.Writer) { fmt.Fprintln(w, answer.JobID) })
}

// submitRequest reads the flags.
func submitRequest(c *cli.Context) (*submit.Request, error) {
	env := command.EnvOf(c)
	r := &submit.Request{
		StudyFile: env.Path(c.Args().First()), Bundle: c.String("bundle"), Executor: c.String("executor"), Driver: c.String("driver"),
		Options: jobs.Options{
			Limit: c.Int("limit"), Processes: c.Int("jobs"), NoCache: c.Bool("no-cache"),
			KeepGoing: c.Bool("keep-going") || c.Int("stop-after") == 0, StopAfter: c.Int("stop-after"),
			Timeout: c.String("timeout"), JobTimeout: c.String("job-timeout"),
		},
	}
	for _, flag := range []string{"timeout", "job-timeout"} {
		if _, err := (contracts.Resources{Timeout: c.String(flag)}).TimeoutDuration(); err != nil {
			return nil, command.Usage("--"+flag+" 90s", "--%s %s is not a duration", flag, contracts.Quote(c.String(flag)))
		}
	}
	for _, check := range []struct {
		wrong   bool
		problem string
	}{
		{c.IsSet("limit") && r.Options.Limit < 1, "--limit is less than 1"},
		{c.IsSet("jobs") && r.Options.Processes < 1, "--jobs is less than 1"},
		{r.Options.StopAfter < 0, "--stop-after is less than 0"},
		{c.Bool("auto") && r.Bundle != "", "--auto and --bundle exclude each other"},
		{!oneOf(r.Executor, "", "process", "dask"), "--executor is process or dask"},
		{!oneOf(r.Driver, "", jobs.Here, jobs.InCluster), "--driver is local or kubernetes"},
	} {
		if check.wrong {
			return nil, command.Usage("", "%s", check.problem)
		}
	}
	project, err := findProject(c, r.StudyFile)
	if err != nil && (r.Bundle == "" || contracts.AsError(err).Code != contracts.CodeProjectNotFound) {
		return nil, err
	}
	if project != nil {
		r.ProjectDir, r.ProjectPin, r.ProjectName = project.Dir, project.Pin, project.Name
	}
	return r, nil
}

func oneOf(s string, words ...string) bool {
	for _, word := range words {
		if s == word {
			return true
		}
	}
	return false
}

// findProject is the project that is named, or the one around the current directory,
// else around the study.
func findProject(c *cli.Context, study string) (*submit.Project, error) {
	env := command.EnvOf(c)
	if dir := c.String("project"); dir != "" {
		return submit.FindProject(env.Path(dir))
	}
	return submit.FindProject(env.Dir, filepath.Dir(study))
}

// newSubmitter is who makes jobs in the environment in force, and the lookout on its
// cluster, for a driver that runs there.
func newSubmitter(c *cli.Context, r *submit.Request) (*submit.Submitter, *lookout, error) {
	env := command.EnvOf(c)
	home, err := homeOf(c)
	if err != nil {
		return nil, nil, err
	}
	s := &submit.Submitter{
		Home: home, Machine: process.ThisMachine(),
		Note: func(format string, args ...any) { command.Note(c, format, args...) },
		Warn: func(format string, args ...any) { command.Warn(c, format, args...) },
	}
	s.Environment, err = environment.Open(home).Resolve(environment.Request{
		Flag: c.String("env"), ProjectPin: r.ProjectPin, Getenv: env.Getenv, ForProject: r.ProjectDir != "",
	})
	if err != nil {
		return nil, nil, err
	}
	out := &lookout{}
	if _, driver := submit.Places(s.Environment.Env, r.Executor, r.Driver); driver == jobs.InCluster {
		if out, err = useDrivers(c, s.Environment.Loaded); err != nil {
			return nil, nil, err
		}
	}
	announce(c, s.Environment)
	if out.fault != nil {
		return nil, nil, out.fault
	}
	if out.Drivers != nil {
		s.Drivers = out.Drivers
	}
	s.Programs, err = findPrograms(c, home)
	return s, out, err
}

// findPrograms are the suite's other programs.
func findPrograms(c *cli.Context, home string) (submit.Programs, error) {
	env := command.EnvOf(c)
	p := submit.Programs{Home: home, Environ: workerEnviron(env, home), Stderr: env.Stderr}
	var err error
	if p.Bundle, err = program.Find(env.Getenv, program.Bundle); err != nil {
		return p, err
	}
	p.Worker, err = program.Find(env.Getenv, program.Worker)
	return p, err
}

type planAnswer struct {
	DryRun      bool                 `json:"dry_run"`
	Bundle      *contracts.BundleRef `json:"bundle,omitempty"`
	Content     contracts.Digest     `json:"content_digest,omitempty"`
	Environment string               `json:"environment"`
	Executor    string               `json:"executor"`
	Driver      string               `json:"driver"`
	Tasks       int                  `json:"tasks"`
	Run         *int                 `json:"run,omitempty"`    // absent when the content is not known
	Reused      *int                 `json:"reused,omitempty"` // likewise
	Last        *submit.LastRun      `json:"last_run"`         // of this study; null when there was none
	Since       string               `json:"changes_since"`    // the last run's job, else "push": the last push or pull; "" when that is not known
	Changes     []submit.Change      `json:"changes"`          // files that differ from then
}

func printPlan(c *cli.Context, p *submit.Plan) error {
	a := planAnswer{DryRun: true, Content: p.Job.Content, Environment: p.Job.Environment, Executor: p.Job.Executor, Driver: p.Job.Driver, Tasks: p.Job.Tasks,
		Last: p.Last, Since: p.Since, Changes: append([]submit.Change{}, p.Changes...)}
	if !p.Unpushed {
		a.Bundle = &p.Job.Bundle
	}
	if p.Reused >= 0 {
		run := p.Job.Tasks - p.Reused
		a.Run, a.Reused = &run, &p.Reused
	}
	return command.Print(c, a, func(w io.Writer) {
		fmt.Fprintf(w, "%s of %s/%s\n", contracts.Count(a.Tasks, "task", "tasks"), contracts.Lines(p.Job.Study.Model), contracts.Lines(p.Job.Study.Scenario))
		switch {
		case a.Run != nil:
			fmt.Fprintf(w, "%d would run, %s already\n", *a.Run, contracts.Count(*a.Reused, "has a result", "have results"))
		default:
			fmt.Fprintln(w, "what would be reused is known only after a push")
		}
		if a.Last != nil {
			fmt.Fprintf(w, "last run %s, %s, %s: %s new, %s\n", a.Last.JobID, a.Last.State, localTime(a.Last.Created), contracts.Count(a.Last.NewSets, "parameter set is", "parameter sets are"), contracts.Count(a.Last.OldSets, "is gone", "are gone"))
		}
		switch {
		case a.Since == "":
		case len(a.Changes) == 0:
			fmt.Fprintf(w, "no file changed since %s\n", sinceText(a.Since))
		default:
			fmt.Fprintf(w, "changed since %s:\n", sinceText(a.Since))
		}
		for _, change := range a.Changes {
			fmt.Fprintf(w, "  %s %s\n", contracts.Lines(change.Change), contracts.Lines(change.Path))
		}
	})
}

func sinceText(since string) string {
	if since == "push" {
		return "the last push or pull"
	}
	return since
}
