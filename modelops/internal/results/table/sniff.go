package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// Input is an output's bytes. It is read from its beginning each time, and may be large.
type Input struct {
	Name        string // of the output
	ContentType string
	Size        int64
	Open        func() (io.ReadSeekCloser, error)
}

// NotTable is the error for bytes that are no table.
type NotTable struct{ Reason string }

// Error is the reason.
func (n *NotTable) Error() string { return n.Reason }

func notTable(format string, args ...any) error { return &NotTable{fmt.Sprintf(format, args...)} }

// IsNotTable says whether err is that bytes are no table, and not that they could not be
// read.
func IsNotTable(err error) bool {
	_, ok := errors.AsType[*NotTable](err)
	return ok
}

// sniffed is how much of an output its form is told by.
const sniffed = 64 << 10

// Read reads an output as a table.
func Read(in Input) Chunks {
	return func(yield func(*Chunk, error) bool) {
		r, err := in.Open()
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = r.Close() }()
		begin := make([]byte, min(in.Size, sniffed))
		if _, err := io.ReadFull(r, begin); err != nil {
			yield(nil, err)
			return
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			yield(nil, err)
			return
		}
		chunks := in.form(begin)
		if chunks == nil {
			yield(nil, notTable("it is neither Arrow, Parquet nor text in UTF-8"))
			return
		}
		for chunk, err := range chunks(in, r) {
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

// reader reads one form.
type reader func(in Input, r io.ReadSeeker) Chunks

// form tells the form from the first bytes; nil for none that is known.
func (in Input) form(begin []byte) reader {
	switch trimmed := bytes.TrimLeft(bytes.TrimPrefix(begin, byteOrderMark), " \t\r\n"); {
	case len(begin) == 0:
		return nil
	case bytes.HasPrefix(begin, []byte("ARROW1")):
		return readArrowFile
	case bytes.HasPrefix(begin, []byte{0xff, 0xff, 0xff, 0xff}):
		return readArrowStream
	case bytes.HasPrefix(begin, []byte("PAR1")):
		return readParquet
	case !isText(begin):
		return nil
	case bytes.HasPrefix(trimmed, []byte("{")), bytes.HasPrefix(trimmed, []byte("[")):
		return readJSON
	}
	return readCSV
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// isText says whether bytes, which may end inside a character, are text.
func isText(begin []byte) bool {
	if bytes.IndexByte(begin, 0) >= 0 {
		return false
	}
	for cut := range min(utf8.UTFMax, len(begin)) {
		if utf8.Valid(begin[:len(begin)-cut]) {
			return true
		}
	}
	return false
}

// saysCSV says whether the output's name or type calls it a CSV file.
func (in Input) saysCSV() bool {
	extension := strings.ToLower(path.Ext(in.Name))
	return extension == ".csv" || extension == ".tsv" || strings.HasPrefix(in.ContentType, "text/csv") || strings.HasPrefix(in.ContentType, "text/tab-separated-values")
}
