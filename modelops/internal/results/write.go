package results

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// field is a column of a written table.
type field struct {
	name string
	typ  table.Type
}

// fixed are the columns that every table has, in front of and behind the parameters.
func fixedBefore() []field { return []field{{"param_id", table.TypeString}} }

func fixedAfter() []field {
	return []field{{"seed", table.TypeUint64}, {"replicate", table.TypeInt64}, {"bundle", table.TypeString},
		{"content_digest", table.TypeString}, {"environment_digest", table.TypeString}, {"task", table.TypeString}}
}

// fields are the columns of an output's table. A parameter that is called like one of
// the fixed columns gets param_, and a column of the output's that is called like
// anything before it gets out_.
func (s *survey) fields(o *output) []field {
	list := append([]field{}, fixedBefore()...)
	taken := map[string]bool{}
	for _, f := range append(fixedBefore(), fixedAfter()...) {
		taken[f.name] = true
	}
	add := func(name, prefix string, typ table.Type) {
		for taken[name] {
			name = prefix + name
		}
		taken[name] = true
		list = append(list, field{name, typ})
	}
	for _, name := range s.paramNames() {
		add(name, "param_", s.params[name].Type())
	}
	list = append(list, fixedAfter()...)
	for _, c := range o.columns {
		add(c.name, "out_", c.typ())
	}
	return list
}

// writers writes all tables and files of a job.
type writers struct {
	*Collector
	data   *Rows
	survey *survey
	area   *staging
	tables map[string]*tableWriter
	dirs   map[string]string // of outputs that are no tables

	lossTable *tableWriter // nil without targets
}

// filesDir is the directory, below the output directory, of outputs that are no tables.
const filesDir = "files"

// kept are the names of the files in a directory below filesDir.
var kept = regexp.MustCompile(`\Aset-[0-9]{5,}_replicate-[0-9]{3,}\.[A-Za-z0-9]{1,8}\z`)

// open begins all tables, once it is known that there is a place for each.
func (w *writers) open(answer *Tables) error {
	files, dirs := newNames(), newNames()
	if len(w.data.study.Targets) > 0 {
		files.of(lossesName) // it is taken
	}
	for _, name := range slices.Sorted(maps.Keys(w.survey.outputs)) {
		o := w.survey.outputs[name]
		if len(o.files) > 0 {
			final := filepath.Join(w.Dir, filesDir, dirs.of(name))
			if err := check(final, kept); err != nil {
				return err
			}
			w.dirs[name] = w.area.path(filesDir, filepath.Base(final))
			if err := os.MkdirAll(w.dirs[name], 0o777); err != nil {
				return writeError(err)
			}
			answer.Files = append(answer.Files, Files{Name: name, Path: final, Count: len(o.files), Reason: o.reason})
		}
		if o.tables == 0 {
			continue
		}
		t, err := w.newTable(name, files.of(name), w.survey.fields(o))
		if err != nil {
			return err
		}
		t.columns = o.columns
		w.tables[name] = t
	}
	return nil
}

// take writes what a row of the job has to the tables and files.
func (w *writers) take(ctx context.Context, row Row) error {
	for _, name := range slices.Sorted(maps.Keys(row.Result.Outputs)) {
		var err error
		if w.survey.outputs[name].files[row.Number] {
			err = w.keep(ctx, row, name)
		} else {
			err = w.tables[name].take(w.front(row), w.data.Output(ctx, row, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// front is the cells in front of the output's own.
func (w *writers) front(row Row) []table.Cell {
	task, result := row.Task, row.Result
	return append(w.survey.paramCells(task), table.UintCell(task.Seed), table.IntCell(int64(task.Replicate)), table.TextCell(w.Job.Bundle.String()),
		table.TextCell(w.Job.Content.String()), environmentCell(result), table.TextCell(result.TaskID))
}

// paramCells is a task's param_id and parameters.
func (s *survey) paramCells(task *contracts.SimTask) []table.Cell {
	cells := []table.Cell{table.TextCell(task.Params.ID)}
	for _, name := range s.paramNames() {
		value, there := task.Params.Values[name]
		if !there {
			cells = append(cells, table.Cell{Kind: table.Null})
			continue
		}
		cells = append(cells, table.ValueCell(value))
	}
	return cells
}

func environmentCell(result *contracts.SimReturn) table.Cell {
	if result.EnvironmentDigest == "" {
		return table.Cell{Kind: table.Null}
	}
	return table.TextCell(result.EnvironmentDigest)
}

// keep writes an output that is no table to a file of its own.
func (w *writers) keep(ctx context.Context, row Row, name string) error {
	r, err := w.data.archive.Open(ctx, row.Result.Outputs[name])
	if err != nil {
		return w.data.failure(ctx, row.Number, err)
	}
	defer func() { _ = r.Close() }()
	f, err := os.Create(filepath.Join(w.dirs[name], fmt.Sprintf("set-%05d_replicate-%03d%s", row.Task.Set, row.Task.Replicate, extensionOf(name))))
	if err != nil {
		return writeError(err)
	}
	if _, err := io.Copy(f, r); err != nil {
		_ = f.Close()
		return w.data.failure(ctx, row.Number, writeFailure(err))
	}
	return complete(f)
}

var extensionPattern = regexp.MustCompile(`\A\.[A-Za-z0-9]{1,8}\z`)

// extensionOf is how the name of an output's file ends.
func extensionOf(output string) string {
	if extension := path.Ext(output); extensionPattern.MatchString(extension) {
		return extension
	}
	return ".bin"
}

// publish gives everything its name, all at the end: what was there stays until then.
func (w *writers) publish(answer *Tables) error {
	sorted := slices.Sorted(maps.Keys(w.tables))
	for _, name := range sorted {
		if err := w.tables[name].close(); err != nil {
			return err
		}
	}
	if w.lossTable != nil {
		if err := w.lossTable.close(); err != nil {
			return err
		}
	}
	for _, files := range answer.Files {
		if err := syncDirs(w.dirs[files.Name]); err != nil {
			return err
		}
	}
	if len(answer.Files) > 0 {
		if err := os.MkdirAll(filepath.Join(w.Dir, filesDir), 0o777); err != nil {
			return writeError(err)
		}
	}
	for _, files := range answer.Files {
		if err := w.area.replace(w.dirs[files.Name], files.Path, kept); err != nil {
			return err
		}
	}
	for _, name := range sorted {
		t, err := w.tables[name].publish(w.area)
		if err != nil {
			return err
		}
		answer.Tables = append(answer.Tables, t)
	}
	if w.lossTable != nil {
		t, err := w.lossTable.publish(w.area)
		if err != nil {
			return err
		}
		answer.Losses.Path, answer.Losses.Parts = t.Path, t.Parts
	}
	return syncDirs(w.Dir)
}

// discard closes what was not published.
func (w *writers) discard() {
	for _, t := range w.tables {
		t.discard()
	}
	if w.lossTable != nil {
		w.lossTable.discard()
	}
}
