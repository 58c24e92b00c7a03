package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/results"
)

func resultsCommand() *cli.Command {
	return &cli.Command{
		Name:      "results",
		Usage:     "make the tables of a job: one for each output",
		ArgsUsage: "JOB",
		Description: jobHelp + ` Every row has the task's parameters, seed, replicate, and the digests of what
ran. Outputs that are no tables are kept as files. A job that has not ended gives what there
is so far.`,
		UsageText: "mops jobs results latest --output results --format csv",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "env", Aliases: []string{"e"}, Usage: "look for the job in the environment `NAME`"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write into `DIR` (default results/JOB)"},
			&cli.StringFlag{Name: "format", Value: results.Parquet, Usage: "write tables as `FORMAT`: parquet or csv"},
		},
		Action: runResults,
	}
}

func runResults(c *cli.Context) error {
	format := c.String("format")
	if format != results.Parquet && format != results.CSV {
		return command.Usage("--format csv", "--format %s is neither parquet nor csv", contracts.Quote(format))
	}
	l, err := locate(c)
	if err != nil {
		return err
	}
	dir := c.String("output")
	if dir == "" {
		dir = filepath.Join("results", l.job.ID)
	}
	collector := &results.Collector{Catalog: l.catalog, Job: l.job, Dir: command.EnvOf(c).Path(dir), Format: format}
	tables, err := collector.Collect(c.Context)
	if err != nil {
		return err
	}
	for _, warning := range tables.Warnings {
		command.Warn(c, "%s", warning)
	}
	if tables.Missing > 0 {
		command.Warn(c, "%d of %d tasks have no result: mops jobs status %s says why", tables.Missing, l.job.Tasks, l.job.ID)
	}
	return command.Print(c, tables, func(w io.Writer) {
		for _, t := range tables.Tables {
			fmt.Fprintf(w, "%s: %d rows in %s\n", t.Name, t.Rows, t.Path)
		}
		for _, f := range tables.Files {
			fmt.Fprintf(w, "%s: %d files in %s (%s)\n", f.Name, f.Count, f.Path, f.Reason)
		}
	})
}
