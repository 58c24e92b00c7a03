package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/urfave/cli/v2"
)

// Exited is the error of a command that ran another program in the user's sight: it is
// not printed, the other program having said what there was to say, and Code becomes
// the exit code.
type Exited struct{ Code int }

// Error is for the case that somebody else prints it.
func (e *Exited) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// usage is a wrong command line.
type usage struct {
	message string
	hint    string // what to type instead; empty: how to find out
}

func (u *usage) Error() string { return u.message }

// Usage is the error for a command line that is wrong in a way that only the command
// itself can see.
func Usage(hint, format string, args ...any) error {
	return &usage{message: fmt.Sprintf(format, args...), hint: hint}
}

// usageError is called by urfave/cli for a value that a flag cannot take.
func usageError(_ *cli.Context, err error, _ bool) error {
	text := err.Error()
	for _, end := range []string{": parse error", ": value out of range"} {
		text = strings.TrimSuffix(text, end)
	}
	return &usage{message: strings.ReplaceAll(text, " for flag -", " for --")}
}

// Main runs the app in env with the command line args, the program's name first, and
// returns the exit code. It prints the error, if there is one.
func Main(ctx context.Context, env Env, app *cli.App, args []string) (code int) {
	r := reporter{env: env, json: asked(args, "--json"), logJSON: asked(args, "--log-format=json")}
	defer func() {
		if fault := recover(); fault != nil {
			code = r.report(&contracts.Error{
				Code:      contracts.CodeInternal,
				Message:   fmt.Sprintf("fault of %s itself: %v", app.Name, fault),
				Traceback: string(debug.Stack()),
			})
		}
	}()
	app.Writer, app.ErrWriter, app.Reader = env.Stdout, env.Stderr, env.Stdin
	if app.Metadata == nil {
		app.Metadata = map[string]any{}
	}
	app.Metadata[envKey] = env
	line, err := parse(app, args[1:])
	switch {
	case err == nil && line.help:
		_, err = io.WriteString(env.Stdout, Help(line.path))
	case err == nil:
		err = app.RunContext(ctx, line.argv())
	}
	if err == nil {
		return 0
	}
	if exited, ok := errors.AsType[*Exited](err); ok {
		return exited.Code
	}
	if errors.Is(err, syscall.EPIPE) { // whoever read stdout has gone
		return 1
	}
	return r.report(explain(ctx, line, err))
}

// asked says whether a flag is on the command line, for errors that come before the
// line was understood.
func asked(args []string, flag string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	name, value, _ := strings.Cut(flag, "=")
	for i, arg := range args {
		if arg == flag || value != "" && arg == name && i+1 < len(args) && args[i+1] == value {
			return true
		}
	}
	return false
}

// explain turns what an action returned into an envelope.
func explain(ctx context.Context, line *parsed, err error) *contracts.Error {
	if u, ok := errors.AsType[*usage](err); ok {
		hint := u.hint
		if hint == "" {
			hint = helpLine(line.path)
		}
		return &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageCommand, Message: u.message, Hint: hint}
	}
	e := contracts.AsError(err)
	if ctx.Err() != nil && e.Code != contracts.CodeInterrupted {
		return &contracts.Error{Code: contracts.CodeInterrupted, Stage: e.Stage, Message: "interrupted"}
	}
	return e
}

func helpLine(path []*cli.Command) string {
	last := path[len(path)-1]
	if len(last.Subcommands) == 0 && last.ArgsUsage != "" {
		return "usage: " + line(path) + " " + last.ArgsUsage + "; see " + line(path) + " --help"
	}
	return "see " + line(path) + " --help"
}

// reporter prints an error.
type reporter struct {
	env           Env
	json, logJSON bool
}

// report prints e in the form that was asked for and returns its exit code.
func (r reporter) report(e *contracts.Error) int {
	switch {
	case r.json:
		_, _ = r.env.Stdout.Write(contracts.MarshalEnvelope(e))
	case r.logJSON:
		_, _ = r.env.Stderr.Write(contracts.MarshalEnvelope(e))
	default:
		_, _ = io.WriteString(r.env.Stderr, e.Text())
	}
	return e.ExitCode()
}
