// Command modelops-bundle packs a project's directory and moves it to and from an OCI
// registry. See its help, and package cli.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/cli"
)

// enoughMemory is from where on the collector works hard: what is under way in a transfer is
// bounded well below it, and garbage need not double that. Below it there is no need to.
const (
	enoughMemory = 96 << 20
	lazy         = 400 // percent of what is in use
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(lazy)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(enoughMemory)
	}
	ctx, stop := command.SignalContext(context.Background())
	defer stop()
	os.Exit(cli.Main(ctx, command.OSEnv(), os.Args))
}
