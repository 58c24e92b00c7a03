//go:build unix

package cli

import (
	"context"
	"io"

	"github.com/modelops-suite/modelops-go/bundle-worker/dask"
)

func daskPluginCommand() command {
	return command{
		name: "dask-plugin", usage: "print the Python by which Dask workers run this program", example: "bundle-worker dask-plugin",
		run: func(_ context.Context, p *program, _ []string) error {
			_, err := io.WriteString(p.env.Stdout, dask.Plugin())
			return err
		},
	}
}
