package report

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// survey is what the first pass over the results finds: what outputs there are, of which
// form, and how long the tasks took.
type survey struct {
	outputs      map[string]*output
	environments map[string]int // tasks by environment digest; "" for those that do not say
	seconds      []float64      // of each task that succeeded
	slowest      []timed
	total        float64 // of seconds, failed tasks included
	succeeded    int
}

// timed is a task with the seconds it took.
type timed struct {
	row     int
	set     int
	rep     int
	seed    uint64
	seconds float64
	failed  bool
}

// form is how an output is shown.
type form int

const (
	files   form = iota // it is no table
	summary             // one row for each task
	series              // many rows for each task, along an index
	rows                // many rows for each task, in no order that we know
)

// output is one output over the whole job.
type output struct {
	name    string
	tables  int // tasks that have it as a table
	files   int // tasks that have it as something else
	bytes   int64
	reason  string // why the first of those is no table
	rows    int
	most    int // rows of the task that has most
	columns []*column
	byName  map[string]*column
	index   *column // of a series
}

// column is a column of an output.
type column struct {
	name     string
	kinds    table.Kinds
	min, max float64 // of the finite values
	values   int     // that are finite
	rising   bool    // strictly within each task, and there in each row
	whole    bool    // all are whole numbers
	tasks    int
}

func newSurvey() *survey {
	return &survey{outputs: map[string]*output{}, environments: map[string]int{}}
}

// took notes how long a task took.
func (s *survey) took(row results.Row, result *contracts.SimReturn) {
	const most = 5
	s.total += result.Seconds
	if result.Error == nil {
		s.seconds = append(s.seconds, result.Seconds)
	}
	s.environments[result.EnvironmentDigest]++
	t := timed{row.Number, row.Task.Set, row.Task.Replicate, row.Task.Seed, result.Seconds, result.Error != nil}
	at, _ := slices.BinarySearchFunc(s.slowest, t, func(x, y timed) int {
		if x.seconds != y.seconds {
			return compare(y.seconds, x.seconds)
		}
		return x.row - y.row
	})
	s.slowest = slices.Insert(s.slowest, at, t)
	s.slowest = s.slowest[:min(most, len(s.slowest))]
}

// take looks at one task's outputs.
func (s *survey) take(ctx context.Context, all *results.Rows, row results.Row) error {
	s.succeeded++
	s.took(row, row.Result)
	for _, name := range slices.Sorted(maps.Keys(row.Result.Outputs)) {
		o := s.outputs[name]
		if o == nil {
			o = &output{name: name, byName: map[string]*column{}}
			s.outputs[name] = o
		}
		artifact := row.Result.Outputs[name]
		o.bytes += artifact.Size
		if err := o.look(all.Output(ctx, row, name)); err != nil {
			return err
		}
	}
	return nil
}

// look reads one task's bytes of the output. What is found counts only when all of it is
// a table.
func (o *output) look(in table.Chunks) error {
	var found []column
	rows := 0
	var last []float64
	for chunk, err := range in {
		if table.IsNotTable(err) {
			if o.reason == "" {
				o.reason = err.Error()
			}
			o.files++
			return nil
		}
		if err != nil {
			return err
		}
		if found == nil {
			found, last = make([]column, len(chunk.Columns)), make([]float64, len(chunk.Columns))
		}
		for i, c := range chunk.Columns {
			if rows == 0 {
				found[i] = column{name: c.Name, min: math.Inf(1), max: math.Inf(-1), rising: true, whole: true}
				last[i] = math.Inf(-1)
			}
			for at := range chunk.Rows {
				last[i] = found[i].take(c.At(at), last[i])
			}
		}
		rows += chunk.Rows
	}
	o.tables++
	o.rows += rows
	o.most = max(o.most, rows)
	for _, f := range found {
		if rows > 0 {
			o.merge(f)
		}
	}
	return nil
}

