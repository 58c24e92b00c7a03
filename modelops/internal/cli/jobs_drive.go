package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/dask"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/process"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/driver"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

// driveCommand is the process that drives a job, which "mops jobs submit" starts.
func driveCommand() *cli.Command {
	return &cli.Command{
		Name:      "drive",
		Usage:     "drive a job to its end; its log is stderr",
		ArgsUsage: "JOB",
		Hidden:    true,
		Flags:     []cli.Flag{envFlag()},
		Action:    runDrive,
	}
}

func runDrive(c *cli.Context) error {
	log := slog.New(slog.NewTextHandler(command.EnvOf(c).Stderr, nil))
	l, err := locate(c)
	if err != nil {
		return err
	}
	token := rand.Text()
	unlock, err := l.local.Lock(l.job.ID, token)
	if err != nil {
		return err
	}
	defer unlock()
	kept := l.keepingLog(c.Context, token)
	err = drive(c, l, token, log)
	if err != nil {
		log.Error("driver failed", "error", err)
	}
	return errors.Join(err, kept())
}

func drive(c *cli.Context, l *located, token string, log *slog.Logger) error {
	env := command.EnvOf(c)
	worker, err := program.Find(env.Getenv, program.Worker)
	if err != nil {
		return err
	}
	d := &driver.Driver{Catalog: l.catalog, Log: log, Token: token}
	if l.job.Executor == jobs.Dask {
		d.Executor, err = l.onDask(workerEnviron(env, l.home), worker, log)
		if err != nil {
			return err
		}
		_, err = d.Drive(c.Context, l.job.ID)
		return err
	}
	// Nobody else drives this job here: whatever lies there is of drivers that died.
	outputs := filepath.Join(l.local.Dir(l.job.ID), "outputs")
	if err := os.RemoveAll(outputs); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(outputs) }()
	if err := os.MkdirAll(outputs, 0o700); err != nil {
		return err
	}
	own, err := os.MkdirTemp(outputs, "run-") // a worker that outlives its driver writes elsewhere
	if err != nil {
		return err
	}
	d.AtOnce = process.ThisMachine().Processes(l.job)
	d.Executor = &process.Executor{
		Program: worker, EnvFile: l.environment.Path, Environ: workerEnviron(env, l.home),
		Outputs: own, Processes: d.AtOnce, Log: log, Open: l.catalog.Results(l.job).Open,
	}
	_, err = d.Drive(c.Context, l.job.ID)
	return err
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

// startDriver starts the process that drives the job. ended is closed when it has ended.
func (l *located) startDriver(c *cli.Context) (ended <-chan struct{}, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, (&contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageSubmit, Message: "where this program lies is unknown: " + err.Error()}).Because(err)
	}
	args := []string{"jobs", "drive", l.job.ID, "--env", l.environment.Name}
	ended, err = driver.Spawn(l.local, l.job.ID, self, args, workerEnviron(command.EnvOf(c), l.home))
	if err != nil {
		to := jobs.Transition{State: jobs.Failed, Reason: err.Error(), Errors: []jobs.Faults{{Error: contracts.AsError(err)}}}
		if _, moveErr := l.catalog.Move(context.WithoutCancel(c.Context), l.job.ID, to); moveErr != nil {
			return nil, errors.Join(err, moveErr)
		}
	}
	return ended, err
}
