package table

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// chunkRows is how many rows of a text are read at a time.
const chunkRows = 4096

// readCSV reads a header and rows.
func readCSV(in Input, r io.ReadSeeker) Chunks {
	return func(yield func(*Chunk, error) bool) {
		buffered := bufio.NewReaderSize(r, int(min(in.Size, sniffed)))
		if begin, err := buffered.Peek(len(byteOrderMark)); err == nil && string(begin) == string(byteOrderMark) {
			_, _ = buffered.Discard(len(byteOrderMark))
		}
		c := csv.NewReader(buffered)
		c.Comma = separator(buffered)
		header, err := c.Read()
		if err == nil {
			header, err = checkHeader(header)
		}
		if err != nil {
			yield(nil, csvError(err))
			return
		}
		strict := len(header) == 1 && !in.saysCSV()
		for first := true; ; first = false {
			rows, err := readRows(c)
			if err != nil && !errors.Is(err, io.EOF) {
				yield(nil, csvError(err))
				return
			}
			if strict && !allNumbers(rows) || strict && first && len(rows) == 0 {
				yield(nil, notTable("it is text without columns"))
				return
			}
			if (first || len(rows) > 0) && !yield(csvChunk(header, rows), nil) {
				return
			}
			if err != nil {
				return
			}
		}
	}
}

// separator is a tab when the header has tabs and no comma.
func separator(r *bufio.Reader) rune {
	begin, _ := r.Peek(sniffed) // an error there comes again with the first read
	line, _, _ := strings.Cut(string(begin), "\n")
	if strings.Contains(line, "\t") && !strings.Contains(line, ",") {
		return '\t'
	}
	return ','
}

func csvError(err error) error {
	if _, broken := errors.AsType[*csv.ParseError](err); broken || IsNotTable(err) {
		return notTable("%v", err)
	}
	if errors.Is(err, io.EOF) {
		return notTable("it has no header")
	}
	return err
}

// checkHeader is the names of the columns. The first one may be nameless: the index that
// some programs write.
func checkHeader(header []string) ([]string, error) {
	names := slices.Clone(header)
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if i == 0 && names[0] == "" && len(names) > 1 {
			names[0] = "index"
		}
		if names[i] == "" {
			return nil, notTable("column %d of the header has no name", i+1)
		}
		if kind := CSVCell(names[i]).Kind; kind != Text && kind != NotAvailable {
			return nil, notTable("the header has a value instead of a name in column %d", i+1)
		}
		if slices.Contains(names[:i], names[i]) {
			return nil, notTable("the header has the same name twice")
		}
	}
	return names, nil
}

func readRows(c *csv.Reader) ([][]string, error) {
	var rows [][]string
	for len(rows) < chunkRows {
		row, err := c.Read()
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// allNumbers says whether a single column is of numbers throughout: otherwise lines of
// any text would be a table.
func allNumbers(rows [][]string) bool {
	for _, row := range rows {
		if CSVCell(row[0]).Kind&(numbers|Null|NotAvailable|Bool) == 0 {
			return false
		}
	}
	return true
}

func csvChunk(header []string, rows [][]string) *Chunk {
	chunk := &Chunk{Rows: len(rows)}
	for i, name := range header {
		chunk.Columns = append(chunk.Columns, Column{Name: name, At: func(row int) Cell { return CSVCell(rows[row][i]) }})
	}
	return chunk
}

var (
	wholePattern  = regexp.MustCompile(`\A-?(0|[1-9][0-9]*)\z`)
	zerosPattern  = regexp.MustCompile(`\A-?0[0-9]+\z`)
	numberPattern = regexp.MustCompile(`\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z`)
	wordPattern   = regexp.MustCompile(`\A(?:(nan)|([+-]?)inf(?:inity)?)\z`)
)

// CSVCell is a cell as it is written in CSV.
func CSVCell(text string) Cell {
	if text == "" {
		return Cell{Kind: Null}
	}
	c := Cell{Kind: Text, Text: text}
	if text[0] > '9' { // most text ends here
		return wordCell(c)
	}
	switch {
	case wholePattern.MatchString(text):
		return wholeCell(text)
	case zerosPattern.MatchString(text):
	case numberPattern.MatchString(text):
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			c.Kind, c.Float = Float, f
		}
	default:
		return wordCell(c)
	}
	return c
}

func wordCell(c Cell) Cell {
	switch c.Text {
	case "NA":
		c.Kind = NotAvailable
	case "true", "True", "TRUE":
		c.Kind, c.Bool = Bool, true
	case "false", "False", "FALSE":
		c.Kind = Bool
	default:
		if len(c.Text) <= len("-infinity") && wordPattern.MatchString(strings.ToLower(c.Text)) {
			if f, err := strconv.ParseFloat(c.Text, 64); err == nil {
				c.Kind, c.Float = Float, f
			}
		}
	}
	return c
}
