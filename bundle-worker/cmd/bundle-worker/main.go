//go:build unix

// Command bundle-worker resolves bundles against a registry, caches them, and runs
// simulations of them. See its help, and package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(cli.Main(ctx, cli.OSEnv(), os.Args))
}
