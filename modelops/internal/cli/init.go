package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config/migration"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "write the configuration that environments on Azure are made from",
		Description: "It asks az for the subscription, takes the username from the system, and asks only what\n" +
			"is left. Every question has a flag; where nobody can be asked, the flag is needed. Nothing\n" +
			"is made on Azure. The keys of the file are in docs/configuration.md.\n" +
			"--migrate takes over the Python suite's modelops.yaml, or else its infrastructure.yaml,\n" +
			"and reports what became of each key.",
		UsageText: "mops init\nmops init --env prod --subscription Modelling --location westeurope\nmops init --migrate",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "provider", Usage: "`WHERE` environments are made: azure (when not given) or local"},
			&cli.StringFlag{Name: "env", Aliases: []string{"e"}, Usage: "the `NAME` of the environment; dev when not given"},
			&cli.StringFlag{Name: "username", Usage: "whose the environment is: the `USER` in names; of an environment that is not dev or staging, nobody's when not given"},
			&cli.StringFlag{Name: "subscription", Usage: "the `ID` or name of the Azure subscription"},
			&cli.StringFlag{Name: "tenant", Usage: "the `ID` of the Azure tenant"},
			&cli.StringFlag{Name: "location", Usage: "the `REGION`, as in eastus2"},
			&cli.StringFlag{Name: "resource-group", Usage: "the `GROUP` to make instead of the one whose name is derived"},
			&cli.BoolFlag{Name: "migrate", Usage: "start from the Python suite's file"},
			&cli.StringFlag{Name: "from", Usage: "the `FILE` to migrate"},
			&cli.BoolFlag{Name: "force", Usage: "replace the file that is there, which is kept beside"},
			&cli.BoolFlag{Name: "schema", Usage: "print the file's JSON Schema, and do nothing"},
		},
		Action: initialise,
	}
}

func initialise(c *cli.Context) error {
	if c.Bool("schema") {
		schema := config.JSONSchema()
		return command.Print(c, json.RawMessage(schema), func(w io.Writer) { _, _ = w.Write(schema) })
	}
	if c.String("from") != "" && !c.Bool("migrate") {
		return command.Usage("mops init --migrate --from FILE", "--from goes with --migrate")
	}
	d, err := newDraft(c)
	if err != nil {
		return err
	}
	if err := d.complete(c); err != nil {
		return err
	}
	data, err := d.config.Marshal()
	if err != nil {
		return err
	}
	answer := initAnswer{Path: d.path, Environment: d.config.Settings.Environment, Provider: d.config.Settings.Provider, content: data}
	if answer.Configuration, err = yaml.YAMLToJSON(data); err != nil {
		return err
	}
	if d.config.Settings.Provider == config.Azure {
		names, err := (name.Ledger{Home: d.home}).Look(d.config.Names())
		if err != nil {
			return err
		}
		answer.Names = &names
	}
	if d.migrated != nil {
		answer.Migration = &migrationAnswer{From: d.from, Schema: d.migrated.Schema, Report: d.migrated.Report, Former: d.migrated.Former()}
	}
	if answer.Backup, err = d.write(data); err != nil {
		return err
	}
	if err := command.Print(c, answer, answer.text); err != nil {
		return err
	}
	command.Note(c, "next: mops infra up")
	return nil
}

// draft is a configuration on its way into the file.
type draft struct {
	home, path string
	before     []byte // what is in the file; nil when there is none
	config     *config.Config
	migrated   *migration.Result // nil unless it began with an old file
	from       string            // which
}

// newDraft is the draft that the command begins with. A file that would be lost is an
// error before anything is asked.
func newDraft(c *cli.Context) (*draft, error) {
	home, err := homeOf(c)
	if err != nil {
		return nil, err
	}
	d := &draft{home: home, path: environment.ConfigPath(home), config: config.Default()}
	if d.before, err = environment.ReadConfig(home); err != nil {
		return nil, err
	}
	if c.Bool("migrate") {
		if err := d.migrate(c); err != nil {
			return nil, err
		}
	}
	if d.before == nil || d.from == d.path || c.Bool("force") {
		return d, nil
	}
	hint := "--force replaces it, and keeps it beside"
	if _, err := migration.Read(d.path, d.before); err == nil {
		hint = "it is the Python suite's: mops init --migrate takes over what it says"
	}
	return nil, &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
		Message: "there is a configuration already: " + contracts.Quote(d.path), Hint: hint}
}

