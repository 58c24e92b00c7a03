package results

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// tableWriter writes one table to the staging directory, as files that have a limited
// number of rows.
type tableWriter struct {
	name    string    // of the output
	columns []*column // of the output; nil for a table whose rows are whole
	fields  []field
	format  string
	path    string // where the table is going to be
	dir     string // where its files are being written
	own     *regexp.Regexp
	limit   int64 // rows of a file
	bytes   int64 // of a file that takes no more rows

	file  *os.File
	out   *counter
	sink  sink
	parts []string // names of the files
	rows  int64
	begin int64 // the file's first row
}

// newTable begins a table, with its first file: it may have no rows. file is the file's
// name without its extension.
func (w *writers) newTable(name, file string, fields []field) (*tableWriter, error) {
	t := &tableWriter{name: name, fields: fields, format: w.Format, limit: w.PartRows, bytes: w.partBytes}
	if t.limit <= 0 {
		t.limit = PartRows
	}
	if t.bytes <= 0 {
		t.bytes = partBytes
	}
	extension := extensionFor(w.Format)
	t.path, t.dir = filepath.Join(w.Dir, file+extension), w.area.path(file+extension)
	t.own = regexp.MustCompile(`\Apart-[0-9]{5,}` + regexp.QuoteMeta(extension) + `\z`)
	if err := check(t.path, t.own); err != nil {
		return nil, err
	}
	if err := os.Mkdir(t.dir, 0o777); err != nil {
		return nil, writeError(err)
	}
	return t, t.next()
}

// next begins a file.
func (t *tableWriter) next() (err error) {
	name := fmt.Sprintf("part-%05d%s", len(t.parts), extensionFor(t.format))
	if t.file, err = os.Create(filepath.Join(t.dir, name)); err != nil {
		return writeError(err)
	}
	t.parts, t.begin = append(t.parts, name), t.rows
	t.out = &counter{w: bufio.NewWriterSize(t.file, 256<<10)}
	t.sink, err = newSink(t.format, t.out, t.fields)
	return err
}

// take writes the rows of an output, with the cells that go in front of each.
func (t *tableWriter) take(front []table.Cell, chunks table.Chunks) error {
	cells := make([]table.Cell, len(t.fields))
	copy(cells, front)
	for chunk, err := range chunks {
		if err != nil {
			return err
		}
		byName := make(map[string]table.Column, len(chunk.Columns))
		for _, c := range chunk.Columns {
			byName[c.Name] = c
		}
		for row := range chunk.Rows {
			for i, c := range t.columns {
				cells[len(front)+i] = table.Cell{Kind: table.Null}
				if own, there := byName[c.name]; there {
					cells[len(front)+i] = own.At(row)
				}
			}
			if err := t.row(cells); err != nil {
				return err
			}
		}
	}
	return nil
}

// row writes a row, to the next file when this one is full.
func (t *tableWriter) row(cells []table.Cell) error {
	if t.rows-t.begin >= t.limit || t.out.n >= t.bytes {
		if err := t.close(); err != nil {
			return err
		}
		if err := t.next(); err != nil {
			return err
		}
	}
	t.rows++
	return writeError(t.sink.row(cells))
}

// close completes the file.
func (t *tableWriter) close() error {
	err := t.sink.close()
	if err == nil {
		err = t.out.w.Flush()
	}
	if err != nil {
		return writeError(err)
	}
	f := t.file
	t.file = nil
	return complete(f)
}

// discard closes a file that is not complete.
func (t *tableWriter) discard() {
	if t.file != nil {
		_ = t.file.Close()
	}
}

// publish gives the table, which is closed, its name: that of the file when there is one,
// and that of a directory when there are more.
func (t *tableWriter) publish(area *staging) (Table, error) {
	answer := Table{Name: t.name, Path: t.path, Rows: t.rows, Parts: []string{}}
	if err := syncDirs(t.dir); err != nil {
		return answer, err
	}
	if len(t.parts) == 1 {
		return answer, area.replace(filepath.Join(t.dir, t.parts[0]), t.path, t.own)
	}
	for _, name := range t.parts {
		answer.Parts = append(answer.Parts, filepath.Join(t.path, name))
	}
	return answer, area.replace(t.dir, t.path, t.own)
}

// counter counts the bytes that pass.
type counter struct {
	w *bufio.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
