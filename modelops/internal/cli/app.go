// Package cli is the program mops: one file per command, thin over the packages that do
// the work.
package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

// Main runs the program and answers with its exit code. cloud makes environments in a
// cloud; without one the program mops-cloud does, in this one's place.
func Main(ctx context.Context, env command.Env, args []string, cloud Cloud) int {
	app := newApp()
	app.Metadata = map[string]any{linkageKey: linkage{cloud, args}}
	return command.Main(ctx, env, app, args)
}

func newApp() *cli.App {
	return command.New(&cli.App{
		Name:  "mops",
		Usage: "make environments and run studies in them, with exactly the code and data that were pushed",
		Commands: []*cli.Command{
			initCommand(),
			infraCommand(),
			workspaceCommand(),
			envCommand(),
			bundleCommand(),
			jobsCommand(),
			studyCommand(),
			doctorCommand(),
			localRegistryCommand(), localDaskCommand(),
		},
	})
}
