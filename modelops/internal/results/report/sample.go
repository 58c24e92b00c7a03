package report

import (
	"context"
	"math"

	"github.com/modelops-suite/modelops-go/modelops/internal/results"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// The bounds of what is kept and shown, whatever the size of the job. Together they keep
// memory to some tens of megabytes and the page to a few.
const (
	maxOutputs = 12     // that are shown
	maxColumns = 8      // of each
	maxParams  = 6      // that a column is plotted against
	maxPanels  = 100    // of the whole page
	maxTasks   = 20_000 // whose values are kept, of a summary
	maxRuns    = 1_000  // whose curves are kept, of a series
	maxRows    = 20_000 // that are kept of other tables
	maxDots    = 1_200  // in one panel
	maxMeans   = 500    // in one panel
	gridPoints = 121    // of a curve
)

// sample is the values that are kept of one output in the second pass.
type sample struct {
	*output
	form    form
	columns []*column
	all     int // columns with numbers
	draw    draw

	sets   []int       // the parameter set of each task that is kept
	rows   []int       // its row in the study
	values [][]float64 // of each column: a value for each of those
	curves [][]curve32 // of each column, for a series
	grid   []float64
	exact  bool // the grid is the index itself
	seen   int  // rows, of a table in no order
}

// curve32 is one run along the grid.
type curve32 []float32

func newSample(o *output, tasks int) *sample {
	s := &sample{output: o, form: o.form(), draw: draw{tasks, maxTasks}}
	s.columns, s.all = o.plotted()
	s.values, s.curves = make([][]float64, len(s.columns)), make([][]curve32, len(s.columns))
	switch s.form {
	case series:
		s.draw.limit = maxRuns
		s.grid, s.exact = o.index.grid()
	case rows:
		s.draw = draw{o.rows, maxRows}
	}
	return s
}

// grid are the places that curves are read off at: the index itself when it is whole
// numbers and few, else evenly spaced ones.
func (c *column) grid() (grid []float64, exact bool) {
	if span := c.max - c.min; c.whole && span < 2*gridPoints {
		for i := range int(span) + 1 {
			grid = append(grid, c.min+float64(i))
		}
		return grid, true
	}
	for i := range gridPoints {
		f := float64(i) / (gridPoints - 1)
		grid = append(grid, c.min*(1-f)+c.max*f)
	}
	return grid, false
}

// take keeps what is to be kept of one task.
func (s *sample) take(ctx context.Context, all *results.Rows, row results.Row) error {
	_, there := row.Result.Outputs[s.name]
	if !there || s.form == files || s.form != rows && !s.draw.keeps(row.Number) || len(s.columns) == 0 {
		return nil
	}
	in := all.Output(ctx, row, s.name)
	before := s.kept()
	var err error
	switch s.form {
	case series:
		err = s.run(in)
	case rows:
		err = s.read(in, s.columns, func(values []float64) {
			if s.draw.keeps(s.seen) {
				s.keep(values)
			}
			s.seen++
		})
	case summary:
		err = s.read(in, s.columns, s.keep)
	}
	if table.IsNotTable(err) { // as the survey found: what came before its fault is none either
		for i := range s.values {
			s.values[i] = s.values[i][:min(before, len(s.values[i]))]
		}
		return nil
	}
	for len(s.sets) < s.kept() {
		s.sets, s.rows = append(s.sets, row.Task.Set), append(s.rows, row.Number)
	}
	return err
}

// kept is the number of tasks, runs or rows that are kept.
func (s *sample) kept() int {
	if s.form == series {
		return len(s.curves[0])
	}
	return len(s.values[0])
}

func (s *sample) keep(values []float64) {
	for i, v := range values {
		s.values[i] = append(s.values[i], v)
	}
}

// read calls visit with the values of these columns in each row.
func (s *sample) read(in table.Chunks, columns []*column, visit func(values []float64)) error {
	values := make([]float64, len(columns))
	cells := make([]func(int) table.Cell, len(columns))
	for chunk, err := range in {
		if err != nil {
			return err
		}
		for i, c := range columns {
			cells[i] = nil
			for _, own := range chunk.Columns {
				if own.Name == c.name {
					cells[i] = own.At
				}
			}
		}
		for row := range chunk.Rows {
			for i, at := range cells {
				values[i] = math.NaN()
				if at != nil {
					values[i] = value(at(row))
				}
			}
			visit(values)
		}
	}
	return nil
}

// run keeps one task's rows as curves, read off the grid: linear between two rows, and
// nothing outside the first and the last.
func (s *sample) run(in table.Chunks) error {
	own := make([]curve32, len(s.columns))
	for i := range own {
		own[i] = make(curve32, len(s.grid))
		for g := range own[i] {
			own[i][g] = float32(math.NaN())
		}
	}
	next, first := 0, true
	var lastX float64
	lastY := make([]float64, len(s.columns))
	err := s.read(in, append([]*column{s.index}, s.columns...), func(values []float64) {
		x, ys := values[0], values[1:]
		for next < len(s.grid) && s.grid[next] <= x {
			g := s.grid[next]
			for i, y := range ys {
				switch {
				case g == x:
					own[i][next] = float32(y)
				case !first:
					f := (g - lastX) / (x - lastX)
					own[i][next] = float32(lastY[i]*(1-f) + y*f)
				}
			}
			next++
		}
		lastX, first = x, false
		copy(lastY, ys)
	})
	if err != nil {
		return err
	}
	for i, c := range own {
		s.curves[i] = append(s.curves[i], c)
	}
	return nil
}
