// Command mops-cloud is mops with the clouds linked. mops runs it in its own place for
// environments in a cloud, so that everything else starts without Pulumi.
package main

import (
	"context"
	"os"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/cli"
	"github.com/modelops-suite/modelops-go/modelops/internal/cli/cloud"
)

func main() {
	ctx, stop := command.SignalContext(context.Background())
	defer stop()
	os.Exit(cli.Main(ctx, command.OSEnv(), os.Args, cloud.Azure{}))
}
