package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

// projectDir is the directory that makes a directory a project.
const projectDir = ".modelops-bundle"

func contextCause(c *cli.Context) error { return context.Cause(c.Context) }

func envFlag() cli.Flag {
	return &cli.StringFlag{Name: "env", Aliases: []string{"e"}, Usage: "use the environment `NAME`"}
}

// homeOf is the suite's home.
func homeOf(c *cli.Context) (string, error) { return environment.Home(command.EnvOf(c).Getenv) }

// resolve finds the environment in force, for a command with envFlag, and says on stderr
// which it is and why.
func resolve(c *cli.Context, forProject bool) (*environment.Chosen, error) {
	return resolveNamed(c, c.String("env"), forProject)
}

func resolveNamed(c *cli.Context, name string, forProject bool) (*environment.Chosen, error) {
	chosen, err := chooseNamed(c, name, forProject)
	if err == nil {
		announce(c, chosen)
	}
	return chosen, err
}

// chooseNamed is resolveNamed without a word.
func chooseNamed(c *cli.Context, name string, forProject bool) (*environment.Chosen, error) {
	env := command.EnvOf(c)
	home, err := homeOf(c)
	if err != nil {
		return nil, err
	}
	pin, err := projectPin(env.Dir)
	if err != nil {
		return nil, err
	}
	return environment.Open(home).Resolve(environment.Request{
		Flag: name, ProjectPin: pin, Getenv: env.Getenv, ForProject: forProject,
	})
}

// announce says which environment it is and why.
func announce(c *cli.Context, chosen *environment.Chosen) {
	command.Note(c, "%s: %s", chosen, chosen.Env.Registry.LoginServer)
	for _, warning := range chosen.Warnings {
		command.Warn(c, "%s: %s", chosen.Path, withHint(warning))
	}
}

// withHint is a problem and what to do about it, on one line.
func withHint(p contracts.Problem) string {
	if p.Hint == "" {
		return p.String()
	}
	return p.String() + " (" + p.Hint + ")"
}

// projectPin is the environment that the project around dir names; "" outside one.
func projectPin(dir string) (string, error) {
	const maxPin = 4 << 10
	for {
		if info, err := os.Stat(filepath.Join(dir, projectDir)); err == nil && info.IsDir() {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", nil
		}
		dir = parent
	}
	path := filepath.Join(dir, projectDir, "env")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", readError(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPin))
	if err != nil {
		return "", readError(path, err)
	}
	return strings.TrimSpace(string(data)), nil
}

func readError(path string, err error) error {
	code := contracts.CodeFailed
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = contracts.CodeNotFound
	case errors.Is(err, fs.ErrPermission):
		code = contracts.CodeDenied
	}
	reason := err
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathError.Err
	}
	return (&contracts.Error{Code: code, Message: "read " + contracts.Quote(path) + ": " + reason.Error()}).Because(err)
}

func showSecretsFlag() cli.Flag {
	return &cli.BoolFlag{Name: "show-secrets", Usage: "print passwords and keys"}
}
