package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/dask"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/process"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/driver"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

// driveCommand is the process that drives a job, which "mops jobs submit" starts, here or
// in a cluster.
func driveCommand() *cli.Command {
	return &cli.Command{
		Name:      "drive",
		Usage:     "drive a job to its end; its log is stderr",
		ArgsUsage: "JOB",
		Hidden:    true,
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "env-file", Usage: "the environment's file, which is mounted as `FILE`: this is a pod"},
			&cli.IntFlag{Name: "start", Usage: "the `NUMBER` of the transition that this driver was started by, and others before it perhaps"},
		},
		Action: runDrive,
	}
}

func runDrive(c *cli.Context) error {
	stderr := command.EnvOf(c).Stderr
	l, err := locateMounted(c)
	if err != nil {
		return err
	}
	token := rand.Text()
	unlock, err := l.local.Lock(l.job.ID, token)
	if err != nil {
		return err
	}
	defer unlock()
	if l.mounted {
		file, err := l.openLog(c)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		stderr = io.MultiWriter(stderr, file)
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	kept := l.keepingLog(c.Context, token)
	ended, err := drive(c, l, token, log)
	if err != nil {
		log.Error("driver failed", "error", err)
	}
	if err := errors.Join(err, kept()); err != nil {
		return err
	}
	if l.mounted && (ended.State == jobs.Failed || ended.State == jobs.Partial) {
		return &command.Exited{Code: 1} // for those who look at the cluster: the job did not succeed
	}
	return nil
}

// locateMounted is locate, where a pod has the environment file mounted.
func locateMounted(c *cli.Context) (*located, error) {
	path := c.String("env-file")
	if path == "" {
		return locate(c)
	}
	home, err := homeOf(c)
	if err != nil {
		return nil, err
	}
	loaded, err := environment.LoadFile(path)
	if err != nil {
		return nil, err
	}
	name := contracts.NormalizeEnvironmentName(c.String("env"))
	if loaded.Env.Environment != name {
		return nil, &contracts.Error{Code: contracts.CodeEnvironmentMismatch, Stage: contracts.StageEnvironment,
			Message: contracts.Quote(path) + " is the file of environment " + loaded.Env.Environment + ", and the job's is " + name,
			Hint:    "the workspace was made for another environment: mops workspace up --env " + name}
	}
	l := &located{home: home, local: jobs.LocalIn(home), mounted: true, environment: &environment.Chosen{Name: name, Why: path, Loaded: loaded}}
	store, err := jobs.Storage(loaded.Env, home)
	if err != nil {
		return nil, err
	}
	l.catalog = jobs.Open(store, nil)
	l.job, err = l.catalog.Load(c.Context, c.Args().First())
	return l, err
}

// openLog opens the log of a driver in a pod, from where it is copied to the storage. It
// goes on with what drivers before it wrote.
func (l *located) openLog(c *cli.Context) (*os.File, error) {
	if err := l.adoptLog(c.Context); err != nil {
		return nil, err
	}
	return os.OpenFile(l.local.LogFile(l.job.ID), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

func drive(c *cli.Context, l *located, token string, log *slog.Logger) (ended jobs.Transition, err error) {
	env := command.EnvOf(c)
	worker, err := program.Find(env.Getenv, program.Worker)
	if err != nil {
		return ended, err
	}
	d := &driver.Driver{Catalog: l.catalog, Log: log, Token: token, Start: c.Int("start")}
	if l.job.Executor == jobs.Dask {
		d.Inline = dask.Inline
		d.Executor, err = l.onDask(workerEnviron(env, l.home), worker, log)
		if err != nil {
			return ended, err
		}
		return d.Drive(c.Context, l.job.ID)
	}
	// Nobody else drives this job here: whatever lies there is of drivers that died.
	outputs := filepath.Join(l.local.Dir(l.job.ID), "outputs")
	if err := os.RemoveAll(outputs); err != nil {
		return ended, err
	}
	defer func() { _ = os.RemoveAll(outputs) }()
	if err := os.MkdirAll(outputs, 0o700); err != nil {
		return ended, err
	}
	own, err := os.MkdirTemp(outputs, "run-") // a worker that outlives its driver writes elsewhere
	if err != nil {
		return ended, err
	}
	machine := process.ThisMachine()
	if err := machine.Check(l.job.Resources); err != nil {
		return ended, err
	}
	d.AtOnce = machine.Processes(l.job)
	d.Executor = &process.Executor{
		Program: worker, EnvFile: l.environment.Path, Environ: workerEnviron(env, l.home),
		Outputs: own, Processes: d.AtOnce, Log: log, Open: l.catalog.Results(l.job).Open,
	}
	return d.Drive(c.Context, l.job.ID)
}

// onDask is the executor of the environment's cluster.
func (l *located) onDask(environ []string, worker string, log *slog.Logger) (*dask.Executor, error) {
	compute := l.environment.Env.Compute
	if compute == nil || compute.Scheduler == "" {
		return nil, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
			Message: "environment " + l.environment.Name + " no longer names a Dask scheduler", Hint: "mops infra up --with-dask starts one on this machine"}
	}
	text, err := os.ReadFile(l.environment.Path)
	if err != nil {
		return nil, err
	}
	return &dask.Executor{Compute: *compute, Worker: worker, Environment: text, Job: l.job.ID, Home: l.home, Environ: environ, Log: log}, nil
}

// workerEnviron are the variables that the other programs run with: this program's own,
// and its home and caches, unless the user placed these elsewhere.
func workerEnviron(env command.Env, home string) []string {
	environ := append([]string{}, env.Environ...)
	set := func(name, value string) {
		if env.Getenv(name) == "" {
			environ = append(environ, name+"="+value)
		}
	}
	set("MODELOPS_HOME", home)
	set("MODELOPS_BUNDLES_CACHE_DIR", filepath.Join(home, "cache", "bundles"))
	set("MODELOPS_VENVS_DIR", filepath.Join(home, "cache", "venvs"))
	return environ
}

// startDriver starts what drives the job, after the transition to Submitted that says
// where. ended is closed when it has ended, where that can be seen.
func (l *located) startDriver(c *cli.Context, start jobs.Transition) (ended <-chan struct{}, err error) {
	if start.Driver == jobs.InCluster {
		err = l.lookout.Start(c.Context, l.job, start.Number)
		l.lookout.at = time.Time{} // what was seen is of before
	} else {
		ended, err = l.spawn(c)
	}
	if err != nil {
		to := jobs.Transition{State: jobs.Failed, Reason: err.Error(), Errors: []jobs.Faults{{Error: contracts.AsError(err)}}}
		if _, moveErr := l.catalog.Move(context.WithoutCancel(c.Context), l.job.ID, to); moveErr != nil {
			return nil, errors.Join(err, moveErr)
		}
	}
	return ended, err
}

// spawn starts the process that drives the job on this machine.
func (l *located) spawn(c *cli.Context) (ended <-chan struct{}, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, (&contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageSubmit, Message: "where this program lies is unknown: " + err.Error()}).Because(err)
	}
	args := []string{"jobs", "drive", l.job.ID, "--env", l.environment.Name}
	return driver.Spawn(l.local, l.job.ID, self, args, workerEnviron(command.EnvOf(c), l.home))
}
