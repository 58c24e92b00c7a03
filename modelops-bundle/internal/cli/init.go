package cli

import (
	"fmt"
	"io"
	"path"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/template"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "make a project; its name is its repository's, everywhere",
		ArgsUsage: "NAME",
		Description: `NAME is the project's name, nested or not; the directory is its last component.
With "." the project is this directory, and its name the directory's, or --name.`,
		UsageText: `modelops-bundle init my-model --template minimal`,
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "dir", Usage: "make the project in `DIR`"},
			&cli.StringFlag{Name: "name", Usage: "with \".\": the project's `NAME`"},
			&cli.StringFlag{Name: "template", Value: template.Default, Usage: "begin with `TEMPLATE`: calabaria, minimal or command"},
			&cli.StringFlag{Name: "tag", Usage: "make `TAG` the project's default tag"},
		},
		Action: runInit,
	}
}

type initAnswer struct {
	Project     string   `json:"project"`
	RegistryRef string   `json:"registry_ref"`
	Environment string   `json:"environment"`
	Dir         string   `json:"dir"`
	Files       []string `json:"files"`
	Already     bool     `json:"already"`
}

func runInit(c *cli.Context) error {
	name, dir, err := place(c)
	if err != nil {
		return err
	}
	if err := contracts.ValidateRepository(name); err != nil {
		return err
	}
	env, err := chooseEnvironment(c, "", false)
	if err != nil {
		return err
	}
	result, err := project.Init(project.InitOptions{
		Name: name, Dir: dir, Template: c.String("template"), Tag: c.String("tag"), Env: env,
	})
	if err != nil {
		return err
	}
	answer := initAnswer{
		Project: result.Config.Project, RegistryRef: result.Config.RegistryRef, Environment: result.Pin,
		Dir: dir, Files: append([]string{}, result.Files...), Already: result.Already,
	}
	return command.Print(c, answer, func(w io.Writer) {
		if answer.Already {
			fmt.Fprintf(w, "project %s was here already: %s\n", answer.Project, answer.RegistryRef)
			return
		}
		fmt.Fprintf(w, "project %s in %s: %s\n", answer.Project, dir, answer.RegistryRef)
		for _, file := range answer.Files {
			fmt.Fprintf(w, "  %s\n", file)
		}
		fmt.Fprintf(w, "next: modelops-bundle push, or mops jobs submit study.json --wait\n")
	})
}

// place is the name and the directory that the command line means.
func place(c *cli.Context) (name, dir string, err error) {
	env := command.EnvOf(c)
	arg := c.Args().First()
	if arg != "." {
		if c.IsSet("name") {
			return "", "", command.Usage(`write init . --name `+c.String("name"), `--name goes with "."; NAME is the name otherwise`)
		}
		if c.IsSet("dir") {
			return arg, env.Path(c.String("dir")), nil
		}
		return arg, env.Path(filepath.FromSlash(path.Base(arg))), nil
	}
	dir = env.Dir
	if c.IsSet("dir") {
		dir = env.Path(c.String("dir"))
	}
	if c.IsSet("name") {
		return c.String("name"), dir, nil
	}
	if existing, err := project.Open(dir); err == nil && existing.Dir == dir && existing.Config.Project != "" {
		return existing.Config.Project, dir, nil // a renamed directory does not rename the project
	}
	return filepath.Base(dir), dir, nil
}
