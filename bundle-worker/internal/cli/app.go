//go:build unix

// Package cli is the program bundle-worker: one file for each command, thin over the
// packages that do the work. It links no command-line library: the worker stays small.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/acrauth"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/provider"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
)

// Env is everything that the program takes from its process.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string
	Program        string // its own executable, which becomes the guards of what it runs
}

// OSEnv is the process's own.
func OSEnv() Env {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Program: program}
}

// Getenv is the value of an environment variable, or "".
func (e Env) Getenv(name string) string {
	for _, variable := range e.Environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// program is one run of the program.
type program struct {
	env      Env
	flags    flags
	identity *acrauth.Identity
}

// Main runs the program and answers with its exit code.
func Main(ctx context.Context, env Env, args []string) int {
	p := &program{env: env, identity: acrauth.Default()}
	err := p.main(ctx, args[1:])
	if ahead := harness.OfExec(); ahead != nil {
		ahead.Drop() // which nobody took
	}
	return p.exit(ctx, err)
}

func (p *program) main(ctx context.Context, args []string) error {
	command, rest, err := p.flags.parse(commands(), args)
	switch {
	case err != nil:
		return err
	case p.flags.version:
		return p.version()
	case command == nil:
		_, err := io.WriteString(p.env.Stdout, usage(commands()))
		return err
	case p.flags.help:
		_, err := io.WriteString(p.env.Stdout, command.help())
		return err
	}
	return command.run(ctx, p, rest)
}

// commands are the program's, in the order of its help.
func commands() []command {
	return []command{
		ensureLocalCommand(),
		runCommand(),
		execCommand(),
		serveCommand(),
		ensurePythonCommand(),
		daskPluginCommand(),
		cacheListCommand(),
		cacheVerifyCommand(),
		cacheGCCommand(),
		sharedGCCommand(),
		versionCommand(),
	}
}

// config reads the configuration and shows it on stderr.
func (p *program) config() (*config.Config, error) {
	c, err := config.Load(p.env.Getenv, p.flags.envFile)
	if err != nil {
		return nil, err
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(p.env.Stderr, "warning: %s: %s\n", c.EnvironmentFile, warning)
	}
	for _, ignored := range c.Ignored {
		fmt.Fprintf(p.env.Stderr, "warning: %s\n", ignored)
	}
	p.show(c)
	return c, nil
}

// show says what is in force, and why.
func (p *program) show(c *config.Config) {
	if p.flags.quiet {
		return
	}
	for _, line := range c.Lines() {
		p.note("%s", line)
	}
}

// note says something that is neither data nor an error.
func (p *program) note(format string, args ...any) {
	if !p.flags.quiet {
		fmt.Fprintf(p.env.Stderr, format+"\n", args...)
	}
}

func (p *program) openCache(c *config.Config) (*cache.Cache, error) { return cache.Open(c.CacheDir) }

func (p *program) repository(c *config.Config, name string) (*bundleoci.Repository, error) {
	return bundleoci.Open(c.Environment, name, bundleoci.Options{
		Identity:         p.identity,
		CredentialSource: c.CredentialSource,
		Reload:           c.Reload,
		Storage:          storageOf(c),
		Note:             p.note,
		UserAgent:        "bundle-worker/" + build().Version,
	})
}

// storageOf opens the storage of the environment.
func storageOf(c *config.Config) func() (blobstore.Store, error) {
	return func() (blobstore.Store, error) { return provider.Open(c.Environment, provider.Limits{}) }
}

// Build says which build of the program this is.
type Build struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Contract string `json:"contract"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func build() Build {
	b := Build{"bundle-worker", "(devel)", contracts.ContractVersion, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	return b
}

func versionCommand() command {
	return command{
		name: "version", usage: "say which build this is", example: "bundle-worker version --json",
		run: func(_ context.Context, p *program, _ []string) error { return p.version() },
	}
}

func (p *program) version() error {
	b := build()
	return p.print(b, fmt.Sprintf("%s %s (contract %s, %s, %s)\n", b.Name, b.Version, b.Contract, b.Go, b.Platform))
}

// exit turns an error into what the user sees and the exit code: the only place that does.
func (p *program) exit(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[*childStatus](err); ok {
		return status.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &contracts.Error{Code: contracts.CodeInterrupted, Message: "interrupted"}
	}
	e := contracts.AsError(err)
	if p.flags.json {
		_, _ = p.env.Stdout.Write(contracts.MarshalEnvelope(e))
	} else {
		_, _ = io.WriteString(p.env.Stderr, e.Text())
	}
	return e.ExitCode()
}
