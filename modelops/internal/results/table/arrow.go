package table

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/modelops-suite/modelops-go/contracts"
)

// batches passes a function's batches on as chunks. The libraries answer malformed bytes
// with errors or with panics; both say that it is no table.
func batches(read func(each func(arrow.RecordBatch) bool) error) Chunks {
	return func(yield func(*Chunk, error) bool) {
		more := true // false once the consumer has had enough
		inside := false
		err := func() (err error) {
			defer func() {
				if fault := recover(); fault != nil {
					if inside {
						panic(fault) // the consumer's
					}
					err = fmt.Errorf("%v", fault)
				}
			}()
			return read(func(batch arrow.RecordBatch) bool {
				chunk, err := arrowChunk(batch)
				if err != nil {
					panic(err)
				}
				inside = true
				more = yield(chunk, nil)
				inside = false
				return more
			})
		}()
		if err != nil && more {
			yield(nil, notTable("%v", err))
		}
	}
}

func readArrowStream(_ Input, r io.ReadSeeker) Chunks {
	return batches(func(each func(arrow.RecordBatch) bool) error {
		reader, err := ipc.NewReader(r)
		if err != nil {
			return err
		}
		defer reader.Release()
		return eachBatch(reader, each)
	})
}

// batchReader is what the readers of Arrow and of Parquet have in common.
type batchReader interface {
	Schema() *arrow.Schema
	Next() bool
	RecordBatch() arrow.RecordBatch
	Err() error
}

// eachBatch visits every batch, and an empty one when there is none: its columns count.
func eachBatch(r batchReader, each func(arrow.RecordBatch) bool) error {
	some := false
	for r.Next() {
		some = true
		if !each(r.RecordBatch()) {
			return nil
		}
	}
	if err := r.Err(); err != nil && err != io.EOF {
		return err
	}
	if !some {
		each(emptyBatch(r.Schema()))
	}
	return nil
}

func emptyBatch(schema *arrow.Schema) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	return b.NewRecordBatch()
}

func readArrowFile(in Input, r io.ReadSeeker) Chunks {
	return batches(func(each func(arrow.RecordBatch) bool) error {
		at, err := randomAccess(r)
		if err != nil {
			return err
		}
		reader, err := ipc.NewFileReader(at)
		if err != nil {
			return err
		}
		defer func() { _ = reader.Close() }()
		if reader.NumRecords() == 0 {
			each(emptyBatch(reader.Schema()))
		}
		for i := range reader.NumRecords() {
			batch, err := reader.RecordBatchAt(i)
			if err != nil {
				return err
			}
			goOn := each(batch)
			batch.Release()
			if !goOn {
				return nil
			}
		}
		return nil
	})
}

func readParquet(_ Input, r io.ReadSeeker) Chunks {
	return batches(func(each func(arrow.RecordBatch) bool) error {
		at, err := randomAccess(r)
		if err != nil {
			return err
		}
		source, err := file.NewParquetReader(at)
		if err != nil {
			return err
		}
		defer func() { _ = source.Close() }()
		// Of Arrow's own description of the file, which may have types that this library
		// cannot read from Parquet or does not know, only durations are of interest.
		units := durations(source.MetaData().KeyValueMetadata().FindValue("ARROW:schema"))
		source.MetaData().FileMetaData.KeyValueMetadata = nil
		properties := pqarrow.ArrowReadProperties{BatchSize: 64 << 10}
		reader, err := pqarrow.NewFileReader(source, properties, memory.DefaultAllocator)
		if err != nil {
			return err
		}
		batches, err := reader.GetRecordReader(context.Background(), nil, nil)
		if err != nil {
			return err
		}
		defer batches.Release()
		return eachBatch(batches, func(batch arrow.RecordBatch) bool {
			return each(withDurations(batch, units))
		})
	})
}

// durations are the columns that a stored description of Arrow's says are durations.
func durations(stored *string) map[string]*arrow.DurationType {
	if stored == nil {
		return nil
	}
	message, err := base64.StdEncoding.DecodeString(*stored)
	if err != nil {
		return nil
	}
	reader, err := ipc.NewReader(bytes.NewReader(message))
	if err != nil {
		return nil
	}
	defer reader.Release()
	units := map[string]*arrow.DurationType{}
	for _, field := range reader.Schema().Fields() {
		if unit, ok := field.Type.(*arrow.DurationType); ok {
			units[field.Name] = unit
		}
	}
	return units
}

