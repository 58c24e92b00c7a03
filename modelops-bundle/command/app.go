package command

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// The flags that the package itself gives to commands.
const (
	flagJSON      = "json"
	flagQuiet     = "quiet"
	flagVerbose   = "verbose"
	flagLogFormat = "log-format"
	flagHelp      = "help"
	flagVersion   = "version"
)

// New readies an app for [Main]: it adds the flags and commands that every program
// has, and turns off what urfave/cli does about help, usage and errors on its own. It
// returns the same app, which serves one run.
func New(app *cli.App) *cli.App {
	app.HideHelp, app.HideHelpCommand, app.HideVersion = true, true, true
	app.DisableSliceFlagSeparator = true // a comma in a value is a comma
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = usageError
	app.Commands = append(app.Commands, completionCommands(app.Name)...)
	app.Flags = append(app.Flags,
		helpFlag(),
		&cli.BoolFlag{Name: flagVersion, Usage: "print the version"},
		&cli.BoolFlag{Name: flagJSON, Usage: "print one JSON document"},
	)
	app.Action = func(c *cli.Context) error {
		if c.Bool(flagVersion) {
			return printVersion(c)
		}
		return &usage{message: app.Name + " needs a command"}
	}
	for _, command := range app.Commands {
		ready(command)
	}
	return app
}

func ready(command *cli.Command) {
	command.HideHelp, command.HideHelpCommand = true, true
	command.OnUsageError = usageError
	if command.SkipFlagParsing {
		return
	}
	command.Flags = append(command.Flags, helpFlag())
	for _, sub := range command.Subcommands {
		ready(sub)
	}
	if len(command.Subcommands) == 0 {
		command.Flags = append(command.Flags, leafFlags()...)
	}
}

func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: flagHelp, Aliases: []string{"h"}, Usage: "show this help"}
}

func leafFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: flagJSON, Usage: "print one JSON document on stdout, errors included"},
		&cli.BoolFlag{Name: flagQuiet, Aliases: []string{"q"}, Usage: "say nothing but warnings and errors"},
		&cli.BoolFlag{Name: flagVerbose, Aliases: []string{"v"}, Usage: "say more"},
		&cli.StringFlag{Name: flagLogFormat, Value: "text", Usage: "write what goes to stderr as `FORMAT`: text or json", Action: checkLogFormat},
	}
}

func checkLogFormat(_ *cli.Context, value string) error {
	if value == "text" || value == "json" {
		return nil
	}
	return &usage{message: "--log-format is text or json", hint: "--log-format json"}
}

// root is the app as the top of the tree of commands.
func root(app *cli.App) *cli.Command {
	return &cli.Command{
		Name:        app.Name,
		Usage:       app.Usage,
		Description: app.Description,
		UsageText:   app.UsageText,
		Subcommands: app.Commands,
		Flags:       app.Flags,
	}
}

// line is "mops jobs submit".
func line(path []*cli.Command) string {
	names := make([]string, len(path))
	for i, command := range path {
		names[i] = command.Name
	}
	return strings.Join(names, " ")
}

// takesValue says whether a flag is followed by a value.
func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
