// Package results makes the tables of a job: one per output, with a row for each row of
// the output of each task, and in front of the output's own columns the task's
// parameters, seed and provenance.
//
// The rows are in the study's order, whatever order they were made in, and a parameter
// set that the study has twice is there twice. Types are those of the whole job (see
// package table), so the bytes of a table are a function of the study and the results
// alone. Outputs that are no tables are kept as files, as they are.
//
// The tables are made in two passes over the results, one for the columns and one for
// the rows, and written as they come: memory does not grow with the job.
package results

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// The formats of tables.
const (
	Parquet = "parquet" // compressed with zstd
	CSV     = "csv"
)

// Tables says what was written.
type Tables struct {
	JobID    string   `json:"job_id"`
	Output   string   `json:"output"` // the directory
	Tables   []Table  `json:"tables"`
	Files    []Files  `json:"files"`
	Missing  int      `json:"missing"` // rows of the study that have no result
	Warnings []string `json:"warnings"`
}

// Table is a table that was written.
type Table struct {
	Name string `json:"name"` // of the output
	Path string `json:"path"`
	Rows int64  `json:"rows"`
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
	Format  string

	// Progress, if not nil, is told how many of the job's rows have been dealt with, in
	// both passes together.
	Progress func(done, total int)
}

// cacheBytes bounds the results that are kept between tasks.
const cacheBytes = 64 << 20

// pass is one go through the job's results.
type pass struct {
	*Collector
	study   *contracts.SimulationStudy
	archive *archive.Archive
	index   *archive.Index
	reader  *archive.Reader
	done    int
}

// Collect writes the tables. When stored results are damaged it says so and writes
// nothing more; the tables that are there stay as they were.
func (c *Collector) Collect(ctx context.Context) (*Tables, error) {
	p := &pass{Collector: c, archive: c.Catalog.Results(c.Job)}
	p.reader = p.archive.NewReader(cacheBytes)
	var err error
	if p.study, err = c.Catalog.LoadStudy(ctx, c.Job.ID); err != nil {
		return nil, err
	}
	if p.index, err = p.archive.Index(ctx, archive.Option{Job: c.Job.ID, Only: c.Job.Options.NoCache}); err != nil {
		return nil, err
	}
	answer := &Tables{JobID: c.Job.ID, Output: c.Dir, Tables: []Table{}, Files: []Files{}, Warnings: []string{}}
	survey := newSurvey()
	err = p.each(ctx, func(task *contracts.SimTask, result *contracts.SimReturn, row int) error {
		if result == nil {
			answer.Missing++
			survey.parameters(task)
			return nil
		}
		return survey.take(ctx, p, task, result, row)
	})
	if err != nil {
		return nil, err
	}
	answer.Warnings = append(answer.Warnings, survey.warnings(answer.Missing, len(p.index.Damaged))...)
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return nil, writeError(err)
	}
	return answer, p.write(ctx, survey, answer)
}

// each visits the rows of the job in the study's order; result is nil for those that
// have none. Consecutive rows of one task share its result.
func (p *pass) each(ctx context.Context, visit func(task *contracts.SimTask, result *contracts.SimReturn, row int) error) error {
	row := 0
	for task := range p.Job.SimTasks(p.study) {
		if err := ctx.Err(); err != nil {
			return err
		}
		var result *contracts.SimReturn
		at, found := p.index.Find(task.Key(p.Job.Content))
		if found {
			var err error
			if result, err = p.reader.Read(ctx, at); err != nil {
				return p.damaged(ctx, at, err)
			}
		}
		if err := visit(&task, result, row); err != nil {
			return p.damaged(ctx, at, err)
		}
		row++
		p.done++
		if p.Progress != nil {
			p.Progress(p.done, 2*p.Job.Tasks)
		}
	}
	return nil
}

// damaged notes a segment whose bytes, or those of its outputs, are not what was
// written.
func (p *pass) damaged(ctx context.Context, at archive.Where, err error) error {
	e := contracts.AsError(err)
	if at.Segment == "" || e.Code != contracts.CodeIntegrity {
		return err
	}
	if noteErr := p.archive.Damage(ctx, at.Segment, e.Message); noteErr != nil {
		return noteErr
	}
	return err
}

