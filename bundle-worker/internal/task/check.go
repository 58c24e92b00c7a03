//go:build unix

package task

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// check imports the bundle's wire in an environment that nobody uses yet. What fails in a
// package's own code is the environment's fault: it is not kept, and no node gets it. What
// fails in the bundle's is for the task to tell; the environment is as good as it was asked
// for.
func (r *Runner) check(ctx context.Context, p *prepared, python string) error {
	limited, cancel := startLimit(ctx)
	defer cancel()
	interpreter, err := resolveInterpreter(limited, python)
	if err != nil {
		return err
	}
	session, err := wire.Start(limited, wire.Launch{
		Supervisor: r.Supervisor, Interpreter: interpreter, Bundle: p.bundle.Path, Environ: withPrograms(r.Environ, filepath.Dir(python)),
		Bytecode: filepath.Join(r.Cache.Root(), "harness"),
	})
	if err != nil {
		return err
	}
	defer session.Close()
	installed, err := session.EntryPoints(limited)
	if err != nil {
		return err
	}
	entry, err := wire.Find(p.bundle.Path, p.project, installed)
	if err != nil || entry.Kind == wire.KindCommand {
		return nil // the bundle's affair; nothing is imported for a command
	}
	err = session.Load(limited, entry.Name)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil || !broken(contracts.AsError(err), filepath.Dir(filepath.Dir(python))) {
		return nil
	}
	e := *contracts.AsError(err)
	e.Code, e.Stage = contracts.CodeDependencies, contracts.StagePrepare
	e.Message = "what was installed for the bundle does not work: " + e.Message
	e.Hint = "the environment was not kept; correct the dependencies, or install what they need where bundle-worker runs"
	return &e
}

// broken says whether an import failed in a file of the environment, in a way that is not
// a call's fault, or took its process along.
func broken(e *contracts.Error, environment string) bool {
	if e.Code == contracts.CodeSignal {
		return true
	}
	const frame = `File "`
	at := strings.LastIndex(e.Traceback, frame)
	return slices.Contains([]string{"ImportError", "ModuleNotFoundError", "SyntaxError"}, e.Type) &&
		at >= 0 && strings.HasPrefix(e.Traceback[at+len(frame):], environment+string(filepath.Separator))
}
