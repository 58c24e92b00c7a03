package results

import (
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

const (
	groupRows  = 64 << 10 // rows of a row group
	groupBytes = 32 << 20 // or so many bytes of text in it

	// dictionaryMost is more than a row group has. The library goes over to another encoding
	// in the middle of a column whose dictionary grows larger than it is told, and then writes
	// down which encodings there are in an order that is another each time.
	dictionaryMost = 1 << 30
)

// columnarSink collects rows and writes them a group at a time, column by column.
type columnarSink struct {
	w       batchWriter
	builder *array.RecordBuilder
	fields  []field
	rows    int
	bytes   int
}

// batchWriter is what the writers of Parquet and of Arrow have in common.
type batchWriter interface {
	Write(arrow.RecordBatch) error
	Close() error
}

func newParquetSink(w io.Writer, fields []field) (sink, error) {
	// Nothing of the program's version or of the time goes into the file.
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("modelops"),
		parquet.WithMaxRowGroupLength(groupRows), parquet.WithDictionaryPageSizeLimit(dictionaryMost))
	schema := schemaOf(fields)
	// The library closes what can be closed, and the file is not its to close.
	fw, err := pqarrow.NewFileWriter(schema, struct{ io.Writer }{w}, properties, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return nil, writeError(err)
	}
	return newColumnarSink(fw, schema, fields), nil
}

func newArrowSink(w io.Writer, fields []field) (sink, error) {
	schema := schemaOf(fields)
	fw, err := ipc.NewFileWriter(struct{ io.Writer }{w}, ipc.WithSchema(schema), ipc.WithZstd())
	if err != nil {
		return nil, writeError(err)
	}
	return newColumnarSink(fw, schema, fields), nil
}

func newColumnarSink(w batchWriter, schema *arrow.Schema, fields []field) *columnarSink {
	return &columnarSink{w: w, builder: array.NewRecordBuilder(memory.DefaultAllocator, schema), fields: fields}
}

func schemaOf(fields []field) *arrow.Schema {
	columns := make([]arrow.Field, len(fields))
	for i, f := range fields {
		columns[i] = arrow.Field{Name: f.name, Type: f.typ.Arrow(), Nullable: true}
	}
	return arrow.NewSchema(columns, nil)
}

func (s *columnarSink) row(cells []table.Cell) error {
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
		text := strings.ToValidUTF8(c.String(), replacement)
		b.Append(text)
		return len(text)
	}
	return 0
}

func (s *columnarSink) flush() error {
	batch := s.builder.NewRecordBatch()
	defer batch.Release()
	s.rows, s.bytes = 0, 0
	return s.w.Write(batch)
}

func (s *columnarSink) close() error {
	if s.rows > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.builder.Release()
	return s.w.Close()
}
