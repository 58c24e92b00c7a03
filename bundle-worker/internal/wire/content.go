package wire

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The media types that outputs are recognised as.
const (
	typeArrowStream = "application/vnd.apache.arrow.stream"
	typeArrowFile   = "application/vnd.apache.arrow.file"
	typeParquet     = "application/vnd.apache.parquet"
	typeJSON        = "application/json"
	typeCSV         = "text/csv"
	typeText        = "text/plain; charset=utf-8"
	typeOther       = "application/octet-stream"
)

// contentType is what an output is, by its bytes (or the beginning of them) first and its
// name second.
func contentType(name string, data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte(arrowMagic)):
		return typeArrowFile
	case bytes.HasPrefix(data, []byte("PAR1")):
		return typeParquet
	}
	if _, ok := readArrow(data); ok {
		return typeArrowStream
	}
	text, ok := wholeText(data)
	switch extension := strings.ToLower(path.Ext(name)); {
	case !ok:
		return typeOther
	case extension == ".json" || json.Valid(text) && strings.ContainsRune("[{", rune(bytes.TrimSpace(text)[0])):
		return typeJSON
	case extension == ".csv" || isTable(text):
		return typeCSV
	}
	return typeText
}

// wholeText is data up to sniffed bytes, at the end of a line when there is more. It is
// false for what is no text.
func wholeText(data []byte) ([]byte, bool) {
	if len(data) > sniffed {
		if end := bytes.LastIndexByte(data[:sniffed], '\n'); end > 0 {
			data = data[:end]
		}
	}
	return data, len(bytes.TrimSpace(data)) > 0 && utf8.Valid(data) && bytes.IndexByte(data, 0) < 0
}

// isTable says whether text is CSV: rows of one length under a head. A single column must
// also hold numbers, or any list of words would be one.
func isTable(text []byte) bool {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.ReuseRecord = true
	columns, numbers := 0, true
	for row := 0; ; row++ {
		fields, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			return row > 0 && (columns > 1 || row > 1 && numbers)
		case err != nil:
			return false
		case row == 0:
			columns = len(fields)
			for _, field := range fields {
				if strings.TrimSpace(field) == "" || columns == 1 && isNumber(field) {
					return false
				}
			}
		case columns == 1:
			numbers = numbers && isNumber(fields[0])
		}
	}
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return err == nil
}
