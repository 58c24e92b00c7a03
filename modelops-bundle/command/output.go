package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/urfave/cli/v2"
)

// envKey is the key of the program's [Env] in [cli.App.Metadata].
const envKey = "command.env"

// EnvOf is the environment that the program runs in.
func EnvOf(c *cli.Context) Env {
	env, _ := c.App.Metadata[envKey].(Env)
	return env
}

// JSON says whether one JSON document is wanted on stdout.
func JSON(c *cli.Context) bool { return c.Bool(flagJSON) }

// Print writes the command's answer to stdout: doc as one line of JSON with --json,
// else what text writes. A command that answers a stream calls it once per document.
func Print(c *cli.Context, doc any, text func(w io.Writer)) error {
	var b bytes.Buffer
	if JSON(c) {
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(doc); err != nil {
			return err
		}
	} else {
		text(&b)
	}
	_, err := EnvOf(c).Stdout.Write(b.Bytes())
	return err
}

// Note says one thing on stderr that is no error and no data: which step begins, what
// was chosen and why. --quiet leaves it out.
func Note(c *cli.Context, format string, args ...any) {
	if !c.Bool(flagQuiet) {
		say(c, slog.LevelInfo, "", fmt.Sprintf(format, args...))
	}
}

// Warn says on stderr what the user should know although the command goes on.
func Warn(c *cli.Context, format string, args ...any) {
	say(c, slog.LevelWarn, "warning: ", fmt.Sprintf(format, args...))
}

// Debug says on stderr, with --verbose, what helps to find a fault.
func Debug(c *cli.Context, format string, args ...any) {
	if c.Bool(flagVerbose) {
		say(c, slog.LevelDebug, "", fmt.Sprintf(format, args...))
	}
}

// say writes one line; that nobody reads stderr any more is no reason to stop.
func say(c *cli.Context, level slog.Level, prefix, message string) {
	w := EnvOf(c).Stderr
	if live, ok := c.App.Metadata[liveKey].(*Live); ok {
		live.aside(func() { _, _ = io.WriteString(w, prefix+contracts.Lines(message)+"\n") })
		return
	}
	if c.String(flagLogFormat) == "json" {
		options := &slog.HandlerOptions{Level: slog.LevelDebug}
		slog.New(slog.NewJSONHandler(w, options)).Log(c.Context, level, message)
		return
	}
	_, _ = io.WriteString(w, prefix+contracts.Lines(message)+"\n")
}
