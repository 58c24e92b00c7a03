package command

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
)

// Check reports everything that an app, readied by [New], declares wrongly: a command
// without help or example, a flag without help, two that answer to one name, a flag
// name that takes a value in one command and none in another, and variables that
// urfave/cli would read behind [Env]'s back. It is for the tests of the programs.
func Check(app *cli.App) error {
	c := checker{takesValue: map[string]bool{}}
	c.command([]*cli.Command{root(app)})
	return errors.Join(c.faults...)
}

type checker struct {
	takesValue map[string]bool
	faults     []error
}

func (c *checker) add(path []*cli.Command, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s: %s", line(path), fmt.Sprintf(format, args...)))
}

func (c *checker) command(path []*cli.Command) {
	command := path[len(path)-1]
	if command.Usage == "" {
		c.add(path, "no Usage")
	}
	if command.UsageText == "" && len(command.Subcommands) == 0 && !command.Hidden {
		c.add(path, "no example in UsageText")
	}
	if len(command.Subcommands) > 0 && (command.Action != nil || command.ArgsUsage != "") {
		c.add(path, "a command with commands below it does nothing and takes no arguments itself")
	}
	if len(command.Subcommands) == 0 && command.Action == nil {
		c.add(path, "no Action")
	}
	seen := map[string]bool{}
	for _, f := range command.Flags {
		c.flag(path, f, seen)
	}
	names := map[string]bool{}
	for _, sub := range command.Subcommands {
		for _, name := range sub.Names() {
			if names[name] {
				c.add(path, "two commands answer to %s", name)
			}
			names[name] = true
		}
		c.command(append(path[:len(path):len(path)], sub))
	}
}

func (c *checker) flag(path []*cli.Command, f cli.Flag, seen map[string]bool) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok || doc.GetUsage() == "" {
		c.add(path, "--%s has no Usage", f.Names()[0])
	}
	if ok && len(doc.GetEnvVars()) > 0 {
		c.add(path, "--%s reads variables of the process: use EnvOf(c).Getenv", f.Names()[0])
	}
	for _, name := range f.Names() {
		if seen[name] {
			c.add(path, "two flags answer to %s", dashed(name))
		}
		seen[name] = true
		if takes, known := c.takesValue[name]; known && takes != takesValue(f) {
			c.add(path, "%s takes a value here and none elsewhere, or the other way round", dashed(name))
		}
		c.takesValue[name] = takesValue(f)
	}
}
