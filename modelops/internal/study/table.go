package study

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Table is the parameter sets of a CSV file: a header with the parameters' names, then
// one set per row. Values are read as [Scalar] reads them, and a column is of numbers,
// of booleans or of strings throughout. seedColumn, if not "", names a column that holds
// the seeds.
//
// The error is a [contracts.Error] with [contracts.CodeInvalidStudy] and every problem;
// file only names the document in it.
func Table(file string, r io.Reader, seedColumn string) ([]contracts.ParameterSet, error) {
	t := &table{kinds: map[string]contracts.Kind{}}
	reader := csv.NewReader(skipMark(r))
	header, err := reader.Read()
	if err == nil {
		err = t.header(header, seedColumn)
	} else if errors.Is(err, io.EOF) {
		err = errors.New("is empty; its first row is the parameters' names")
	}
	for row := 2; err == nil && len(t.problems) < maxProblems; row++ {
		var record []string
		if record, err = reader.Read(); err == nil {
			t.row(row, record)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.problems = append(t.problems, contracts.Problem{Message: err.Error()})
	}
	if len(t.problems) == 0 && len(t.sets) == 0 {
		t.problems = append(t.problems, contracts.Problem{Message: "has no row after the header"})
	}
	if len(t.problems) > 0 {
		first := t.problems[0]
		return nil, &contracts.Error{Code: contracts.CodeInvalidStudy, Stage: contracts.StageStudy,
			Message: "table " + contracts.Quote(file) + ": " + strings.TrimPrefix(first.Field+": "+first.Message, ": "), Hint: first.Hint, Problems: t.problems}
	}
	return t.sets, nil
}

const maxProblems = 20

// table reads row after row.
type table struct {
	names    []string
	seed     int // column of the seeds, or -1
	kinds    map[string]contracts.Kind
	sets     []contracts.ParameterSet
	problems []contracts.Problem
}

func (t *table) header(names []string, seedColumn string) error {
	t.seed = -1
	for i, name := range names {
		name = strings.TrimSpace(name)
		switch {
		case name == "":
			return fmt.Errorf("column %d has no name", i+1)
		case slices.Contains(t.names, name):
			return fmt.Errorf("column %s occurs twice", contracts.Quote(name))
		}
		if _, err := strconv.ParseFloat(name, 64); err == nil {
			return fmt.Errorf("the first row has the number %s; it must be the parameters' names", name)
		}
		t.names = append(t.names, name)
	}
	if seedColumn == "" {
		return nil
	}
	if t.seed = slices.Index(t.names, seedColumn); t.seed < 0 {
		return fmt.Errorf("has no column %s", contracts.Quote(seedColumn))
	}
	return nil
}

func (t *table) row(number int, record []string) {
	set := contracts.ParameterSet{Params: make(contracts.Params, len(record))}
	for i, word := range record {
		word = strings.TrimSpace(word)
		field := fmt.Sprintf("row %d, column %s", number, t.names[i])
		if i == t.seed {
			seed, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				t.problem(field, fmt.Sprintf("%s is not a seed", contracts.Quote(word)), "a seed is an integer from 0 to 18446744073709551615")
			}
			set.Seed = &seed
			continue
		}
		v, err := Scalar(word)
		if err != nil {
			t.problem(field, err.Error(), "")
			continue
		}
		t.kind(field, t.names[i], word, v)
		set.Params[t.names[i]] = v
	}
	t.sets = append(t.sets, set)
}

// kind holds a value against those above it: a word among numbers is a missing value, or
// a slip.
func (t *table) kind(field, name, word string, v contracts.Value) {
	kind := v.Kind()
	if kind == contracts.KindInt {
		kind = contracts.KindFloat
	}
	before, there := t.kinds[name]
	if !there {
		t.kinds[name] = kind
	} else if before != kind {
		t.problem(field, fmt.Sprintf("%s is %v, and above it is %v", contracts.Quote(word), v.Kind(), before), "give every row a value of one kind")
	}
}

func (t *table) problem(field, message, hint string) {
	t.problems = append(t.problems, contracts.Problem{Field: field, Message: message, Hint: hint})
}

// skipMark leaves out the byte order mark that some spreadsheets write.
func skipMark(r io.Reader) io.Reader {
	const mark = "\xef\xbb\xbf"
	begin := make([]byte, len(mark))
	n, _ := io.ReadFull(r, begin) // a short file is told by the reader after it
	if string(begin[:n]) == mark {
		return r
	}
	return io.MultiReader(strings.NewReader(string(begin[:n])), r)
}