// withDurations is the batch with those whole numbers that are durations as such.
func withDurations(batch arrow.RecordBatch, units map[string]*arrow.DurationType) arrow.RecordBatch {
	for i, field := range batch.Schema().Fields() {
		unit, is := units[field.Name]
		if !is || field.Type.ID() != arrow.INT64 {
			continue
		}
		data := batch.Column(i).Data()
		fields := slices.Clone(batch.Schema().Fields())
		fields[i].Type = unit
		columns := slices.Clone(batch.Columns())
		columns[i] = array.NewDurationData(array.NewData(unit, data.Len(), data.Buffers(), nil, data.NullN(), data.Offset()))
		batch = array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, batch.NumRows())
	}
	return batch
}

// randomAccess is r as the libraries want it.
func randomAccess(r io.ReadSeeker) (ipc.ReadAtSeeker, error) {
	if at, ok := r.(ipc.ReadAtSeeker); ok {
		return at, nil
	}
	data, err := io.ReadAll(r)
	return bytes.NewReader(data), err
}

func arrowChunk(batch arrow.RecordBatch) (*Chunk, error) {
	chunk := &Chunk{Rows: int(batch.NumRows())}
	names := map[string]bool{}
	for i, field := range batch.Schema().Fields() {
		switch {
		case field.Name == "":
			return nil, notTable("column %d has no name", i+1)
		case names[field.Name]:
			return nil, notTable("it has two columns of the name %s", contracts.Quote(field.Name))
		}
		names[field.Name] = true
		at := nullable(batch.Column(i))
		chunk.Columns = append(chunk.Columns, Column{Name: field.Name, At: at, Declared: declared(field.Type)})
	}
	return chunk, nil
}

// declared are the kinds that a column of the type can have, or none when its type in a
// table depends on the cells.
func declared(t arrow.DataType) Kinds {
	switch id := t.ID(); {
	case id == arrow.UINT64:
		return Whole | Large
	case arrow.IsInteger(id):
		return Negative | Whole
	case arrow.IsFloating(id), arrow.IsDecimal(id), id == arrow.DURATION:
		return Float
	case id == arrow.BOOL:
		return Bool
	case id == arrow.BINARY, id == arrow.LARGE_BINARY, id == arrow.BINARY_VIEW, id == arrow.FIXED_SIZE_BINARY:
		return Bytes
	case id == arrow.DATE32, id == arrow.DATE64:
		return Date
	case id == arrow.TIMESTAMP && t.(*arrow.TimestampType).TimeZone == "":
		return Timestamp
	case id == arrow.TIMESTAMP:
		return Instant
	}
	return 0
}

// nullable reads a column.
func nullable(values arrow.Array) func(row int) Cell {
	at := cells(values)
	return func(row int) Cell {
		if values.IsNull(row) {
			return Cell{Kind: Null}
		}
		return at(row)
	}
}

// cells reads a column; null rows are not asked for.
func cells(values arrow.Array) func(row int) Cell {
	switch a := values.(type) {
	case *array.Boolean:
		return func(row int) Cell { return Cell{Kind: Bool, Bool: a.Value(row)} }
	case *array.Int8:
		return func(row int) Cell { return IntCell(int64(a.Value(row))) }
	case *array.Int16:
		return func(row int) Cell { return IntCell(int64(a.Value(row))) }
	case *array.Int32:
		return func(row int) Cell { return IntCell(int64(a.Value(row))) }
	case *array.Int64:
		return func(row int) Cell { return IntCell(a.Value(row)) }
	case *array.Uint8:
		return func(row int) Cell { return UintCell(uint64(a.Value(row))) }
	case *array.Uint16:
		return func(row int) Cell { return UintCell(uint64(a.Value(row))) }
	case *array.Uint32:
		return func(row int) Cell { return UintCell(uint64(a.Value(row))) }
	case *array.Uint64:
		return func(row int) Cell { return UintCell(a.Value(row)) }
	case *array.Float16:
		return func(row int) Cell { return Cell{Kind: Float, Float: float64(a.Value(row).Float32())} }
	case *array.Float32:
		return func(row int) Cell { return Cell{Kind: Float, Float: float64(a.Value(row))} }
	case *array.Float64:
		return func(row int) Cell { return Cell{Kind: Float, Float: a.Value(row)} }
	}
	return otherCells(values)
}

