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
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
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
		add(c.name, "out_", c.kinds.Type())
	}
	return list
}

// sink writes the rows of one table.
type sink interface {
	row(cells []table.Cell) error
	close() error // writes what is left, and not the file
}

// writers writes all tables and files of a job.
type writers struct {
	*pass
	survey *survey
	tables map[string]*tableWriter
	files  *names
	dirs   map[string]string // of outputs that are no tables
	counts map[string]int
}

// tableWriter writes one table to a temporary file beside its final place.
type tableWriter struct {
	output *output
	path   string
	file   *os.File
	sink   sink
	rows   int64
	prefix int // cells in front of the output's own
}

func (w *writers) open(answer *Tables) error {
	w.dirs, w.counts = map[string]string{}, map[string]int{}
	dirs := newNames()
	for _, name := range slices.Sorted(maps.Keys(w.survey.outputs)) {
		o := w.survey.outputs[name]
		if len(o.files) > 0 {
			w.dirs[name] = w.filesOf(dirs.of(name))
			if err := os.MkdirAll(w.dirs[name], 0o777); err != nil {
				return writeError(err)
			}
			answer.Files = append(answer.Files, Files{Name: name, Path: w.dirs[name], Count: len(o.files), Reason: o.reason})
		}
		if o.tables == 0 {
			continue
		}
		fields := w.survey.fields(o)
		t := &tableWriter{output: o, path: filepath.Join(w.Dir, w.files.of(name)+"."+w.Format), prefix: len(fields) - len(o.columns)}
		var err error
		if t.file, err = os.CreateTemp(w.Dir, "."+filepath.Base(t.path)+".*.tmp"); err != nil {
			return writeError(err)
		}
		w.tables[name] = t
		if t.sink, err = newSink(w.Format, t.file, fields); err != nil {
			return err
		}
	}
	return nil
}

// take writes the rows of one task.
func (w *writers) take(ctx context.Context, task *contracts.SimTask, result *contracts.SimReturn, row int) error {
	for _, name := range slices.Sorted(maps.Keys(result.Outputs)) {
		o, artifact := w.survey.outputs[name], result.Outputs[name]
		var err error
		if o.files[row] {
			err = w.keep(ctx, task, name, artifact)
		} else {
			err = w.tables[name].take(w.front(task, result), w.input(ctx, name, artifact))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// front is the cells in front of the output's own.
func (w *writers) front(task *contracts.SimTask, result *contracts.SimReturn) []table.Cell {
	cells := []table.Cell{table.TextCell(task.Params.ID)}
	for _, name := range w.survey.paramNames() {
		value, there := task.Params.Values[name]
		if !there {
			cells = append(cells, table.Cell{Kind: table.Null})
			continue
		}
		cells = append(cells, table.ValueCell(value))
	}
	environment := table.Cell{Kind: table.Null}
	if result.EnvironmentDigest != "" {
		environment = table.TextCell(result.EnvironmentDigest)
	}
	return append(cells, table.UintCell(task.Seed), table.IntCell(int64(task.Replicate)), table.TextCell(w.Job.Bundle.String()),
		table.TextCell(w.Job.Content.String()), environment, table.TextCell(result.TaskID))
}

func (t *tableWriter) take(front []table.Cell, in table.Input) error {
	cells := make([]table.Cell, t.prefix+len(t.output.columns))
	copy(cells, front)
	for chunk, err := range table.Read(in) {
		if err != nil {
			return err
		}
		byName := make(map[string]table.Column, len(chunk.Columns))
		for _, c := range chunk.Columns {
			byName[c.Name] = c
		}
		for row := range chunk.Rows {
			for i, c := range t.output.columns {
				cells[t.prefix+i] = table.Cell{Kind: table.Null}
				if own, there := byName[c.name]; there {
					cells[t.prefix+i] = own.At(row)
				}
			}
			if err := t.sink.row(cells); err != nil {
				return writeError(err)
			}
			t.rows++
		}
	}
	return nil
}

// keep writes an output that is no table to a file of its own.
func (w *writers) keep(ctx context.Context, task *contracts.SimTask, name string, artifact contracts.Artifact) error {
	r, err := w.archive.Open(ctx, artifact)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	file := filepath.Join(w.dirs[name], fmt.Sprintf("set-%05d_replicate-%03d%s", task.Set, task.Replicate, extensionOf(name)))
	f, err := os.CreateTemp(w.dirs[name], ".keep-*.tmp")
	if err != nil {
		return writeError(err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if _, err := io.Copy(f, r); err != nil {
		_ = f.Close()
		if e := contracts.AsError(err); e.Code != contracts.CodeInternal {
			return err
		}
		return writeError(err)
	}
	return place(f, file)
}

var extensionPattern = regexp.MustCompile(`\A\.[A-Za-z0-9]{1,8}\z`)

// extensionOf is how the name of an output's file ends.
func extensionOf(output string) string {
	if extension := path.Ext(output); extensionPattern.MatchString(extension) {
		return extension
	}
	return ".bin"
}

// place gives a complete temporary file its name.
func place(f *os.File, name string) error {
	err := f.Chmod(0o644)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return writeError(err)
	}
	return nil
}

// publish gives the tables their names, all at the end: what was there stays until then.
func (w *writers) publish(answer *Tables) error {
	for _, name := range slices.Sorted(maps.Keys(w.tables)) {
		t := w.tables[name]
		if err := t.sink.close(); err != nil {
			return writeError(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.tables)) {
		t := w.tables[name]
		if err := place(t.file, t.path); err != nil {
			return err
		}
		delete(w.tables, name)
		answer.Tables = append(answer.Tables, Table{Name: name, Path: t.path, Rows: t.rows})
	}
	if err := atomicfile.SyncDir(w.Dir); err != nil {
		return writeError(err)
	}
	return nil
}

// discard removes the temporary files of tables that were not published.
func (w *writers) discard() {
	for _, t := range w.tables {
		_ = t.file.Close()
		_ = os.Remove(t.file.Name())
	}
}
