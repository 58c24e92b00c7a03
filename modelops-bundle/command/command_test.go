package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tool": func() {
		ctx, stop := command.SignalContext(context.Background())
		defer stop()
		os.Exit(command.Main(ctx, command.OSEnv(), command.New(tool()), os.Args))
	}})
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector programs sleep a second at their end
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
		},
	})
}

// exits CODE PROGRAM ARGS... runs a program that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want := args[0]
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != want {
		ts.Fatalf("exit code %s, want %s", code, want)
	}
}

// report is what the commands of the tool answer: what reached them.
type report struct {
	Command string
	Args    []string `json:",omitempty"`
	Flags   []string `json:",omitempty"`
}

func answer(c *cli.Context) error {
	r := report{Command: c.Command.Name, Args: c.Args().Slice()}
	for _, name := range []string{"env", "output", "limit", "auto", "component", "quiet", "verbose"} {
		if c.IsSet(name) {
			r.Flags = append(r.Flags, fmt.Sprintf("%s=%v", name, c.Value(name)))
		}
	}
	command.Note(c, "noted")
	return command.Print(c, r, func(w io.Writer) { fmt.Fprintf(w, "%s %q %q\n", r.Command, r.Args, r.Flags) })
}

// tool is an app with one command of each kind.
func tool() *cli.App {
	env := &cli.StringFlag{Name: "env", Aliases: []string{"e"}, Usage: "use the environment `NAME`"}
	return &cli.App{
		Name:  "tool",
		Usage: "stands for the programs",
		Commands: []*cli.Command{
			{Name: "jobs", Usage: "run studies", Subcommands: []*cli.Command{
				{
					Name: "submit", Usage: "submit a study", ArgsUsage: "STUDY", Action: answer,
					UsageText: "tool jobs submit study.json",
					Flags: []cli.Flag{
						env,
						&cli.BoolFlag{Name: "auto", Value: true, Usage: "push first"},
						&cli.IntFlag{Name: "limit", Usage: "run the first `N`"},
						&cli.StringSliceFlag{Name: "component", Aliases: []string{"c"}, Usage: "only `NAME`"},
					},
				},
				{Name: "list", Usage: "list jobs", UsageText: "tool jobs list", Action: answer, Flags: []cli.Flag{env}},
			}},
			{Name: "pull", Usage: "fetch", ArgsUsage: "REF [DIR]", UsageText: "tool pull a b", Action: answer,
				Flags: []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Required: true, Usage: "write to `FILE`"}}},
			{Name: "add", Usage: "add", ArgsUsage: "PATH...", UsageText: "tool add a", Action: answer},
			{Name: "bundle", Usage: "another program", ArgsUsage: "...", SkipFlagParsing: true, UsageText: "tool bundle x", Action: answer},
			{Name: "fail", Usage: "fail", ArgsUsage: "HOW", UsageText: "tool fail code", Action: fail},
		},
	}
}

func fail(c *cli.Context) error {
	switch c.Args().First() {
	case "envelope":
		return &contracts.Error{
			Code: contracts.CodeInvalidEnvironment, Message: "dev.yaml is \x1b[31mbroken", Hint: "mend it",
			Problems: []contracts.Problem{{Field: "registry", Message: "is missing", Hint: "add it"}, {Message: "is short"}},
		}
	case "model":
		return &contracts.Error{Code: contracts.CodeModel, Type: "ValueError", Message: "beta is negative", Traceback: "Traceback:\n  x\n", StderrTail: "warming up\n"}
	case "wait":
		fmt.Fprintln(command.EnvOf(c).Stdout, "waiting")
		<-c.Context.Done()
		return fmt.Errorf("ask the registry: %w", c.Context.Err())
	case "panic":
		panic("no such luck")
	case "exited":
		return &command.Exited{Code: 125}
	}
	return errors.New("plain")
}

