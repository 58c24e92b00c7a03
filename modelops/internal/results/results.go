// Package results makes the tables of a job: one per output, with a row for each row of
// the output of each task, and in front of the output's own columns the task's
// parameters, seed and provenance.
//
// The rows are in the study's order, whatever order they were made in, and a parameter
// set that the study has twice is there twice. Types are those of the whole job (see
// package table), so the bytes of a table are a function of the study and the results
// alone. Outputs that are no tables are kept as files, as they are. For a study with
// targets there is one more table, of losses.
//
// The tables are made in two passes over the job's rows (see [Rows]), one for the columns
// and one for the rows, and written as they come: memory does not grow with the results.
// A table that is large is a directory of files of the same columns, under the name that
// the one file would have.
package results

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// The formats of tables.
const (
	Parquet = "parquet" // compressed with zstd
	CSV     = "csv"
	Arrow   = "arrow" // Arrow IPC file, compressed with zstd
	JSON    = "json"  // a line for each row
)

// Formats are the formats, the usual one first.
func Formats() []string { return []string{Parquet, CSV, Arrow, JSON} }

const (
	// PartRows is how many rows a file of a table has at most, unless something else is
	// asked for.
	PartRows = 10_000_000
	// partBytes is the size from which on a file of a table takes no more rows.
	partBytes = 1 << 30
)

// Tables says what was written.
type Tables struct {
	JobID    string   `json:"job_id"`
	Output   string   `json:"output"` // the directory
	Tables   []Table  `json:"tables"`
	Losses   *Losses  `json:"losses,omitempty"` // of a study with targets
	Files    []Files  `json:"files"`
	Missing  int      `json:"missing"`           // rows of the study that have no result
	Resumed  int      `json:"resumed,omitempty"` // rows whose results a run that was killed had fetched
	Warnings []string `json:"warnings"`
}

// Table is a table that was written.
type Table struct {
	Name string `json:"name"` // of the output
	Path string `json:"path"` // a file, or a directory of part-00000 and so on
	Rows int64  `json:"rows"`
	// Parts are the files of a directory, in the order of their rows; none when Path is
	// the only file.
	Parts []string `json:"parts"`
}

// Files are the bytes of an output that is no table, one file for each task.
type Files struct {
	Name   string `json:"name"` // of the output
	Path   string `json:"path"` // a directory
	Count  int    `json:"count"`
	Reason string `json:"reason"` // why the first is no table
}

// Collector makes the tables of one job.
type Collector struct {
	Catalog *jobs.Catalog
	Job     *jobs.Job
	Dir     string // where to write; made if it is not there
	Format  string // one of [Formats]
	// PartRows is how many rows a file of a table has at most; [PartRows] when it is 0.
	PartRows int64

	// Progress, if not nil, is told how many of the job's rows have been dealt with, in
	// the three goes over them and their evaluations together.
	Progress func(done, total int)

	partBytes int64 // 0 for the constant
	done      int
}

// Collect writes the tables. When stored results are damaged, or the way is not free for
// a table, it says so and writes nothing; the tables that are there stay as they were. A
// call for the same job and directory goes on with what one that was killed, or that could
// not reach the storage any more, had fetched.
func (c *Collector) Collect(ctx context.Context) (_ *Tables, err error) {
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return nil, writeError(err)
	}
	area, err := newStaging(c.Dir, c.Job.ID)
	if err != nil {
		return nil, err
	}
	defer func() {
		if ctx.Err() == nil && err != nil && contracts.AsError(err).Code == contracts.CodeUnavailable {
			area.leave()
			err = goesOn(err)
		} else {
			area.remove()
		}
	}()
	rows, err := OpenRows(ctx, c.Catalog, c.Job, area.dir, c.progress)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	answer := &Tables{JobID: c.Job.ID, Output: c.Dir, Tables: []Table{}, Files: []Files{}, Warnings: []string{}, Resumed: rows.Kept}
	survey, err := c.survey(ctx, rows)
	if err != nil {
		return nil, err
	}
	answer.Missing = survey.missing
	answer.Warnings = append(answer.Warnings, survey.warnings(c.Format, rows.Damaged)...)
	return answer, c.write(ctx, rows, survey, area, answer)
}

// goesOn is the error, with what its reader may count on.
func goesOn(err error) error {
	e := *contracts.AsError(err)
	e.Hint = strings.TrimPrefix(e.Hint+"; the same command goes on from where it is", "; ")
	return e.Because(err)
}

// progress says that so many rows more have been dealt with.
func (c *Collector) progress(rows int) {
	c.done += rows
	if c.Progress != nil {
		c.Progress(c.done, 3*(c.Job.Tasks+c.Job.Evaluations))
	}
}

// survey is the first pass: the columns.
func (c *Collector) survey(ctx context.Context, rows *Rows) (*survey, error) {
	s := newSurvey()
	for row, err := range rows.All(ctx) {
		if err == nil {
			err = s.take(ctx, rows, row)
		}
		if err != nil {
			return nil, err
		}
		c.progress(1)
	}
	return s, nil
}

