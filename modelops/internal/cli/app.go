// Package cli is the program mops: one file per command, thin over the packages that do
// the work.
package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

// Main runs the program and answers with its exit code.
func Main(ctx context.Context, env command.Env, args []string) int {
	return command.Main(ctx, env, newApp(), args)
}

func newApp() *cli.App {
	return command.New(&cli.App{
		Name:  "mops",
		Usage: "make environments and run studies in them, with exactly the code and data that were pushed",
		Commands: []*cli.Command{
			initCommand(),
			infraCommand(),
			envCommand(),
			bundleCommand(),
			jobsCommand(),
			studyCommand(),
			doctorCommand(),
			localRegistryCommand(),
		},
	})
}