func TestFlagsStandAnywhere(t *testing.T) {
	want := `{"Command":"submit","Args":["s.json"],"Flags":["env=dev","limit=3","auto=false"]}`
	for _, line := range []string{
		"jobs submit --env dev --limit 3 --auto=false s.json",
		"jobs submit s.json --env dev --limit 3 --auto=false",
		"jobs submit --env=dev s.json --limit=3 --auto=false",
		"jobs --env dev submit s.json -e=dev --limit 3 --auto=false",
		"--env dev --auto=false --limit 3 jobs submit s.json",
		"jobs submit -e dev --limit 3 --auto=false -- s.json",
	} {
		t.Run(line, func(t *testing.T) {
			code, stdout, stderr := run(t, strings.Fields(line+" ")...)
			if code != 0 || sorted(t, stdout) != sorted(t, want) {
				t.Errorf("exit %d, stdout %s, stderr %s", code, stdout, stderr)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		line string
		want report
	}{
		{"add -- --json -x", report{Command: "add", Args: []string{"--json", "-x"}}},
		{"add -1 - help list", report{Command: "add", Args: []string{"-1", "-", "help", "list"}}},
		{"pull a -o x", report{Command: "pull", Args: []string{"a"}, Flags: []string{"output=x"}}},
		{"pull a -o=x b", report{Command: "pull", Args: []string{"a", "b"}, Flags: []string{"output=x"}}},
		{"jobs list -qv", report{Command: "list", Flags: []string{"quiet=true", "verbose=true"}}},
		{"jobs submit s -c a,b --component c", report{Command: "submit", Args: []string{"s"}, Flags: []string{"component={[a,b c] true}"}}},
		{"--json bundle push --nonsense -x --help", report{Command: "bundle", Args: []string{"--json", "push", "--nonsense", "-x", "--help"}}},
	} {
		t.Run(test.line, func(t *testing.T) {
			app := command.New(tool())
			var got report
			record := func(c *cli.Context) error {
				got = report{Command: c.Command.Name, Args: c.Args().Slice()}
				for _, name := range []string{"output", "component", "quiet", "verbose"} {
					if c.IsSet(name) {
						got.Flags = append(got.Flags, name+"="+show(c, name))
					}
				}
				return nil
			}
			replaceActions(app.Commands, record)
			var stderr bytes.Buffer
			code := command.Main(context.Background(), command.Env{Stdout: io.Discard, Stderr: &stderr}, app, append([]string{"tool"}, strings.Fields(test.line)...))
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); code != 0 || diff != "" {
				t.Errorf("exit %d %s\n%s", code, &stderr, diff)
			}
		})
	}
}

func TestWrongLines(t *testing.T) {
	for _, test := range []struct{ line, message, hint string }{
		{"", `tool needs a command: jobs, pull, add, bundle, fail, completion`, "see tool --help"},
		{"jbos", `tool has no command "jbos"`, "tool jobs"},
		{"jobs submti s", `tool jobs has no command "submti"`, "tool jobs submit"},
		{"jobs xyzzy", `tool jobs has no command "xyzzy"`, "see tool jobs --help"},
		{"jobs", "tool jobs needs a command: submit, list", "see tool jobs --help"},
		{"jobs submit", "tool jobs submit needs STUDY", "usage: tool jobs submit STUDY; see tool jobs submit --help"},
		{"jobs submit a b", `tool jobs submit got one argument too many: "b"`, "usage: tool jobs submit STUDY; see tool jobs submit --help"},
		{"jobs list b", `tool jobs list takes no argument, and got "b"`, "see tool jobs list --help"},
		{"jobs submit s --limt 3", "tool jobs submit has no flag --limt", "did you mean --limit?"},
		{"jobs list --limit 3", "tool jobs list has no flag --limit", "see tool jobs list --help"},
		{"jobs submit s --limit", "--limit needs a value", "usage: tool jobs submit STUDY; see tool jobs submit --help"},
		{"jobs submit s --limit --env", "--limit needs a value", "usage: tool jobs submit STUDY; see tool jobs submit --help"},
		{"jobs submit s --limit many", `invalid value "many" for --limit`, "usage: tool jobs submit STUDY; see tool jobs submit --help"},
		{"jobs submit s --env=", "the value of --env is empty", "usage: tool jobs submit STUDY; see tool jobs submit --help"},
		{"jobs submit s -json", "tool jobs submit has no flag -json", "--json"},
		{"jobs list --log-format xml", "--log-format is text or json", "--log-format json"},
		{"pull a", "tool pull needs --output", "usage: tool pull REF [DIR]; see tool pull --help"},
		{"add", "tool add needs PATH", "usage: tool add PATH...; see tool add --help"},
		{"--version more", `tool has no command "more"`, "see tool --help"},
	} {
		t.Run(test.line, func(t *testing.T) {
			args := strings.Fields(test.line)
			code, stdout, stderr := execute(t, append([]string{"tool"}, args...)...)
			want := "error: " + test.message + "\nhint: " + test.hint + "\n"
			if code != 2 || stdout != "" || stderr != want {
				t.Errorf("exit %d, stdout %q, stderr\n%s\nwant\n%s", code, stdout, stderr, want)
			}
			code, stdout, stderr = execute(t, append([]string{"tool", "--json"}, args...)...)
			var e contracts.Envelope
			if err := json.Unmarshal([]byte(stdout), &e); err != nil || code != 2 || stderr != "" ||
				e.Error.Code != contracts.CodeUsage || e.Error.Message != test.message || e.Error.Hint != test.hint {
				t.Errorf("with --json: exit %d, stdout %q, stderr %q, %v", code, stdout, stderr, err)
			}
		})
	}
}

func TestBrokenPipe(t *testing.T) {
	var stderr bytes.Buffer
	env := command.Env{Stdout: writerFunc(func([]byte) (int, error) { return 0, syscall.EPIPE }), Stderr: &stderr}
	code := command.Main(context.Background(), env, command.New(tool()), []string{"tool", "jobs", "list", "--quiet"})
	if code != 1 || stderr.String() != "" {
		t.Errorf("exit %d, stderr %q", code, &stderr)
	}
}

func TestCheck(t *testing.T) {
	if err := command.Check(command.New(tool())); err != nil {
		t.Error(err)
	}
	bad := &cli.App{Name: "bad", Usage: "is wrong", Commands: []*cli.Command{
		{Name: "a", Action: answer, Flags: []cli.Flag{&cli.BoolFlag{Name: "env", EnvVars: []string{"X"}}}},
		{Name: "b", Usage: "b", UsageText: "b", Aliases: []string{"a"}, Flags: []cli.Flag{&cli.StringFlag{Name: "env", Aliases: []string{"q"}, Usage: "e"}}},
	}}
	want := []string{
		"bad: two commands answer to a",
		"bad a: no Usage", "bad a: no example in UsageText", "bad a: --env has no Usage", "bad a: --env reads variables of the process: use EnvOf(c).Getenv",
		"bad b: no Action", "bad b: --env takes a value here and none elsewhere, or the other way round", "bad b: -q takes a value",
		"bad b: two flags answer to -q",
	}
	got := command.Check(command.New(bad))
	for _, line := range want {
		if got == nil || !strings.Contains(got.Error(), line) {
			t.Errorf("%q is not in\n%v", line, got)
		}
	}
}

func TestComplete(t *testing.T) {
	for _, test := range []struct {
		words string
		want  string
	}{
		{"j", "jobs"},
		{"jobs ", "submit list"},
		{"jobs submit --l", "--limit --log-format"},
		{"jobs submit ", ""},
		{"nonsense ", ""},
	} {
		got := strings.Join(command.Complete(command.New(tool()), strings.Split(test.words, " ")), " ")
		if test.words == "nonsense " {
			got = "" // whatever: it must not fail
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
}

func TestEnv(t *testing.T) {
	env := command.Env{Environ: []string{"A=1", "A=2", "AB", "B==x"}, Dir: "/somewhere"}
	for key, want := range map[string]string{"A": "1", "AB": "", "B": "=x", "C": ""} {
		if got := env.Getenv(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	return execute(t, append([]string{"tool", "--json"}, args...)...)
}

func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = command.Main(context.Background(), command.Env{Stdout: &out, Stderr: &errs}, command.New(tool()), args)
	return code, out.String(), errs.String()
}

func sorted(t *testing.T, document string) string {
	t.Helper()
	var r report
	if err := json.Unmarshal([]byte(document), &r); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	return fmt.Sprintf("%s %q %q", r.Command, r.Args, r.Flags)
}

func show(c *cli.Context, name string) string {
	if name == "component" {
		return fmt.Sprintf("{%v true}", c.StringSlice(name))
	}
	return fmt.Sprint(c.Value(name))
}

func replaceActions(commands []*cli.Command, action cli.ActionFunc) {
	for _, c := range commands {
		if c.Action != nil {
			c.Action = action
		}
		replaceActions(c.Subcommands, action)
	}
}
