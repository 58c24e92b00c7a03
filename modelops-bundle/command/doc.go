// Package command holds what the suite's urfave/cli programs share: one rule for
// flags, one for errors, one for output. Nothing in it knows what a program does.
//
// A program builds a [cli.App], readies it with [New] and runs it with [Main]:
//
//	func main() {
//		ctx, stop := command.SignalContext(context.Background())
//		defer stop()
//		os.Exit(command.Main(ctx, command.OSEnv(), command.New(app()), os.Args))
//	}
//
// # The command line
//
// Flags may stand anywhere, before the command's name, among its arguments and after
// them; "--" ends them. [Main] reads the line itself and gives urfave/cli, which stops
// looking for flags at the first argument, one that it cannot misread. What a command
// takes is declared once, in the fields of [cli.Command]:
//
//   - ArgsUsage is both shown and enforced: "STUDY", "REF [DIR]", "FILE...",
//     "[PATH...]", "" for no arguments;
//   - UsageText holds examples, one command line each, shown by --help;
//   - a backquoted word in a flag's Usage names its value;
//   - SkipFlagParsing hands everything after the command's name over untouched.
//
// Every command without subcommands gets --json, --quiet, --verbose and --log-format.
// [Check] reports what an app declares wrongly, for its tests.
//
// # Output
//
// Data goes to stdout by [Print], everything else to stderr by [Note], [Warn] and
// [Debug]. An error that an action returns is printed here and nowhere else: as
// "error:" and "hint:" lines on stderr, or with --json as one document on stdout.
package command
