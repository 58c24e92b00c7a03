// Package table reads a simulation's output as a table, whatever form it has: Arrow IPC
// (stream or file), Parquet, CSV with a header row, or JSON (a list of records, a
// mapping of columns, or one record). The form is told by the bytes.
//
// Tables of many tasks become one, so their columns must agree on types. The type of a
// column is that of all its cells together: whole numbers, else floating-point numbers,
// else text; booleans only when all are. [Kinds] collects what there is and [Kinds.Type]
// decides.
//
// Arrow and Parquet have more types than tables. Decimals are numbers, durations are
// seconds, categories are their text, lists, structures and maps are JSON, times of day
// are text. Times that are finer than microseconds are text when they have such digits.
//
// # JSON
//
// JSON is read as Python writes it: NaN, Infinity and -Infinity are numbers. Lists and
// mappings in a cell are their JSON. Besides the forms above, it can be a record on each
// line, or what pandas writes when nothing is said: a mapping of columns to mappings of
// "0", "1" and so on.
//
// # CSV
//
// Cells are typed as they are written. Empty cells are null, and so are cells NA in a
// column that is not text otherwise. Digits behind a zero, as in 007, are text, and so
// are whole numbers that no 64 bits hold. NaN, Inf and -Inf are numbers.
package table

import (
	"encoding/base64"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/modelops-suite/modelops-go/contracts"
)

// Kinds is a set of kinds of cells.
type Kinds uint16

// The kinds. Whole numbers are told apart by what can hold them.
const (
	Null         Kinds = 1 << iota
	NotAvailable       // the letters NA: null among anything but text
	Bool
	Negative // from -2^63
	Whole    // below 2^63
	Large    // from 2^63, below 2^64
	Float
	Text
	Bytes
	Date      // days
	Timestamp // microseconds, by some clock
	Instant   // microseconds, in UTC
)

const numbers = Negative | Whole | Large | Float

// Type is the type of a column.
type Type uint8

// The types.
const (
	TypeString Type = iota
	TypeBool
	TypeInt64
	TypeUint64
	TypeFloat64
	TypeBinary
	TypeDate
	TypeTimestamp
	TypeInstant
)

// Type is the type of a column that has cells of these kinds.
func (k Kinds) Type() Type {
	switch known := k &^ (Null | NotAvailable); {
	case known == 0:
		return TypeString
	case known&^numbers == 0 && known&Float != 0:
		return TypeFloat64
	case known&^(Negative|Whole) == 0:
		return TypeInt64
	case known&^(Whole|Large) == 0:
		return TypeUint64
	case known == Bool:
		return TypeBool
	case known == Bytes:
		return TypeBinary
	case known == Date:
		return TypeDate
	case known == Timestamp:
		return TypeTimestamp
	case known == Instant:
		return TypeInstant
	}
	return TypeString
}

// Arrow is the type in Arrow's terms.
func (t Type) Arrow() arrow.DataType {
	switch t {
	case TypeBool:
		return arrow.FixedWidthTypes.Boolean
	case TypeInt64:
		return arrow.PrimitiveTypes.Int64
	case TypeUint64:
		return arrow.PrimitiveTypes.Uint64
	case TypeFloat64:
		return arrow.PrimitiveTypes.Float64
	case TypeBinary:
		return arrow.BinaryTypes.Binary
	case TypeDate:
		return arrow.FixedWidthTypes.Date32
	case TypeTimestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case TypeInstant:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	}
	return arrow.BinaryTypes.String
}

// Cell is one value.
type Cell struct {
	Kind  Kinds  // exactly one
	Text  string // as it was written, when it was: of [Text], and of numbers in CSV and JSON
	Int   int64  // of [Negative] and [Whole]; days or microseconds since 1970
	Uint  uint64 // of [Large]
	Float float64
	Bool  bool
	Bytes []byte
}

// IntCell is a whole number.
func IntCell(i int64) Cell {
	if i < 0 {
		return Cell{Kind: Negative, Int: i}
	}
	return Cell{Kind: Whole, Int: i}
}