// write is the second pass: the rows.
func (p *pass) write(ctx context.Context, s *survey, answer *Tables) (err error) {
	w := &writers{pass: p, survey: s, tables: map[string]*tableWriter{}, files: newNames()}
	defer func() { w.discard() }()
	if err := w.open(answer); err != nil {
		return err
	}
	err = p.each(ctx, func(task *contracts.SimTask, result *contracts.SimReturn, row int) error {
		if result == nil {
			return nil
		}
		return w.take(ctx, task, result, row)
	})
	if err != nil {
		return err
	}
	return w.publish(answer)
}

// survey is what the first pass finds: the columns.
type survey struct {
	params       map[string]table.Kinds
	outputs      map[string]*output
	environments map[string]bool
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
	name  string
	kinds table.Kinds
}

func newSurvey() *survey {
	return &survey{params: map[string]table.Kinds{}, outputs: map[string]*output{}, environments: map[string]bool{}}
}

func (s *survey) parameters(task *contracts.SimTask) {
	for name, value := range task.Params.Values {
		s.params[name] |= table.ValueCell(value).Kind
	}
}

// take looks at one task's outputs.
func (s *survey) take(ctx context.Context, p *pass, task *contracts.SimTask, result *contracts.SimReturn, row int) error {
	s.parameters(task)
	if result.EnvironmentDigest != "" {
		s.environments[result.EnvironmentDigest] = true
	}
	for _, name := range slices.Sorted(maps.Keys(result.Outputs)) {
		o := s.outputs[name]
		if o == nil {
			o = &output{name: name, byName: map[string]*column{}, files: map[int]bool{}}
			s.outputs[name] = o
		}
		if err := o.look(p.input(ctx, name, result.Outputs[name]), row); err != nil {
			return err
		}
	}
	return nil
}

// look reads one task's bytes of the output. What is found counts only when all of it is
// a table.
func (o *output) look(in table.Input, row int) error {
	var found []column
	for chunk, err := range table.Read(in) {
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
		if found == nil {
			found = make([]column, len(chunk.Columns))
		}
		for i, c := range chunk.Columns {
			found[i].name = c.Name
			for at := range chunk.Rows {
				found[i].kinds |= c.At(at).Kind
			}
		}
	}
	o.tables++
	for _, f := range found {
		c := o.byName[f.name]
		if c == nil {
			c = &column{name: f.name}
			o.byName[f.name] = c
			o.columns = append(o.columns, c)
		}
		c.kinds |= f.kinds
	}
	return nil
}

// warnings are what the reader of the tables should know.
func (s *survey) warnings(missing, damaged int) []string {
	var list []string
	if missing > 0 {
		list = append(list, fmt.Sprintf("%d rows of the study have no result and are not in the tables", missing))
	}
	if damaged > 0 {
		list = append(list, fmt.Sprintf("%d stored batches of results are damaged and were passed over; submit the study again to run what was in them", damaged))
	}
	if len(s.environments) > 1 {
		list = append(list, fmt.Sprintf("the results were made in %d different environments (Python, platform or packages); the column environment_digest tells them apart", len(s.environments)))
	}
	for _, name := range slices.Sorted(maps.Keys(s.outputs)) {
		if o := s.outputs[name]; o.tables > 0 && len(o.files) > 0 {
			list = append(list, fmt.Sprintf("output %s is a table in %d tasks and none in %d: %s", contracts.Quote(name), o.tables, len(o.files), o.reason))
		}
	}
	return list
}

// paramNames are the parameters in the order of their columns.
func (s *survey) paramNames() []string {
	names := slices.Collect(maps.Keys(s.params))
	sort.Strings(names)
	return names
}

// filesDir is the directory, below the output directory, of outputs that are no tables.
const filesDir = "files"

func (p *pass) filesOf(safe string) string { return filepath.Join(p.Dir, filesDir, safe) }
