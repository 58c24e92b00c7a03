package table

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// maxJSON bounds a JSON document, which is read as a whole.
const maxJSON = 256 << 20

// readJSON reads a list of records, a mapping of columns, one record, or a record on each
// line.
func readJSON(in Input, r io.ReadSeeker) Chunks {
	return func(yield func(*Chunk, error) bool) {
		lines, err := isLines(r)
		switch {
		case err != nil:
			yield(nil, err)
			return
		case lines:
			readLines(r)(yield)
			return
		case in.Size > maxJSON:
			yield(nil, notTable("it is JSON of more than %d MiB", maxJSON>>20))
			return
		}
		data, err := io.ReadAll(r)
		if err != nil {
			yield(nil, err)
			return
		}
		yield(parseJSON(bytes.TrimPrefix(data, byteOrderMark)))
	}
}

// maxLine bounds a record on a line of its own.
const maxLine = 16 << 20

func lineScanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	return s
}

// isLines says whether the first line is a mapping and something comes after it. It
// leaves r at its beginning.
func isLines(r io.ReadSeeker) (bool, error) {
	s := lineScanner(r)
	lines := 0
	for lines < 2 && s.Scan() {
		line := bytes.TrimSpace(bytes.TrimPrefix(s.Bytes(), byteOrderMark))
		if len(line) == 0 {
			continue
		}
		if lines == 0 && (line[0] != '{' || !json.Valid(finite(line))) {
			break
		}
		lines++
	}
	if err := s.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return false, err
	}
	_, err := r.Seek(0, io.SeekStart)
	return lines == 2, err
}

// readLines reads a record on each line, some at a time.
func readLines(r io.Reader) Chunks {
	return func(yield func(*Chunk, error) bool) {
		s := lineScanner(r)
		c := &columns{cells: map[string][]Cell{}}
		for s.Scan() {
			line := bytes.TrimSpace(bytes.TrimPrefix(s.Bytes(), byteOrderMark))
			if len(line) == 0 {
				continue
			}
			if err := c.line(line); err != nil {
				yield(nil, err)
				return
			}
			if c.rows == chunkRows {
				if !yield(c.chunk(), nil) {
					return
				}
				c = &columns{cells: map[string][]Cell{}}
			}
		}
		switch err := s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(nil, notTable("it has a line of more than %d MiB", maxLine>>20))
		case err != nil:
			yield(nil, err)
		default:
			yield(c.chunk(), nil)
		}
	}
}

// line reads a record.
func (c *columns) line(text []byte) error {
	return document(text, func(d *json.Decoder, first json.Token) error {
		if first != json.Delim('{') {
			return notTable("it has a line that is no record")
		}
		return c.record(d)
	})
}

// document reads one JSON value; its first token is read already.
func document(data []byte, read func(d *json.Decoder, first json.Token) error) error {
	d := json.NewDecoder(bytes.NewReader(finite(data)))
	d.UseNumber()
	first, err := d.Token()
	if err == nil {
		err = read(d, first)
	}
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = notTable("it has something after its JSON")
		}
	}
	if err != nil && !IsNotTable(err) {
		err = notTable("it is no JSON: %v", err)
	}
	return err
}

// marked begins the strings that stand for Python's NaN and Infinity, which are no JSON.
const marked = `"\u0000#`

// unmarked has Python's words instead.
var unmarked = strings.NewReplacer(marked+`NaN"`, "NaN", marked+`-Infinity"`, "-Infinity", marked+`Infinity"`, "Infinity")

var wordsPattern = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|NaN|-?Infinity`)

// finite is JSON without Python's NaN and Infinity.
func finite(data []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	return wordsPattern.ReplaceAllFunc(data, func(token []byte) []byte {
		if token[0] == '"' {
			return token
		}
		return []byte(marked + string(token) + `"`)
	})
}

// columns collects cells by name, in the order of first appearance.
type columns struct {
	names []string
	cells map[string][]Cell
	rows  int
}

// set puts a cell at the row that is being read.
func (c *columns) set(name string, cell Cell) error {
	list, there := c.cells[name]
	if name == "" {
		return notTable("it has a column without a name")
	}
	if !there {
		c.names = append(c.names, name)
	}
	if len(list) > c.rows {
		return notTable("it has the key %s twice", strconv.Quote(name))
	}
	for len(list) < c.rows {
		list = append(list, Cell{Kind: Null})
	}
	c.cells[name] = append(list, cell)
	return nil
}

