package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxJSON bounds a JSON document, which is read as a whole.
const maxJSON = 256 << 20

// readJSON reads a list of records, a mapping of columns, or one record.
func readJSON(in Input, r io.ReadSeeker) Chunks {
	return func(yield func(*Chunk, error) bool) {
		if in.Size > maxJSON {
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

// columns collects cells by name, in the order of first appearance.
type columns struct {
	names []string
	cells map[string][]Cell
	rows  int
}

// set puts a cell at the row that is being read.
func (c *columns) set(name string, cell Cell) error {
	list, there := c.cells[name]
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
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	c := &columns{cells: map[string][]Cell{}}
	token, err := d.Token()
	if err == nil {
		if token == json.Delim('[') {
			err = c.records(d)
		} else {
			err = c.mapping(d)
		}
	}
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = notTable("it has something after its JSON")
		}
	}
	if err != nil {
		if !IsNotTable(err) {
			err = notTable("it is no JSON: %v", err)
		}
		return nil, err
	}
	if slices.Contains(c.names, "") {
		return nil, notTable("it has a column without a name")
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
		for d.More() {
			name, cell, err := member(d)
			if err != nil {
				return err
			}
			if err := c.set(name, cell); err != nil {
				return err
			}
		}
		if _, err := d.Token(); err != nil {
			return err
		}
		c.rows++
	}
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
		c.names = append(c.names, name)
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
	case strings.HasPrefix(text, `"`):
		var s string
		err := json.Unmarshal(raw, &s)
		return TextCell(s), err
	case strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{"):
		var compact bytes.Buffer
		err := json.Compact(&compact, raw)
		return TextCell(compact.String()), err
	case text == "NaN" || text == "Infinity" || text == "-Infinity": // Python's own; encoding/json stops before
		return Cell{}, notTable("it has %s, which is no JSON", text)
	case wholePattern.MatchString(text):
		return wholeCell(text), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return TextCell(text), nil // beyond what a number holds
	}
	return Cell{Kind: Float, Float: f, Text: text}, nil
}
