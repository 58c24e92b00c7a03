package results

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// sink writes rows in a format.
type sink interface {
	row(cells []table.Cell) error
	close() error // writes what is left, and leaves the writer open
}

// newSink is a writer of rows with these fields to w. The same rows are the same bytes.
func newSink(format string, w io.Writer, fields []field) (sink, error) {
	switch format {
	case Parquet:
		return newParquetSink(w, fields)
	case Arrow:
		return newArrowSink(w, fields)
	case CSV:
		return newCSVSink(w, fields)
	case JSON:
		return newJSONSink(w, fields), nil
	}
	return nil, &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageCollect,
		Message: "format " + contracts.Quote(format) + " is none of parquet, csv, arrow and json"}
}

// extensionFor is how the names of files in the format end.
func extensionFor(format string) string {
	if format == JSON {
		return ".ndjson"
	}
	return "." + format
}

// replacement is for what is not UTF-8, which no format may have.
const replacement = "\ufffd"

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
	return strings.ToValidUTF8(c.String(), replacement)
}

func (s *csvSink) close() error {
	s.w.Flush()
	return s.w.Error()
}

// jsonSink writes a JSON object for each row, on a line of its own, with all columns in
// their order. Whole numbers have all their digits; NaN and infinite numbers are null,
// bytes are base64, days and times are as RFC 3339 has them, without an offset when they
// are by some clock.
type jsonSink struct {
	w      io.Writer
	fields []field
	keys   [][]byte // what is in front of a value
	line   []byte
}

func newJSONSink(w io.Writer, fields []field) *jsonSink {
	s := &jsonSink{w: w, fields: fields}
	for i, f := range fields {
		key := []byte{','}
		if i == 0 {
			key[0] = '{'
		}
		s.keys = append(s.keys, append(appendJSON(key, f.name), ':'))
	}
	return s
}

func (s *jsonSink) row(cells []table.Cell) error {
	s.line = s.line[:0]
	for i, c := range cells {
		s.line = append(s.line, s.keys[i]...)
		s.line = appendJSONCell(s.line, c, s.fields[i].typ)
	}
	s.line = append(s.line, '}', '\n')
	_, err := s.w.Write(s.line)
	return err
}

func (s *jsonSink) close() error { return nil }

func appendJSONCell(line []byte, c table.Cell, typ table.Type) []byte {
	switch {
	case c.IsNull(typ), typ == table.TypeFloat64 && !c.IsFinite():
		return append(line, "null"...)
	case typ == table.TypeBool:
		return strconv.AppendBool(line, c.Bool)
	case typ == table.TypeInt64:
		return strconv.AppendInt(line, c.Int, 10)
	case typ == table.TypeUint64:
		return strconv.AppendUint(line, c.AsUint(), 10)
	case typ == table.TypeFloat64:
		return append(line, table.FormatFloat(c.AsFloat())...)
	case typ == table.TypeBinary:
		line = base64.StdEncoding.AppendEncode(append(line, '"'), c.Bytes)
		return append(line, '"')
	}
	return appendJSON(line, c.String())
}

// appendJSON adds a string as JSON. What is not UTF-8 becomes the replacement character.
func appendJSON(line []byte, s string) []byte {
	if plain(s) {
		return append(append(append(line, '"'), s...), '"')
	}
	var buffer bytes.Buffer
	e := json.NewEncoder(&buffer)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always JSON
	return append(line, bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))...)
}

// plain says whether a string is in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
