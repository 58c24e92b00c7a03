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
	"github.com/modelops-suite/modelops-go/modelops/internal/program"
)

// programTimeout bounds a question to another program about itself.
const programTimeout = 20 * time.Second

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check what the flow needs, step by step, and say how to mend it",
		Description: "Each check says what it looked at. The storage check makes and removes a small object.\n" +
			"The exit code is 1 when a check failed.",
		UsageText: "mops doctor",
		Flags:     []cli.Flag{envFlag()},
		Action:    doctor,
	}
}

func doctor(c *cli.Context) error {
	checks := examine(c)
	failed := 0
	for _, check := range checks {
		if check.Status == checkFailed {
			failed++
		}
	}
	document := map[string]any{"ok": failed == 0, "checks": checks}
	err := command.Print(c, document, func(w io.Writer) {
		for _, check := range checks {
			check.text(w)
		}
	})
	if err == nil && failed > 0 {
		return &command.Exited{Code: 1}
	}
	return err
}

// examine does every check, in the order of the flow. What needs an earlier one that
// failed is skipped.
func examine(c *cli.Context) []check {
	env := command.EnvOf(c)
	checks := []check{checkHome(c)}
	chosen, environment := checkEnvironment(c)
	checks = append(checks, environment)
	if chosen == nil {
		checks = append(checks, check{Name: "registry"}.skipped("there is no environment to say where"), check{Name: "storage"}.skipped("there is no environment to say where"))
	} else {
		checks = append(checks, checkRegistry(c.Context, chosen.Env.Registry))
		if chosen.Env.Storage == nil {
			checks = append(checks, check{Name: "storage", Looked: chosen.Path}.ok("the environment has none: jobs stay on this machine"))
		} else {
			checks = append(checks, checkStorage(c.Context, chosen.Env, true))
		}
	}
	return append(checks, checkProgram(c.Context, env, program.Bundle), checkWorker(c.Context, env), checkPython(c.Context, env))
}

func checkHome(c *cli.Context) check {
	check := check{Name: "home", Looked: "MODELOPS_HOME"}
	home, err := homeOf(c)
	if err != nil {
		return check.failedWith(err)
	}
	check.Looked = home
	if err := environment.CheckDirectory(home); err != nil {
		return check.failedWith(err)
	}
	if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
		return check.ok("it is not there yet; mops infra up makes it")
	}
	probe, err := os.CreateTemp(home, ".doctor-*")
	if err != nil {
		return check.failed(contracts.CodeDenied, "make it writable for you, or set MODELOPS_HOME", "nothing can be written there")
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return check.ok("it belongs to you, and can be written")
}

func checkEnvironment(c *cli.Context) (*environment.Chosen, check) {
	check := check{Name: "environment"}
	home, err := homeOf(c)
	if err != nil {
		return nil, check.failedWith(err)
	}
	env := command.EnvOf(c)
	check.Looked = environment.Open(home).Dir()
	pin, err := projectPin(env.Dir)
	if err != nil {
		return nil, check.failedWith(err)
	}
	chosen, err := environment.Open(home).Resolve(environment.Request{Flag: c.String("env"), ProjectPin: pin, Getenv: env.Getenv, ForProject: true})
	if err != nil {
		return nil, check.failedWith(err)
	}
	check.Looked = chosen.Path
	check = check.ok("%s", chosen)
	for _, warning := range chosen.Warnings {
		check.Detail += "; " + withHint(warning)
	}
	return chosen, check
}

func checkProgram(ctx context.Context, env command.Env, name string) check {
	c := check{Name: name, Looked: "beside mops, and PATH"}
	path, err := program.Find(env.Getenv, name)
	if err != nil {
		return c.failedWith(err)
	}
	c.Looked = path
	out, err := output(ctx, env, path, "--version", "--json")
	if err != nil {
		return c.failed(contracts.CodeFailed, "install it again", "it does not run: %v", err)
	}
	var build command.Build
	if err := json.Unmarshal(out, &build); err != nil || build.Contract == "" {
		return c.failed(contracts.CodeContractMismatch, "install the programs of one release", "it does not say which version it is")
	}
	if build.Contract != contracts.ContractVersion {
		return c.failed(contracts.CodeContractMismatch, "install the programs of one release", "it speaks version %s of the contract, and mops %s", build.Contract, contracts.ContractVersion)
	}
	return c.ok("version %s", build.Version)
}

func checkWorker(ctx context.Context, env command.Env) check {
	if runtime.GOOS == "windows" {
		return check{Name: program.Worker, Looked: runtime.GOOS}.skipped("simulations run on Linux and macOS; on Windows, in WSL")
	}
	return checkProgram(ctx, env, program.Worker)
}

// oldestPython is the oldest version that runs what the worker gives it.
const oldestPython = 9 // 3.9

func checkPython(ctx context.Context, env command.Env) check {
	c := check{Name: "python", Looked: "python3 on PATH"}
	path := ""
	for _, dir := range filepath.SplitList(env.Getenv("PATH")) {
		if found, err := exec.LookPath(filepath.Join(dir, "python3")); err == nil && filepath.IsAbs(dir) {
			path = found
			break
		}
	}
	if path == "" {
		return c.failed(contracts.CodeNotFound, "install Python 3; bundles with a command of their own need none", "there is none")
	}
	c.Looked = path
	out, err := output(ctx, env, path, "-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])")
	if err != nil {
		return c.failed(contracts.CodeFailed, "install Python 3", "it does not run: %v", err)
	}
	version := strings.TrimSpace(string(out))
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major != 3 || minor < oldestPython {
		return c.failed(contracts.CodeUnsupported, "install a newer one", "it is %s; at least 3.%d is needed", contracts.Quote(version), oldestPython)
	}
	return c.ok("version %s", version)
}

// output runs a program and returns its stdout.
func output(ctx context.Context, env command.Env, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = env.Dir, env.Environ
	return cmd.Output()
}
