package cli

import (
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/localregistry"
)

const localRegistryName = "local-registry"

// localRegistryCommand is the process of the local registry, which "mops infra up" starts.
func localRegistryCommand() *cli.Command {
	return &cli.Command{
		Name:   localRegistryName,
		Usage:  "serve the local registry until it is stopped",
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the registry", Required: true},
			&cli.StringFlag{Name: "instance", Usage: "`ID` that it answers", Required: true},
		},
		Action: func(c *cli.Context) error {
			log := slog.New(slog.NewTextHandler(command.EnvOf(c).Stderr, nil))
			return localregistry.Serve(c.Context, c.String("dir"), c.String("instance"), log)
		},
	}
}
