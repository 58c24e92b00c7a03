package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azcli"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

// programTimeout bounds a question to another program about itself.
const programTimeout = 20 * time.Second

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check what the flow needs, step by step, and say how to mend it",
		Description: "Each check says what it looked at, and is ok, a warning, failed, or skipped: not checked,\n" +
			"for a reason that is said. Where modelops.yaml says provider azure, or --provider does,\n" +
			"Azure's program az is asked about sign-in, subscription, roles, quota and names, and Pulumi is looked for.\n" +
			"Nothing is changed, but for the storage check, which makes and removes a small object.\n" +
			"The exit code is 1 when a check failed.",
		UsageText: "mops doctor\nmops doctor --provider azure",
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "provider", Usage: "`WHERE` environments are made: local or azure; by default what modelops.yaml says"},
			&cli.DurationFlag{Name: "timeout", Value: azcli.Timeout, Usage: "how long each question to az may take"},
		},
		Action: diagnose,
	}
}

func diagnose(c *cli.Context) error {
	if provider := c.String("provider"); provider != "" && provider != config.Local && provider != config.Azure {
		return command.Usage("mops doctor --provider azure", "provider %s is neither local nor azure", contracts.Quote(provider))
	}
	if c.Duration("timeout") <= 0 {
		return command.Usage("mops doctor --timeout 60s", "--timeout is %s", c.Duration("timeout"))
	}
	if l := linkageOf(c); l.cloud == nil && aboutCloud(c) {
		// Without the program that knows clouds, the rest is checked all the same.
		if err := contracts.Except(delegate(c, l.args), contracts.CodeNotFound); err != nil {
			return err
		}
	}
	checks := examine(c)
	failed := 0
	for _, check := range checks {
		if check.Status == doctor.Failed {
			failed++
		}
	}
	document := map[string]any{"ok": failed == 0, "checks": checks}
	err := command.Print(c, document, func(w io.Writer) {
		for _, check := range checks {
			check.Text(w)
		}
	})
	if err == nil && failed > 0 {
		return &command.Exited{Code: 1}
	}
	return err
}

// examine does every check, in the order of the flow. What needs an earlier one that
// failed is skipped.
func examine(c *cli.Context) []doctor.Check {
	env := command.EnvOf(c)
	checks := append([]doctor.Check{checkHome(c)}, checkProvider(c)...)
	chosen, environment := checkEnvironment(c)
	checks = append(checks, environment)
	if chosen == nil {
		checks = append(checks, doctor.Check{Name: "registry"}.Skipped("there is no environment to say where"), doctor.Check{Name: "storage"}.Skipped("there is no environment to say where"))
	} else {
		checks = append(checks, checkRegistry(c.Context, chosen.Env.Registry))
		if chosen.Env.Storage == nil {
			checks = append(checks, doctor.Check{Name: "storage", Looked: chosen.Path}.OK("the environment has none: jobs stay on this machine"))
		} else {
			checks = append(checks, checkStorage(c.Context, chosen.Env, true))
		}
		if compute := chosen.Env.Compute; compute != nil && compute.Scheduler != "" {
			checks = append(checks, checkScheduler(c.Context, compute))
		}
	}
	return append(checks, checkProgram(c.Context, env, program.Bundle), checkWorker(c.Context, env), checkPython(c.Context, env))
}

func checkHome(c *cli.Context) doctor.Check {
	check := doctor.Check{Name: "home", Looked: "MODELOPS_HOME"}
	home, err := homeOf(c)
	if err != nil {
		return check.FailedWith(err)
	}
	check.Looked = home
	if err := environment.CheckDirectory(home); err != nil {
		return check.FailedWith(err)
	}
	if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
		return check.OK("it is not there yet; mops infra up makes it")
	}
	probe, err := os.CreateTemp(home, ".doctor-*")
	if err != nil {
		return check.Failed(contracts.CodeDenied, "make it writable for you, or set MODELOPS_HOME", "nothing can be written there")
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return check.OK("it belongs to you, and can be written")
}

func checkEnvironment(c *cli.Context) (*environment.Chosen, doctor.Check) {
	check := doctor.Check{Name: "environment"}
	home, err := homeOf(c)
	if err != nil {
		return nil, check.FailedWith(err)
	}
	env := command.EnvOf(c)
	check.Looked = environment.Open(home).Dir()
	pin, err := projectPin(env.Dir)
	if err != nil {
		return nil, check.FailedWith(err)
	}
	chosen, err := environment.Open(home).Resolve(environment.Request{Flag: c.String("env"), ProjectPin: pin, Getenv: env.Getenv, ForProject: true})
	if err != nil {
		return nil, check.FailedWith(err)
	}
	check.Looked = chosen.Path
	check = check.OK("%s", chosen)
	for _, warning := range chosen.Warnings {
		check.Detail += "; " + withHint(warning)
	}
	return chosen, check
}

func checkProgram(ctx context.Context, env command.Env, name string) doctor.Check {
	c := doctor.Check{Name: name, Looked: "beside mops, and PATH"}
	path, err := program.Find(env.Getenv, name)
	if err != nil {
		return c.FailedWith(err)
	}
	c.Looked = path
	out, err := output(ctx, env, path, "--version", "--json")
	if err != nil {
		return c.Failed(contracts.CodeFailed, "install it again", "it does not run: %v", err)
	}
	var build command.Build
	if err := json.Unmarshal(out, &build); err != nil || build.Contract == "" {
		return c.Failed(contracts.CodeContractMismatch, "install the programs of one release", "it does not say which version it is")
	}
	if build.Contract != contracts.ContractVersion {
		return c.Failed(contracts.CodeContractMismatch, "install the programs of one release", "it speaks version %s of the contract, and mops %s", build.Contract, contracts.ContractVersion)
	}
	return c.OK("version %s", build.Version)
}

func checkWorker(ctx context.Context, env command.Env) doctor.Check {
	if runtime.GOOS == "windows" {
		return doctor.Check{Name: program.Worker, Looked: runtime.GOOS}.Skipped("simulations run on Linux and macOS; on Windows, in WSL")
	}
	return checkProgram(ctx, env, program.Worker)
}

// oldestPython is the oldest version that runs what the worker gives it.
const oldestPython = 9 // 3.9

func checkPython(ctx context.Context, env command.Env) doctor.Check {
	c := doctor.Check{Name: "python", Looked: "python3 on PATH"}
	path := ""
	for _, dir := range filepath.SplitList(env.Getenv("PATH")) {
		if found, err := exec.LookPath(filepath.Join(dir, "python3")); err == nil && filepath.IsAbs(dir) {
			path = found
			break
		}
	}
	if path == "" {
		return c.Failed(contracts.CodeNotFound, "install Python 3; bundles with a command of their own need none", "there is none")
	}
	c.Looked = path
	out, err := output(ctx, env, path, "-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])")
	if err != nil {
		return c.Failed(contracts.CodeFailed, "install Python 3", "it does not run: %v", err)
	}
	version := strings.TrimSpace(string(out))
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major != 3 || minor < oldestPython {
		return c.Failed(contracts.CodeUnsupported, "install a newer one", "it is %s; at least 3.%d is needed", contracts.Quote(version), oldestPython)
	}
	return c.OK("version %s", version)
}

// output runs a program and returns its stdout.
func output(ctx context.Context, env command.Env, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = env.Dir, env.Environ
	return cmd.Output()
}