// take takes in a cell that follows one of value last, and is its own value.
func (c *column) take(cell table.Cell, last float64) float64 {
	c.kinds |= cell.Kind
	v := value(cell)
	if !isFinite(v) {
		c.rising = false
		return last
	}
	c.values++
	c.min, c.max = min(c.min, v), max(c.max, v)
	c.rising = c.rising && v > last
	c.whole = c.whole && v == math.Trunc(v)
	return v
}

func (o *output) merge(f column) {
	c := o.byName[f.name]
	if c == nil {
		f.tasks = 1
		o.byName[f.name] = &f
		o.columns = append(o.columns, &f)
		return
	}
	c.kinds |= f.kinds
	c.min, c.max, c.values = min(c.min, f.min), max(c.max, f.max), c.values+f.values
	c.rising, c.whole, c.tasks = c.rising && f.rising, c.whole && f.whole, c.tasks+1
}

// largest is the size up to which the squares of many numbers can be added.
const largest = 1e150

// value is a cell as a number: truth is 1, a time its distance from 1970, and what is no
// number that can be plotted NaN.
func value(c table.Cell) float64 {
	const known = table.Negative | table.Whole | table.Large | table.Float | table.Date | table.Timestamp | table.Instant
	switch {
	case c.Kind == table.Bool && c.Bool:
		return 1
	case c.Kind == table.Bool:
		return 0
	case c.Kind&known != 0:
		if v := c.AsFloat(); math.Abs(v) <= largest {
			return v
		}
	}
	return math.NaN()
}

// numeric says whether the column can be plotted.
func (c *column) numeric() bool {
	switch c.kinds.Type() {
	case table.TypeInt64, table.TypeUint64, table.TypeFloat64, table.TypeBool:
		return c.values > 0
	}
	return false
}

// dates is how many of the column's values are one day; 0 when they are no times.
func (c *column) dates() float64 {
	switch c.kinds.Type() {
	case table.TypeDate:
		return 1
	case table.TypeTimestamp, table.TypeInstant:
		return 86400e6
	}
	return 0
}

// form decides how the output is shown, and by which index.
func (o *output) form() form {
	switch {
	case o.tables == 0:
		return files
	case o.most <= 1:
		return summary
	}
	if o.index = o.findIndex(); o.index != nil {
		return series
	}
	return rows
}

// findIndex is the column that the rows of every task are in the order of: one that is
// called like one, else the first.
func (o *output) findIndex() *column {
	known := []string{"time", "t", "date", "datetime", "day", "days", "week", "month", "year", "step", "tick", "generation", "iteration", "index"}
	var best *column
	rank := len(known) + 1
	for _, c := range o.columns {
		if !c.rising || c.tasks < o.tables || !c.numeric() && c.dates() == 0 {
			continue
		}
		at := slices.Index(known, strings.ToLower(c.name))
		if at < 0 {
			at = len(known)
		}
		if at < rank {
			best, rank = c, at
		}
	}
	return best
}

// plotted are the columns with numbers that are shown, at most maxColumns, and how many
// there are.
func (o *output) plotted() (shown []*column, all int) {
	for _, c := range o.columns {
		if !c.numeric() || c == o.index {
			continue
		}
		all++
		if len(shown) < maxColumns {
			shown = append(shown, c)
		}
	}
	return shown, all
}

// tables are the outputs that are tables, by name.
func (s *survey) tables() []*output {
	var list []*output
	for _, name := range slices.Sorted(maps.Keys(s.outputs)) {
		if s.outputs[name].tables > 0 {
			list = append(list, s.outputs[name])
		}
	}
	return list
}

// files are the outputs that are not, in any task, by name.
func (s *survey) files() []*output {
	var list []*output
	for _, name := range slices.Sorted(maps.Keys(s.outputs)) {
		if s.outputs[name].tables == 0 {
			list = append(list, s.outputs[name])
		}
	}
	return list
}
