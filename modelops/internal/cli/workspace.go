package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
)

func workspaceCommand() *cli.Command {
	force := &cli.BoolFlag{Name: "force", Usage: "take over what somebody else manages, in the cluster and in the environment file"}
	dryRun := &cli.BoolFlag{Name: "dry-run", Usage: "have the cluster judge what would be done, and do nothing"}
	return &cli.Command{
		Name:  "workspace",
		Usage: "run a scheduler and workers for jobs in a Kubernetes cluster",
		Subcommands: []*cli.Command{
			{
				Name: "render", Usage: "print the manifests, for those who apply them otherwise", UsageText: "mops workspace render > workspace.yaml",
				Description: "The Secrets with the environment file and with the certificate are left out unless\n" +
					"secrets are to be shown.",
				Flags: []cli.Flag{envFlag(), showSecretsFlag()}, Action: onWorkspace("render"),
			},
			{
				Name: "up", Usage: "make the cluster have the workspace, and the environment file name it", UsageText: "mops workspace up\nmops workspace up --dry-run",
				Description: "It applies the section workspace of modelops.yaml, waits until the scheduler and the\n" +
					"workers are those that it says, and takes away what an earlier version had and this one\n" +
					"has not. Workers that run tasks finish them before they are replaced. A certificate that\n" +
					"soon ends is renewed when no job's driver runs, or when that is asked for: then what\n" +
					"jobs run begins again, and they are named.",
				Flags: []cli.Flag{envFlag(), dryRun, force, &cli.BoolFlag{Name: "renew-certificate", Usage: "have another certificate, although jobs run"}}, Action: onWorkspace("up"),
			},
			{
				Name: "status", Usage: "say what runs, and what is not as it was asked for", UsageText: "mops workspace status",
				Flags: []cli.Flag{envFlag()}, Action: onWorkspace("status"),
			},
			{
				Name: "down", Usage: "take the workspace away; bundles, jobs and results stay", UsageText: "mops workspace down --confirm dev",
				Flags: []cli.Flag{envFlag(), dryRun, force, &cli.BoolFlag{Name: "wait", Usage: "return when nothing of it is left"},
					&cli.StringFlag{Name: "confirm", Usage: "the environment's `NAME`, where nobody can be asked for it"}},
				Action: onWorkspace("down"),
			},
			{
				Name: "dashboard", Usage: "make the scheduler's dashboard a page of this machine, until interrupted", UsageText: "mops workspace dashboard --port 8787",
				Flags:  []cli.Flag{envFlag(), &cli.IntFlag{Name: "port", Usage: "the `PORT` here; any that is free without it"}},
				Action: onWorkspace("dashboard"),
			},
		},
	}
}

// onWorkspace does something with the workspace of the environment in force. The program
// that has clouds does it: only that one has what speaks with Kubernetes.
func onWorkspace(verb string) cli.ActionFunc {
	return func(c *cli.Context) error {
		l := linkageOf(c)
		if l.cloud == nil {
			return delegate(c, l.args)
		}
		home, err := homeOf(c)
		if err != nil {
			return err
		}
		conf, err := config.Load(home)
		if err != nil {
			return err
		}
		file := environment.ConfigPath(home)
		if conf == nil && verb == "dashboard" { // the environment file says where
			conf = config.Default()
		}
		if conf == nil {
			return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
				Message: "a workspace needs a configuration, and there is no " + contracts.Quote(file), Hint: "docs/workspace.md shows one"}
		}
		if verb != "dashboard" {
			if err := conf.RequireWorkspace(file); err != nil {
				return err
			}
		}
		chosen, err := resolve(c, false)
		if err != nil {
			return err
		}
		return l.cloud.Workspace(c, verb, home, conf, chosen)
	}
}
