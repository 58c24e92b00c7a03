package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/contracts/conformance"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
)

// maxEnvironmentFile bounds what is read of a file that the user names; the parser says
// what is wrong with a larger one.
const maxEnvironmentFile = 64<<10 + 1

func envCommand() *cli.Command {
	return &cli.Command{
		Name:  "env",
		Usage: "environment files: which there are, what they say, whether they are right",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list the environments, and which is in force", UsageText: "mops env list", Flags: []cli.Flag{envFlag()}, Action: envList},
			{
				Name: "show", Usage: "print an environment file, secrets left out", ArgsUsage: "[NAME]", UsageText: "mops env show dev",
				Flags: []cli.Flag{envFlag(), showSecretsFlag()}, Action: envShow,
			},
			{
				Name: "add", Usage: "check an environment file and install it", ArgsUsage: "FILE", UsageText: "mops env add team.yaml",
				Description: "The file is installed under the name of the environment in it, readable by you only.\n- is standard input.",
				Flags:       []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "replace the file of that name"}}, Action: envAdd,
			},
			{
				Name: "validate", Usage: "check an environment file; exit code 1 when it is wrong", ArgsUsage: "FILE", UsageText: "mops env validate team.yaml --connect",
				Description: "It is the check for files that other tools write. - is standard input.",
				Flags:       []cli.Flag{&cli.BoolFlag{Name: "connect", Usage: "also try the registry, the storage and the scheduler"}}, Action: envValidate,
			},
			{Name: "path", Usage: "print where an environment's file lies", ArgsUsage: "[NAME]", UsageText: "mops env path dev", Flags: []cli.Flag{envFlag()}, Action: envPath},
			{Name: "schema", Usage: "print the JSON Schema of environment files", UsageText: "mops env schema > environment.schema.json", Action: envSchema},
		},
	}
}

// listed is one environment of a listing.
type listed struct {
	Name     string           `json:"name"`
	Path     string           `json:"path"`
	Valid    bool             `json:"valid"`
	InForce  bool             `json:"in_force"`
	Why      string           `json:"why,omitempty"` // it is in force
	Registry string           `json:"registry,omitempty"`
	Storage  string           `json:"storage,omitempty"`
	Error    *contracts.Error `json:"error,omitempty"`
}

func envList(c *cli.Context) error {
	home, err := homeOf(c)
	if err != nil {
		return err
	}
	entries, err := environment.Open(home).List()
	if err != nil {
		return err
	}
	name, why := inForce(c)
	list := []listed{}
	for _, entry := range entries {
		l := listed{Name: entry.Name, Path: entry.Path, Valid: entry.Err == nil, Error: contracts.AsError(entry.Err)}
		if entry.Loaded != nil {
			l.Registry = entry.Loaded.Env.Registry.LoginServer
			if storage := entry.Loaded.Env.Storage; storage != nil {
				l.Storage = storage.Provider + " " + storage.Container
			}
		}
		if l.Name == name {
			l.InForce, l.Why = true, why
		}
		list = append(list, l)
	}
	document := map[string]any{"directory": environment.Open(home).Dir(), "environments": list}
	return command.Print(c, document, func(w io.Writer) { listText(w, list) })
}

func listText(w io.Writer, list []listed) {
	rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range list {
		mark, state := " ", l.Registry
		if l.Storage != "" {
			state += "\t" + l.Storage
		}
		if l.InForce {
			mark = "*"
		}
		if !l.Valid {
			state = "broken: " + l.Error.Message
		}
		fmt.Fprintf(rows, "%s %s\t%s\n", mark, l.Name, contracts.Lines(state))
	}
	_ = rows.Flush() // into memory
}

// inForce is the environment that commands here would use; none when that is an error,
// which then is theirs to report.
func inForce(c *cli.Context) (name, why string) {
	env := command.EnvOf(c)
	home, err := homeOf(c)
	if err != nil {
		return "", ""
	}
	pin, err := projectPin(env.Dir)
	if err != nil {
		return "", ""
	}
	chosen, err := environment.Open(home).Resolve(environment.Request{Flag: c.String("env"), ProjectPin: pin, Getenv: env.Getenv})
	if err != nil {
		return "", ""
	}
	return chosen.Name, chosen.Why
}

// named is the environment's name as an argument or by --env.
func named(c *cli.Context) (string, error) {
	name := c.Args().First()
	if name != "" && c.String("env") != "" {
		return "", command.Usage("", "NAME and --env say the same thing; give one")
	}
	if name == "" {
		name = c.String("env")
	}
	return name, nil
}

func envShow(c *cli.Context) error {
	name, err := named(c)
	if err != nil {
		return err
	}
	chosen, err := resolveNamed(c, name, false)
	if err != nil {
		return err
	}
	return printEnvironment(c, chosen.Env)
}

// printEnvironment prints a file's content, without its secrets unless --show-secrets.
func printEnvironment(c *cli.Context, env *contracts.BundleEnvironment) error {
	if !c.Bool("show-secrets") {
		env = env.Redacted()
	}
	text, err := env.Marshal()
	if err != nil {
		return err
	}
	document, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	return command.Print(c, json.RawMessage(document), func(w io.Writer) { _, _ = w.Write(text) })
}