// otherCells reads what is no number.
func otherCells(values arrow.Array) func(row int) Cell {
	switch a := values.(type) {
	case *array.Binary:
		return func(row int) Cell { return Cell{Kind: Bytes, Bytes: a.Value(row)} }
	case *array.LargeBinary:
		return func(row int) Cell { return Cell{Kind: Bytes, Bytes: a.Value(row)} }
	case *array.BinaryView:
		return func(row int) Cell { return Cell{Kind: Bytes, Bytes: a.Value(row)} }
	case *array.FixedSizeBinary:
		return func(row int) Cell { return Cell{Kind: Bytes, Bytes: a.Value(row)} }
	case array.StringLike:
		return func(row int) Cell { return TextCell(a.Value(row)) }
	case *array.Date32:
		return func(row int) Cell { return Cell{Kind: Date, Int: int64(a.Value(row))} }
	case *array.Date64:
		return func(row int) Cell { return Cell{Kind: Date, Int: floor(int64(a.Value(row)), 24*60*60*1000)} }
	case *array.Timestamp:
		return timestamps(a)
	case *array.Dictionary:
		entries := nullable(a.Dictionary())
		return func(row int) Cell { return entries(a.GetValueIndex(row)) }
	case *array.RunEndEncoded:
		runs := nullable(a.Values())
		return func(row int) Cell { return runs(a.GetPhysicalIndex(row)) }
	case *array.Duration:
		unit := a.DataType().(*arrow.DurationType).Unit
		return func(row int) Cell { return Cell{Kind: Float, Float: float64(a.Value(row)) / perSecond(unit)} }
	case array.ExtensionArray:
		return nullable(a.Storage())
	case *array.Null:
		return func(int) Cell { return Cell{Kind: Null} }
	}
	if arrow.IsDecimal(values.DataType().ID()) {
		return func(row int) Cell { return numberCell(values.ValueStr(row)) }
	}
	return func(row int) Cell { // lists, structures and what is yet to come
		data, err := json.Marshal(values.GetOneForMarshal(row))
		if err != nil {
			return TextCell(values.ValueStr(row))
		}
		var s string
		if json.Unmarshal(data, &s) == nil {
			return TextCell(s)
		}
		return TextCell(string(data))
	}
}

// timestamps reads times as microseconds. Finer ones keep all their digits as text when
// they have any beyond that.
func timestamps(a *array.Timestamp) func(row int) Cell {
	dataType := a.DataType().(*arrow.TimestampType)
	unit, kind, layout := dataType.Unit, Timestamp, "2006-01-02T15:04:05.999999999"
	if dataType.TimeZone != "" {
		kind, layout = Instant, layout+"Z"
	}
	return func(row int) Cell {
		t := int64(a.Value(row))
		switch unit {
		case arrow.Second, arrow.Millisecond:
			factor := int64(1_000_000)
			if unit == arrow.Millisecond {
				factor = 1000
			}
			if t > math.MaxInt64/factor || t < math.MinInt64/factor {
				return TextCell(a.ValueStr(row))
			}
			t *= factor
		case arrow.Nanosecond:
			if t%1000 != 0 {
				return TextCell(time.Unix(0, t).UTC().Format(layout))
			}
			t /= 1000
		}
		return Cell{Kind: kind, Int: t}
	}
}

// perSecond is how many of the unit are a second.
func perSecond(unit arrow.TimeUnit) float64 {
	return float64(time.Second) / float64(unit.Multiplier())
}

// floor is n/d, rounded down.
func floor(n, d int64) int64 {
	if n < 0 {
		return -((-n + d - 1) / d)
	}
	return n / d
}