// UintCell is a whole number that is not negative.
func UintCell(u uint64) Cell {
	if u > math.MaxInt64 {
		return Cell{Kind: Large, Uint: u}
	}
	return Cell{Kind: Whole, Int: int64(u)}
}

// FloatCell is a number.
func FloatCell(f float64) Cell { return Cell{Kind: Float, Float: f} }

// TextCell is a string.
func TextCell(s string) Cell { return Cell{Kind: Text, Text: s} }

// ValueCell is a parameter.
func ValueCell(v contracts.Value) Cell {
	c := Cell{Kind: Text, Text: v.Text()}
	switch v.Kind() {
	case contracts.KindNull:
		return Cell{Kind: Null}
	case contracts.KindBool:
		c.Kind = Bool
		c.Bool, _ = v.Bool()
	case contracts.KindInt:
		return wholeCell(c.Text)
	case contracts.KindFloat:
		c.Kind = Float
		c.Float, _ = v.Float64()
	}
	return c
}

// wholeCell is a whole number as it is written, or text when 64 bits do not hold it.
func wholeCell(text string) Cell {
	c := Cell{Kind: Text, Text: text}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		c = IntCell(i)
	} else if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		c = UintCell(u)
	}
	c.Text = text
	return c
}

// numberCell is a number as it is written, or text when it is none.
func numberCell(text string) Cell {
	if wholePattern.MatchString(text) {
		return wholeCell(text)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return TextCell(text) // beyond what a number holds
	}
	return Cell{Kind: Float, Float: f, Text: text}
}

// IsNull says whether the cell is null in a column of the type.
func (c Cell) IsNull(t Type) bool {
	return c.Kind == Null || c.Kind == NotAvailable && t != TypeString
}

// AsFloat is a number as float64.
func (c Cell) AsFloat() float64 {
	switch c.Kind {
	case Float:
		return c.Float
	case Large:
		return float64(c.Uint)
	}
	return float64(c.Int)
}

// IsFinite says whether a number is neither NaN nor infinite.
func (c Cell) IsFinite() bool {
	return c.Kind != Float || !math.IsNaN(c.Float) && !math.IsInf(c.Float, 0)
}

// AsUint is a whole number that is not negative.
func (c Cell) AsUint() uint64 {
	if c.Kind == Large {
		return c.Uint
	}
	return uint64(c.Int)
}

// String is the cell as text: as it was written, if it was.
func (c Cell) String() string {
	if c.Text != "" {
		return c.Text
	}
	switch c.Kind {
	case NotAvailable:
		return "NA"
	case Bool:
		return strconv.FormatBool(c.Bool)
	case Negative, Whole:
		return strconv.FormatInt(c.Int, 10)
	case Large:
		return strconv.FormatUint(c.Uint, 10)
	case Float:
		return FormatFloat(c.Float)
	case Bytes:
		return base64.StdEncoding.EncodeToString(c.Bytes)
	case Date:
		return time.Unix(c.Int*24*60*60, 0).UTC().Format(time.DateOnly)
	case Timestamp:
		return time.UnixMicro(c.Int).UTC().Format("2006-01-02T15:04:05.999999")
	case Instant:
		return time.UnixMicro(c.Int).UTC().Format("2006-01-02T15:04:05.999999Z")
	}
	return ""
}

// FormatFloat is a number as Python writes it: the shortest digits that read back, and
// always a point or an exponent.
func FormatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Inf"
	case math.IsInf(f, -1):
		return "-Inf"
	}
	v, err := contracts.FloatValue(f)
	if err != nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return v.Text()
}

// Chunk is some rows of a table, column by column.
type Chunk struct {
	Columns []Column
	Rows    int
}

// Column is a column of a chunk. At is the cell of a row, from 0.
type Column struct {
	Name string
	At   func(row int) Cell

	// Declared are the kinds of cells that the form says the column has, even when all of
	// them are null; 0 when it does not say.
	Declared Kinds
}

// Chunks are the rows of a table, in order. A column that a chunk does not have is null
// there. An error ends the sequence: then it is no table, or it could not be read.
type Chunks = iter.Seq2[*Chunk, error]
