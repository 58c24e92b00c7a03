package table

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
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
		return eachBatch(batches, each)
	})
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
		if field.Name == "" || names[field.Name] {
			return nil, notTable("it has a column without a name of its own")
		}
		names[field.Name] = true
		at := cells(batch.Column(i))
		values := batch.Column(i)
		chunk.Columns = append(chunk.Columns, Column{Name: field.Name, At: func(row int) Cell {
			if values.IsNull(row) {
				return Cell{Kind: Null}
			}
			return at(row)
		}})
	}
	return chunk, nil
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
		entries := cells(a.Dictionary())
		return func(row int) Cell {
			i := a.GetValueIndex(row)
			if a.Dictionary().IsNull(i) {
				return Cell{Kind: Null}
			}
			return entries(i)
		}
	case array.ExtensionArray:
		return cells(a.Storage())
	case *array.Null:
		return func(int) Cell { return Cell{Kind: Null} }
	}
	return func(row int) Cell { // lists, structures, decimals and what is yet to come
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
	unit, kind := dataType.Unit, Timestamp
	if dataType.TimeZone != "" {
		kind = Instant
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
				return TextCell(a.ValueStr(row))
			}
			t /= 1000
		}
		return Cell{Kind: kind, Int: t}
	}
}

// floor is n/d, rounded down.
func floor(n, d int64) int64 {
	if n < 0 {
		return -((-n + d - 1) / d)
	}
	return n / d
}
