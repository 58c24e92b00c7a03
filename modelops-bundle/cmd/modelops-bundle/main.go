// Command modelops-bundle packs a project's directory and moves it to and from an OCI
// registry. See its help, and package cli.
package main

import (
	"context"
	"os"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/cli"
)

func main() {
	ctx, stop := command.SignalContext(context.Background())
	defer stop()
	os.Exit(cli.Main(ctx, command.OSEnv(), os.Args))
}
