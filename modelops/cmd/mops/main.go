// Command mops makes environments and runs studies in them. It is also installed as
// modelops. See its help, and package cli.
package main

import (
	"context"
	"os"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/cli"
)

func main() {
	ctx, stop := command.SignalContext(context.Background())
	defer stop()
	os.Exit(cli.Main(ctx, command.OSEnv(), os.Args, nil))
}
