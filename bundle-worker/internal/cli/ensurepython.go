//go:build unix

package cli

import (
	"context"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv"
	"github.com/modelops-suite/modelops-go/contracts"
)

func ensurePythonCommand() command {
	return command{
		name: "ensure-python", usage: "make sure that the Python environment of a directory is on this node, and print its interpreter", args: []string{"DIR"},
		example: "bundle-worker ensure-python my-model",
		run:     runEnsurePython,
	}
}

type pythonAnswer struct {
	Python      string                      `json:"python"` // the interpreter, absolute
	Environment contracts.EnvironmentRecord `json:"environment"`
}

func runEnsurePython(ctx context.Context, p *program, args []string) error {
	c := config.CacheOnly(p.env.Getenv)
	dir, err := filepath.Abs(args[0]) // installers have a directory of their own
	if err != nil {
		return err
	}
	python, err := pyenv.Ensure(ctx, pyenv.Options{Bundle: dir, Root: c.VenvsDir, Environ: p.env.Environ, Log: p.env.Stderr, Supervisor: p.supervisor()})
	if err != nil {
		return err
	}
	defer python.Release()
	return p.print(pythonAnswer{python.Python, python.Record}, python.Python+"\n")
}
