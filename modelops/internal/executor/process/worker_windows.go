package process

import (
	"context"
	"log/slog"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// Run refuses before any of these is called, see [Supported].

type launcher struct{}

func newLauncher() *launcher { return &launcher{} }

func (*launcher) close() {}

func (*launcher) start(*Executor, string, *slog.Logger) (*worker, error) { return nil, Supported() }

type worker struct{}

func (*worker) do(context.Context, jobs.Task) (*contracts.SimReturn, *contracts.Error) {
	return nil, contracts.AsError(Supported())
}

func (*worker) kill()  {}
func (*worker) close() {}
