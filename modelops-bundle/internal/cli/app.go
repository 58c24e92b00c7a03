// Package cli is the program modelops-bundle: one file for each command, thin over the
// packages that do the work.
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
		Name:  "modelops-bundle",
		Usage: "pack a project, push it to an OCI registry, and pull exactly those bytes",
		Commands: []*cli.Command{
			initCommand(),
			statusCommand(),
			diffCommand(),
			pushCommand(),
			pullCommand(),
			tagCommand(),
			untagCommand(),
			inspectCommand(),
			verifyCommand(),
			addCommand(),
			removeCommand(),
			listCommand(),
			registerModelCommand(),
			registerTargetCommand(),
			targetSetCommand(),
			envCommand(),
			gcCommand(),
			exportCommand(),
			importCommand(),
			loginCommand(),
			logoutCommand(),
		},
	})
}

func envFlag() cli.Flag {
	return &cli.StringFlag{Name: "env", Aliases: []string{"e"}, Usage: "use the environment `NAME` instead of the project's"}
}

func tagFlag() cli.Flag {
	return &cli.StringFlag{Name: "tag", Aliases: []string{"t"}, Usage: "use `TAG` instead of the project's default tag"}
}
