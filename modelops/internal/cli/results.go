package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/results"
)

func resultsCommand() *cli.Command {
	return &cli.Command{
		Name:      "results",
		Usage:     "fetch a job's results: one table for each output",
		ArgsUsage: "JOB",
		Description: jobHelp + `
Every row has the parameters, the seed and the replicate of its run, the bundle, and the
digest of the environment that it ran in. Outputs that are no tables are kept as files.
A study with targets has a table "losses" too: a row for each parameter set and target.
The results of a job that has not ended are those that are there.

A table is one file, NAME.parquet, and a directory of that name with part-00000.parquet
and so on when it is large; pandas, Polars, DuckDB and R read either. The format arrow is
an Arrow IPC file (NAME.arrow), json is a JSON object on a line for each row
(NAME.ndjson). See docs/results.md.`,
		UsageText: "mops jobs results latest\nmops jobs results latest --format csv --output tables",
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write into `DIRECTORY`; results/JOB otherwise"},
			&cli.StringFlag{Name: "format", Value: results.Parquet, Usage: "write tables as `FORMAT`: " + formats()},
			&cli.Int64Flag{Name: "rows-per-file", Value: results.PartRows, Usage: "begin another file of a table after `N` rows"},
		},
		Action: runResults,
	}
}

func runResults(c *cli.Context) error {
	format := c.String("format")
	if !oneOf(format, results.Formats()...) {
		return command.Usage("--format parquet", "--format is %s", formats())
	}
	if c.Int64("rows-per-file") < 1 {
		return command.Usage("--rows-per-file 1000000", "--rows-per-file is at least 1")
	}
	l, err := locate(c)
	if err != nil {
		return err
	}
	status, err := l.status(c)
	if err != nil {
		return err
	}
	if !status.State.Ended() {
		command.Warn(c, "job %s is %s: the tables have the %s so far", l.job.ID, status.State, contracts.Count(status.Tasks.Succeeded, "task that has a result", "tasks that have results"))
	}
	dir := c.String("output")
	if dir == "" {
		dir = filepath.Join("results", l.job.ID)
	}
	collector := &results.Collector{Catalog: l.catalog, Job: l.job, Dir: command.EnvOf(c).Path(dir), Format: format,
		PartRows: c.Int64("rows-per-file"), Progress: collected(c, "writing tables")}
	answer, err := collector.Collect(c.Context)
	if err != nil {
		return err
	}
	for _, warning := range answer.Warnings {
		command.Warn(c, "%s", warning)
	}
	if status.Tasks.Succeeded == 0 && len(status.Errors) > 0 {
		command.Warn(c, "no task succeeded: %s", faultLine(status.Errors[0]))
	}
	return command.Print(c, answer, func(w io.Writer) {
		for _, table := range answer.Tables {
			fmt.Fprintf(w, "%s  %s  %s", contracts.Lines(table.Name), contracts.Count(table.Rows, "row", "rows"), table.Path)
			if len(table.Parts) > 0 {
				fmt.Fprintf(w, "  (%s)", contracts.Count(len(table.Parts), "file", "files"))
			}
			fmt.Fprintln(w)
		}
		if losses := answer.Losses; losses != nil {
			fmt.Fprintf(w, "losses  %s  %s\n", contracts.Count(losses.Rows, "row", "rows"), losses.Path)
		}
		for _, files := range answer.Files {
			fmt.Fprintf(w, "%s  %s  %s\n", contracts.Lines(files.Name), contracts.Count(files.Count, "file", "files"), files.Path)
		}
		if len(answer.Tables)+len(answer.Files) == 0 {
			fmt.Fprintln(w, "there are no results yet")
		}
	})
}

// formats names the formats of tables in a sentence.
func formats() string {
	all := results.Formats()
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// collected shows on a terminal how far the tables are.
func collected(c *cli.Context, what string) func(done, total int) {
	live := command.NewLive(c)
	if !live.On() {
		return nil
	}
	return func(done, total int) {
		live.Show(fmt.Sprintf("%s: %d %%", what, done*100/max(1, total)))
		if done == total {
			live.Clear()
		}
	}
}
