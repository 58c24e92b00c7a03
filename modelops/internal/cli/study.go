package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/study"
)

func studyCommand() *cli.Command {
	return &cli.Command{
		Name:  "study",
		Usage: "write a study: which parameter sets to run, and how often",
		Subcommands: []*cli.Command{
			{
				Name:  "grid",
				Usage: "every combination of the parameters' values",
				Description: `A parameter is a list of values, as in gamma=0.1,0.2, or a range with a number of steps, as
in beta=0.1:0.5:5 or population=int:1000:5000:3.`,
				UsageText: "mops study grid --model model.sir --param beta=0.1:0.5:5 --param gamma=0.1,0.2 --output study.json",
				Flags:     append(studyFlags(), paramFlag()),
				Action:    runStudyGrid,
			},
			{
				Name:  "random",
				Usage: "parameter sets that fill the space evenly",
				Description: `A parameter is a range, as in beta=0.05:0.8 or population=int:100:1000, or a list of values,
as in gamma=0.1,0.2. The same seed gives the same sets.`,
				UsageText: "mops study random --model model.sir --param beta=0.05:0.8 --param gamma=0.05:0.2 --samples 200 --replicates 5 --output study.json",
				Flags: append(studyFlags(), paramFlag(),
					&cli.IntFlag{Name: "samples", Usage: "make `N` parameter sets", Required: true},
					&cli.StringFlag{Name: "method", Value: study.Halton, Usage: "fill the space by `METHOD`: halton or latin-hypercube"},
					&cli.Uint64Flag{Name: "seed", Usage: "begin from `SEED`"},
				),
				Action: runStudyRandom,
			},
			{
				Name:      "from-csv",
				Usage:     "a parameter set for each row of a table",
				ArgsUsage: "FILE",
				Description: `The first row of FILE names the parameters. Numbers keep their spelling: 1 is a whole number
and 1.0 is not.`,
				UsageText: "mops study from-csv samples.csv --model model.sir --output study.json",
				Flags: append(studyFlags(),
					&cli.StringFlag{Name: "seed-column", Usage: "take each row's seed from the column `NAME`"},
				),
				Action: runStudyFromCSV,
			},
		},
	}
}

func studyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "model", Usage: "the model's `NAME`, as in model.sir", Required: true},
		&cli.StringFlag{Name: "scenario", Value: "baseline", Usage: "the scenario's `NAME`"},
		&cli.IntFlag{Name: "replicates", Value: 1, Usage: "run each parameter set `N` times, with seeds of its own"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "study.json", Usage: "write `FILE`; - is stdout"},
		&cli.BoolFlag{Name: "force", Usage: "replace the file if it is there"},
	}
}

func paramFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "param", Aliases: []string{"p"}, Usage: "a parameter, as `NAME=VALUES`; may be repeated"}
}

func runStudyGrid(c *cli.Context) error {
	params, err := parameters(c)
	if err != nil {
		return err
	}
	sets, err := study.Grid(params)
	if err != nil {
		return err
	}
	return writeStudy(c, sets, "grid", nil)
}

func runStudyRandom(c *cli.Context) error {
	params, err := parameters(c)
	if err != nil {
		return err
	}
	sets, err := study.Random(params, c.String("method"), c.Int("samples"), c.Uint64("seed"))
	if err != nil {
		return err
	}
	return writeStudy(c, sets, c.String("method"), map[string]any{"n_samples": c.Int("samples"), "seed": c.Uint64("seed")})
}

func runStudyFromCSV(c *cli.Context) error {
	name := c.Args().First()
	file, err := os.Open(command.EnvOf(c).Path(name))
	if err != nil {
		code := contracts.CodeFailed
		if errors.Is(err, fs.ErrNotExist) {
			code = contracts.CodeNotFound
		}
		return (&contracts.Error{
			Code: code, Stage: contracts.StageStudy,
			Message: "table " + contracts.Quote(name) + " cannot be read: " + reasonOf(err), Hint: "name a CSV file whose first row names the parameters",
		}).Because(err)
	}
	defer file.Close()
	sets, err := study.Table(name, file, c.String("seed-column"))
	if err != nil {
		return err
	}
	return writeStudy(c, sets, "manual", nil)
}

func parameters(c *cli.Context) ([]study.Parameter, error) {
	var params []study.Parameter
	for _, text := range c.StringSlice("param") {
		p, err := study.ParseParameter(text)
		if err != nil {
			return nil, err
		}
		params = append(params, p)
	}
	return params, nil
}

type studyAnswer struct {
	File          string `json:"file"`
	ParameterSets int    `json:"parameter_sets"`
	Tasks         int    `json:"tasks"`
}

// writeStudy writes the study that the flags and the sets make. What it writes is held
// against the rules for studies first.
func writeStudy(c *cli.Context, sets []contracts.ParameterSet, method string, metadata map[string]any) error {
	s := &contracts.SimulationStudy{
		Model: c.String("model"), Scenario: c.String("scenario"), ParameterSets: sets,
		SamplingMethod: method, Replicates: c.Int("replicates"), Metadata: metadata,
	}
	data, err := s.Marshal()
	if err != nil {
		return err
	}
	name := c.String("output")
	if _, err := contracts.ParseStudy(name, data); err != nil {
		return err
	}
	if name == "-" {
		_, err := command.EnvOf(c).Stdout.Write(data)
		return err
	}
	path := command.EnvOf(c).Path(name)
	put := atomicfile.Create
	if c.Bool("force") {
		put = atomicfile.Write
	}
	switch err := put(path, data, 0o644); {
	case errors.Is(err, fs.ErrExist):
		return &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StageStudy,
			Message: "study " + contracts.Quote(path) + " is there already", Hint: "name another file with --output, or replace it with --force",
		}
	case err != nil:
		return (&contracts.Error{
			Code: contracts.CodeFailed, Stage: contracts.StageStudy,
			Message: "study " + contracts.Quote(path) + " cannot be written: " + reasonOf(err),
		}).Because(err)
	}
	answer := studyAnswer{path, len(sets), s.TaskCount()}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s, %s\n", name, contracts.Count(answer.ParameterSets, "parameter set", "parameter sets"), contracts.Count(answer.Tasks, "task", "tasks"))
	})
}

// reasonOf is an error of the file system without the path, which the message has.
func reasonOf(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return strings.TrimSpace(err.Error())
}