// write is the second pass: the rows.
func (c *Collector) write(ctx context.Context, rows *Rows, s *survey, area *staging, answer *Tables) error {
	w := &writers{Collector: c, data: rows, survey: s, area: area, tables: map[string]*tableWriter{}, dirs: map[string]string{}}
	defer w.discard()
	if err := w.open(answer); err != nil {
		return err
	}
	for row, err := range rows.All(ctx) {
		if err == nil && row.Result != nil {
			err = w.take(ctx, row)
		}
		if err != nil {
			return err
		}
		c.progress(1)
	}
	if err := w.losses(ctx, answer); err != nil {
		return err
	}
	return w.publish(answer)
}

// survey is what the first pass finds: the columns.
type survey struct {
	params       map[string]table.Kinds
	outputs      map[string]*output
	environments map[string]bool
	missing      int // rows without a result
}

// output is what is known of an output over the whole job.
type output struct {
	name    string
	columns []*column // in the order of first appearance
	byName  map[string]*column
	tables  int          // tasks that have it as a table
	files   map[int]bool // rows of the job that have it as something else
	reason  string       // why the first of those is no table
}

type column struct {
	name      string
	kinds     table.Kinds
	declared  table.Kinds // what it has when all cells are null
	notFinite int         // cells that are NaN or infinite
}

func newSurvey() *survey {
	return &survey{params: map[string]table.Kinds{}, outputs: map[string]*output{}, environments: map[string]bool{}}
}

// take looks at one row's parameters and outputs.
func (s *survey) take(ctx context.Context, rows *Rows, row Row) error {
	for name, value := range row.Task.Params.Values {
		s.params[name] |= table.ValueCell(value).Kind
	}
	if row.Result == nil {
		s.missing++
		return nil
	}
	if row.Result.EnvironmentDigest != "" {
		s.environments[row.Result.EnvironmentDigest] = true
	}
	for _, name := range slices.Sorted(maps.Keys(row.Result.Outputs)) {
		o := s.outputs[name]
		if o == nil {
			o = &output{name: name, byName: map[string]*column{}, files: map[int]bool{}}
			s.outputs[name] = o
		}
		if err := o.look(rows.Output(ctx, row, name), row.Number); err != nil {
			return err
		}
	}
	return nil
}

// look reads one row's output. What is found counts only when all of it is a table.
func (o *output) look(chunks table.Chunks, row int) error {
	found := &output{byName: map[string]*column{}}
	for chunk, err := range chunks {
		if table.IsNotTable(err) {
			if o.reason == "" {
				o.reason = err.Error()
			}
			o.files[row] = true
			return nil
		}
		if err != nil {
			return err
		}
		for _, c := range chunk.Columns {
			known := found.column(c.Name)
			known.declared |= c.Declared
			for at := range chunk.Rows {
				cell := c.At(at)
				known.kinds |= cell.Kind
				if cell.Kind == table.Float && !cell.IsFinite() {
					known.notFinite++
				}
			}
		}
	}
	o.tables++
	for _, f := range found.columns {
		c := o.column(f.name)
		c.kinds |= f.kinds
		c.declared |= f.declared
		c.notFinite += f.notFinite
	}
	return nil
}

// typ is the type of the column: that of its cells, or what was said of them.
func (c *column) typ() table.Type {
	if c.kinds&^table.Null == 0 {
		return c.declared.Type()
	}
	return c.kinds.Type()
}

// column is the column of the name, which is new when there was none.
func (o *output) column(name string) *column {
	c := o.byName[name]
	if c == nil {
		c = &column{name: name}
		o.byName[name] = c
		o.columns = append(o.columns, c)
	}
	return c
}

// warnings are what the reader of the tables should know.
func (s *survey) warnings(format string, damaged int) []string {
	var list []string
	if s.missing > 0 {
		list = append(list, contracts.Count(s.missing, "row of the study has no result and is", "rows of the study have no result and are")+" not in the tables")
	}
	if damaged > 0 {
		list = append(list, contracts.Count(damaged, "stored batch of results is damaged and was", "stored batches of results are damaged and were")+" passed over; submit the study again to run what was in there")
	}
	if len(s.environments) > 1 {
		list = append(list, fmt.Sprintf("the results were made in %d different environments (Python, platform or packages); the column environment_digest tells them apart", len(s.environments)))
	}
	for _, name := range slices.Sorted(maps.Keys(s.outputs)) {
		o := s.outputs[name]
		if n := o.notFinite(); n > 0 && format == JSON {
			list = append(list, fmt.Sprintf("output %s has %s NaN or infinite, for which JSON has no number but null; the other formats keep them", contracts.Quote(name), contracts.Count(n, "cell that is", "cells that are")))
		}
		if o.tables > 0 && len(o.files) > 0 {
			list = append(list, fmt.Sprintf("output %s is a table in %s and none in %d: %s", contracts.Quote(name), contracts.Count(o.tables, "task", "tasks"), len(o.files), o.reason))
		}
	}
	return list
}

// notFinite is how many numbers of the output are NaN or infinite.
func (o *output) notFinite() int {
	n := 0
	for _, c := range o.columns {
		if c.typ() == table.TypeFloat64 {
			n += c.notFinite
		}
	}
	return n
}

// paramNames are the parameters in the order of their columns.
func (s *survey) paramNames() []string {
	names := slices.Collect(maps.Keys(s.params))
	sort.Strings(names)
	return names
}