// readNamed is the content of a file that the user names; "-" is stdin.
func readNamed(c *cli.Context, name string) (path string, data []byte, err error) {
	env := command.EnvOf(c)
	if name == "-" {
		data, err = io.ReadAll(io.LimitReader(env.Stdin, maxEnvironmentFile))
		if err != nil {
			return "", nil, readError("standard input", err)
		}
		return "-", data, nil
	}
	path = env.Path(name)
	f, err := os.Open(path)
	if err != nil {
		return "", nil, readError(path, err)
	}
	defer f.Close()
	if data, err = io.ReadAll(io.LimitReader(f, maxEnvironmentFile)); err != nil {
		return "", nil, readError(path, err)
	}
	return path, data, nil
}

func envAdd(c *cli.Context) error {
	file, data, err := readNamed(c, c.Args().First())
	if err != nil {
		return err
	}
	env, warnings, err := contracts.ParseEnvironment(file, data)
	if err != nil {
		return err
	}
	home, err := homeOf(c)
	if err != nil {
		return err
	}
	store := environment.Open(home)
	before, err := store.Read(env.Environment)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && !bytes.Equal(before, data) && !c.Bool("force"):
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageEnvironment,
			Message: "environment " + env.Environment + " is there already, and says something else: " + contracts.Quote(store.Path(env.Environment)),
			Hint:    "--force replaces it; to keep both, change environment: in the new file"}
	}
	for _, warning := range warnings {
		command.Warn(c, "%s: %s", file, withHint(warning))
	}
	path, err := store.Install(env.Environment, data)
	if err != nil {
		return err
	}
	document := map[string]any{"environment": env.Environment, "env_file": path, "unchanged": err == nil && bytes.Equal(before, data), "warnings": problems(warnings)}
	return command.Print(c, document, func(w io.Writer) { fmt.Fprintf(w, "environment %s: %s\n", env.Environment, path) })
}

// problems is a list that is [] in JSON when it is empty.
func problems(list []contracts.Problem) []contracts.Problem {
	if list == nil {
		return []contracts.Problem{}
	}
	return list
}

// validation is the document of "env validate".
type validation struct {
	Valid       bool                `json:"valid"`
	File        string              `json:"file"`
	Errors      []contracts.Problem `json:"errors"`
	Warnings    []contracts.Problem `json:"warnings"`
	Connections []connection        `json:"connections,omitempty"`
}

func envValidate(c *cli.Context) error {
	file, data, err := readNamed(c, c.Args().First())
	if err != nil {
		return err
	}
	report := conformance.CheckEnvironment(file, data)
	v := validation{Valid: report.Valid, File: file, Errors: problems(report.Errors), Warnings: problems(report.Warnings)}
	ok := v.Valid
	if c.Bool("connect") && v.Valid {
		env, _, err := contracts.ParseEnvironment(file, data)
		if err != nil {
			return err
		}
		loaded := &environment.Loaded{Env: env, Path: file}
		if err := loaded.ApplyVariables(command.EnvOf(c).Getenv); err != nil {
			return err
		}
		v.Connections = connect(c.Context, env)
		for _, connection := range v.Connections {
			ok = ok && connection.Status != doctor.Failed
		}
	}
	if err := command.Print(c, v, v.text); err != nil {
		return err
	}
	if !ok {
		return &command.Exited{Code: 1}
	}
	return nil
}

func (v validation) text(w io.Writer) {
	verdict := "valid"
	if !v.Valid {
		verdict = "not valid"
	}
	fmt.Fprintf(w, "%s: %s\n", contracts.Lines(v.File), verdict)
	_, _ = io.WriteString(w, contracts.ProblemText(v.Errors))
	for _, warning := range v.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", contracts.Lines(withHint(warning)))
	}
	for _, connection := range v.Connections {
		connection.Text(w)
	}
}

func envPath(c *cli.Context) error {
	name, err := named(c)
	if err != nil {
		return err
	}
	home, err := homeOf(c)
	if err != nil {
		return err
	}
	store := environment.Open(home)
	if name == "" {
		chosen, err := resolveNamed(c, "", false)
		if err != nil {
			return err
		}
		name = chosen.Name
	}
	name = contracts.NormalizeEnvironmentName(name)
	if err := contracts.ValidateEnvironmentName(name); err != nil {
		return err
	}
	path := store.Path(name)
	_, err = os.Lstat(path)
	document := map[string]any{"environment": name, "path": path, "exists": err == nil}
	return command.Print(c, document, func(w io.Writer) { fmt.Fprintln(w, filepath.Clean(path)) })
}

func envSchema(c *cli.Context) error {
	schema, err := contracts.Schema("environment")
	if err != nil {
		return err
	}
	return command.Print(c, json.RawMessage(schema), func(w io.Writer) { _, _ = w.Write(schema) })
}
