package results

import (
	"encoding/csv"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// newSink is a writer of rows with these fields to w.
func newSink(format string, w io.Writer, fields []field) (sink, error) {
	switch format {
	case Parquet:
		return newParquetSink(w, fields)
	case CSV:
		return newCSVSink(w, fields)
	}
	return nil, &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageCollect,
		Message: "format " + contracts.Quote(format) + " is neither " + Parquet + " nor " + CSV}
}

// csvSink writes CSV: a null is an empty cell.
type csvSink struct {
	w      *csv.Writer
	fields []field
	record []string
}

func newCSVSink(w io.Writer, fields []field) (sink, error) {
	s := &csvSink{w: csv.NewWriter(w), fields: fields, record: make([]string, len(fields))}
	for i, f := range fields {
		s.record[i] = f.name
	}
	return s, s.w.Write(s.record)
}

func (s *csvSink) row(cells []table.Cell) error {
	for i, c := range cells {
		s.record[i] = csvText(c, s.fields[i].typ)
	}
	return s.w.Write(s.record)
}

// csvText writes numbers in one way, whichever way they were written before.
func csvText(c table.Cell, typ table.Type) string {
	switch {
	case c.IsNull(typ):
		return ""
	case typ == table.TypeFloat64:
		return table.FormatFloat(c.AsFloat())
	case typ != table.TypeString:
		c.Text = ""
	}
	return c.String()
}

func (s *csvSink) close() error {
	s.w.Flush()
	return s.w.Error()
}

const (
	groupRows  = 64 << 10 // rows of a row group
	groupBytes = 32 << 20 // or so many bytes of text in it
)

// parquetSink writes Parquet, a row group at a time.
type parquetSink struct {
	w       *pqarrow.FileWriter
	builder *array.RecordBuilder
	fields  []field
	rows    int
	bytes   int
}

func newParquetSink(w io.Writer, fields []field) (sink, error) {
	columns := make([]arrow.Field, len(fields))
	for i, f := range fields {
		columns[i] = arrow.Field{Name: f.name, Type: f.typ.Arrow(), Nullable: true}
	}
	schema := arrow.NewSchema(columns, nil)
	// Nothing of the program's version or of the time goes into the file: the same rows
	// are the same bytes.
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("modelops"),
		parquet.WithMaxRowGroupLength(groupRows))
	// The library closes what can be closed, and the file is not its to close.
	fw, err := pqarrow.NewFileWriter(schema, struct{ io.Writer }{w}, properties, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return nil, writeError(err)
	}
	return &parquetSink{w: fw, builder: array.NewRecordBuilder(memory.DefaultAllocator, schema), fields: fields}, nil
}

func (s *parquetSink) row(cells []table.Cell) error {
	for i, c := range cells {
		s.bytes += appendCell(s.builder.Field(i), c, s.fields[i].typ)
	}
	s.rows++
	if s.rows < groupRows && s.bytes < groupBytes {
		return nil
	}
	return s.flush()
}

// appendCell adds a cell to a column of the type, and is the bytes of text in it.
func appendCell(b array.Builder, c table.Cell, typ table.Type) int {
	if c.IsNull(typ) {
		b.AppendNull()
		return 0
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(c.Bool)
	case *array.Int64Builder:
		b.Append(c.Int)
	case *array.Uint64Builder:
		b.Append(c.AsUint())
	case *array.Float64Builder:
		b.Append(c.AsFloat())
	case *array.BinaryBuilder:
		b.Append(c.Bytes)
		return len(c.Bytes)
	case *array.Date32Builder:
		b.Append(arrow.Date32(c.Int))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(c.Int))
	case *array.StringBuilder:
		text := c.String()
		b.Append(text)
		return len(text)
	}
	return 0
}

func (s *parquetSink) flush() error {
	batch := s.builder.NewRecordBatch()
	defer batch.Release()
	s.rows, s.bytes = 0, 0
	return s.w.Write(batch)
}

func (s *parquetSink) close() error {
	if s.rows > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.builder.Release()
	return s.w.Close()
}
