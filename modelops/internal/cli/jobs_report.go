package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/report"
)

func jobsReportCommand() *cli.Command {
	return &cli.Command{
		Name:      "report",
		Usage:     "write a page about a job: figures, failures, timings, provenance",
		ArgsUsage: "JOB",
		Description: jobHelp + `
The report is one HTML file that needs nothing else, neither network nor script, so that
it can be mailed, printed, and put beside a paper. It plots every output over parameters
and replicates, says what failed and for which parameters, and has the digests, seeds,
versions and packages with a paragraph for the methods section. The same job and results
give the same bytes. A job that has not ended can be reported too.`,
		UsageText: "mops jobs report latest\nmops jobs report latest -o seir.html",
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE`; results/JOB/report.html otherwise"},
		},
		Action: runJobsReport,
	}
}

type reportAnswer struct {
	JobID   string `json:"job_id"`
	Output  string `json:"output"` // the file
	Bytes   int    `json:"bytes"`
	Tables  int    `json:"tables"` // outputs that are tables
	Figures int    `json:"figures"`
}

func runJobsReport(c *cli.Context) error {
	l, err := locate(c)
	if err != nil {
		return err
	}
	status, err := l.status(c)
	if err != nil {
		return err
	}
	if !status.State.Ended() {
		command.Warn(c, "job %s is %s: the report has the %s so far", l.job.ID, status.State, contracts.Count(status.Tasks.Succeeded, "task that has a result", "tasks that have results"))
	}
	reporter := &report.Reporter{Catalog: l.catalog, Job: l.job, Status: status, Registry: l.environment.Env.Registry.LoginServer, Progress: collected(c, "reading results")}
	made, err := reporter.Make(c.Context)
	if err != nil {
		return err
	}
	file := c.String("output")
	if file == "" {
		file = filepath.Join("results", l.job.ID, "report.html")
	}
	file = command.EnvOf(c).Path(file)
	if err := writeReport(file, made.HTML); err != nil {
		return err
	}
	answer := reportAnswer{JobID: l.job.ID, Output: file, Bytes: len(made.HTML), Tables: made.Tables, Figures: made.Figures}
	return command.Print(c, answer, func(w io.Writer) { fmt.Fprintln(w, answer.Output) })
}

func writeReport(file string, html []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o777)
	if err == nil {
		err = atomicfile.Write(file, html, 0o644)
	}
	if err != nil {
		return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageCollect, Message: "cannot write report " + contracts.Quote(file) + ": " + err.Error(),
			Hint: "name a file in a directory that can be written: -o FILE"}).Because(err)
	}
	return nil
}