// migrate begins with the Python suite's file: the one that is named, modelops.yaml, or
// the older infrastructure.yaml.
func (d *draft) migrate(c *cli.Context) error {
	data := d.before
	d.from = d.path
	if named := c.String("from"); named != "" || data == nil {
		if named == "" {
			named = legacyPath(d.home)
		}
		var err error
		d.from, data, err = readNamed(c, named)
		switch {
		case err != nil && errors.Is(err, fs.ErrNotExist) && c.String("from") == "":
			return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
				Message: "there is neither " + contracts.Quote(d.path) + " nor " + contracts.Quote(named) + " to migrate",
				Hint:    "name the file: mops init --migrate --from FILE; to begin anew: mops init"}
		case err != nil:
			return err
		}
	}
	var err error
	if d.migrated, err = migration.Read(d.from, data); err != nil {
		return err
	}
	d.config = d.migrated.Config
	return nil
}

// write puts the configuration into the file. What was there, and was another one, is kept
// beside it.
func (d *draft) write(data []byte) (backup string, err error) {
	if bytes.Equal(d.before, data) {
		return "", nil
	}
	if err := os.MkdirAll(d.home, 0o700); err != nil {
		return "", infra.Cannot("make", d.home, err)
	}
	if d.before == nil {
		err := atomicfile.Create(d.path, data, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return "", &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
				Message: "somebody else wrote " + contracts.Quote(d.path) + " in the meantime", Hint: "see what it says; --force replaces it"}
		}
		if err != nil {
			return "", infra.Cannot("write", d.path, err)
		}
		return "", nil
	}
	for i := 1; ; i++ {
		if backup = d.path + ".bak"; i > 1 {
			backup += fmt.Sprint("-", i)
		}
		err := atomicfile.Create(backup, d.before, 0o600)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", infra.Cannot("write", backup, err)
		}
	}
	if err := atomicfile.Write(d.path, data, 0o600); err != nil {
		return "", infra.Cannot("write", d.path, err)
	}
	return backup, nil
}

// initAnswer is the document of "mops init".
type initAnswer struct {
	Path          string           `json:"path"`
	Backup        string           `json:"backup,omitempty"` // of the file that was there
	Environment   string           `json:"environment"`
	Provider      string           `json:"provider"`
	Configuration json.RawMessage  `json:"configuration"`
	Names         *name.Names      `json:"names,omitempty"` // in Azure
	Migration     *migrationAnswer `json:"migration,omitempty"`

	content []byte
}

type migrationAnswer struct {
	From   string            `json:"from"`
	Schema int               `json:"schema"`
	Report []migration.Entry `json:"report"`
	Former migration.Former  `json:"former_names"`
}

func (a initAnswer) text(w io.Writer) {
	fmt.Fprintf(w, "%s:\n", contracts.Lines(a.Path))
	for line := range strings.Lines(string(a.content)) {
		if !strings.HasPrefix(line, "#") {
			fmt.Fprint(w, "  ", line)
		}
	}
	if a.Backup != "" {
		fmt.Fprintf(w, "what was there: %s\n", contracts.Lines(a.Backup))
	}
	if a.Names != nil {
		fmt.Fprintln(w, "names in Azure:")
		namesText(w, *a.Names)
	}
	if a.Migration != nil {
		a.Migration.text(w)
	}
}

func namesText(w io.Writer, names name.Names) {
	fmt.Fprintf(w, "  resource group   %s\n", names.ResourceGroup)
	if names.Registry != "" {
		fmt.Fprintf(w, "  registry         %s\n", names.Registry)
	}
	fmt.Fprintf(w, "  storage account  %s\n", names.StorageAccount)
}

func (m migrationAnswer) text(w io.Writer) {
	fmt.Fprintf(w, "from %s, schema %d:\n", contracts.Lines(m.From), m.Schema)
	rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, entry := range m.Report {
		what := entry.Why
		if entry.To != "" {
			what = "to " + entry.To
		}
		fmt.Fprintln(rows, strings.TrimRight("  "+entry.Outcome+"\t"+entry.Key+"\t"+contracts.Lines(what), "\t"))
	}
	_ = rows.Flush() // into memory
	fmt.Fprintln(w, "what the Python suite made, if it did, was called:")
	namesText(w, m.Former.Names)
	fmt.Fprintln(w, "it is not taken over by itself: registry.name, storage.name and existing: true adopt it")
}
