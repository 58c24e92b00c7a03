package cli

import (
	"context"
	"log/slog"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/dask"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/process"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/local"
	"github.com/modelops-suite/modelops-go/modelops/internal/localdask"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

const localDaskName = "local-dask"

// localDaskCommand is the process of the local Dask cluster, which "mops infra up
// --with-dask" starts.
func localDaskCommand() *cli.Command {
	return &cli.Command{
		Name:   localDaskName,
		Usage:  "run the local Dask cluster until it is stopped",
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the cluster", Required: true},
			&cli.StringFlag{Name: "instance", Usage: "`ID` that it answers", Required: true},
		},
		Action: func(c *cli.Context) error {
			log := slog.New(slog.NewTextHandler(command.EnvOf(c).Stderr, nil))
			return localdask.Serve(c.Context, c.String("dir"), daemon.Options{ID: c.String("instance")}, log)
		},
	}
}

// daskFlags choose the local cluster.
func daskFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "with-dask", Usage: "run a Dask cluster on this machine as well, which jobs then run on; --with-dask=false removes it"},
		&cli.IntFlag{Name: "workers", Usage: "`N` workers of that cluster, which share the machine; 2 when not given"},
		interruptFlag(),
	}
}

// useDask has the provider make what the flags say.
func useDask(c *cli.Context, t *target) error {
	if !c.IsSet("with-dask") {
		if c.IsSet("workers") {
			return command.Usage("mops infra up --with-dask --workers 2", "--workers goes with --with-dask")
		}
		return nil
	}
	p, ok := t.Provider.(*local.Provider)
	if !ok {
		return command.Usage("mops infra up", "--with-dask is for the local environment, not for provider %s", t.Name())
	}
	if p.WithoutDask = !c.Bool("with-dask"); p.WithoutDask {
		t.files.WithoutCompute = true
		return nil
	}
	workers := 2
	if c.IsSet("workers") {
		workers = c.Int("workers")
	}
	if workers < 1 || workers > 1000 {
		return command.Usage("mops infra up --with-dask --workers 2", "--workers is 1 to 1000")
	}
	if err := process.Supported(); err != nil {
		return err
	}
	python, err := daskPython(c)
	if err != nil {
		return err
	}
	machine := process.ThisMachine()
	p.Dask = &localdask.Spec{Workers: workers, Threads: max(1, runtime.GOMAXPROCS(0)/workers), Memory: machine.Memory / int64(workers), Python: python}
	return nil
}

// daskPython is an interpreter with distributed, made if there is none yet.
func daskPython(c *cli.Context) (string, error) {
	env := command.EnvOf(c)
	home, err := homeOf(c)
	if err != nil {
		return "", err
	}
	worker, err := program.Find(env.Getenv, program.Worker)
	if err != nil {
		return "", err
	}
	return dask.Python(context.WithoutCancel(c.Context), worker, home, "", workerEnviron(env, home), noteWriter{c})
}

// noteWriter says what is written to it, a line at a time.
type noteWriter struct{ c *cli.Context }

func (w noteWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		command.Note(w.c, "%s", strings.TrimRight(line, "\n"))
	}
	return len(p), nil
}

// daskEnviron are the variables of the cluster's programs: those of workers, and which
// bundle-worker they run, so that a cluster's machines are imitated by the very files that
// were built together.
func daskEnviron(env command.Env, home string) []string {
	environ := workerEnviron(env, home)
	if worker, err := program.Find(env.Getenv, program.Worker); err == nil {
		environ = append(environ, "MODELOPS_BUNDLE_WORKER="+worker)
	}
	return environ
}