func (c *columns) chunk() *Chunk {
	chunk := &Chunk{Rows: c.rows}
	for _, name := range c.names {
		list := c.cells[name]
		chunk.Columns = append(chunk.Columns, Column{Name: name, At: func(row int) Cell {
			if row >= len(list) {
				return Cell{Kind: Null}
			}
			return list[row]
		}})
	}
	return chunk
}

func parseJSON(data []byte) (*Chunk, error) {
	c := &columns{cells: map[string][]Cell{}}
	err := document(data, func(d *json.Decoder, first json.Token) error {
		if first == json.Delim('[') {
			return c.records(d)
		}
		return c.mapping(d)
	})
	if err != nil {
		return nil, err
	}
	return c.chunk(), nil
}

// records reads [{…}, {…}], the bracket being read already.
func (c *columns) records(d *json.Decoder) error {
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		if token != json.Delim('{') {
			return notTable("it is a list of something else than records")
		}
		if err := c.record(d); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// record reads a record as a row, the brace being read already.
func (c *columns) record(d *json.Decoder) error {
	for d.More() {
		name, cell, err := member(d)
		if err != nil {
			return err
		}
		if err := c.set(name, cell); err != nil {
			return err
		}
	}
	c.rows++
	_, err := d.Token()
	return err
}

// member reads a key and its value as one cell.
func member(d *json.Decoder) (string, Cell, error) {
	token, err := d.Token()
	if err != nil {
		return "", Cell{}, err
	}
	name, ok := token.(string)
	if !ok {
		return "", Cell{}, errors.New("a key is not a string")
	}
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return "", Cell{}, err
	}
	cell, err := jsonCell(raw)
	return name, cell, err
}

// mapping reads {"column": [cells…]} or one record, the brace being read already.
func (c *columns) mapping(d *json.Decoder) error {
	lists, scalars := 0, 0
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if _, twice := c.cells[name]; twice {
			return notTable("it has the key %s twice", strconv.Quote(name))
		}
		if name == "" {
			return notTable("it has a column without a name")
		}
		c.names = append(c.names, name)
		if cells, ok := numbered(raw); ok {
			lists++
			c.cells[name] = cells
			continue
		}
		if strings.HasPrefix(string(raw), "[") {
			lists++
			if c.cells[name], err = list(raw); err != nil {
				return err
			}
			continue
		}
		if strings.HasPrefix(string(raw), "{") {
			return notTable("it is a mapping of mappings")
		}
		scalars++
		cell, err := jsonCell(raw)
		if err != nil {
			return err
		}
		c.cells[name] = []Cell{cell}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if lists > 0 && scalars > 0 || lists+scalars == 0 {
		return notTable("it is a mapping of neither columns nor values")
	}
	for _, cells := range c.cells {
		if c.rows = len(c.cells[c.names[0]]); len(cells) != c.rows {
			return notTable("its columns have different lengths")
		}
	}
	return nil
}

// numbered reads {"0": …, "1": …}, as pandas writes a column.
func numbered(raw json.RawMessage) ([]Cell, bool) {
	if !strings.HasPrefix(string(raw), `{"0"`) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	var cells []Cell
	for d.More() {
		name, cell, err := member(d)
		if err != nil || name != strconv.Itoa(len(cells)) {
			return nil, false
		}
		cells = append(cells, cell)
	}
	return cells, true
}

func list(raw json.RawMessage) ([]Cell, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, err
	}
	cells := make([]Cell, len(items))
	for i, item := range items {
		var err error
		if cells[i], err = jsonCell(item); err != nil {
			return nil, err
		}
	}
	return cells, nil
}

// jsonCell is a value as a cell; lists and mappings are their JSON.
func jsonCell(raw json.RawMessage) (Cell, error) {
	text := string(bytes.TrimSpace(raw))
	switch {
	case text == "null":
		return Cell{Kind: Null}, nil
	case text == "true" || text == "false":
		return Cell{Kind: Bool, Bool: text == "true", Text: text}, nil
	case text == marked+`NaN"`, text == marked+`Infinity"`, text == marked+`-Infinity"`:
		return numberCell(unmarked.Replace(text)), nil
	case strings.HasPrefix(text, `"`):
		var s string
		err := json.Unmarshal(raw, &s)
		return TextCell(s), err
	case strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{"):
		var compact bytes.Buffer
		err := json.Compact(&compact, raw)
		return TextCell(unmarked.Replace(compact.String())), err
	}
	return numberCell(text), nil
}
