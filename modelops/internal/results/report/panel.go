package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// panel is one plot: paths and ticks in the coordinates of its viewBox. Colours are
// classes, so that the page's style sheet decides them for both schemes.
type panel struct {
	ID     string
	Title  string // also of the SVG
	Alt    string // what is to be seen, for those who do not see it
	Y, X   string // what the axes are
	W, H   float64
	XTicks []tick
	YTicks []tick
	Marks  []mark
	Keys   []key // a legend of its own, inside
}

// mark is one path.
type mark struct{ Class, D string }

type tick struct {
	At    float64
	Label string
}

// The margins of a panel.
const (
	left   = 48
	right  = 12
	top    = 22
	bottom = 36
)

func newPanel(w, h float64) *panel { return &panel{W: w, H: h} }

// The ends of the plot inside the panel, for the template.
func (p *panel) Left() float64   { return left }
func (p *panel) Right() float64  { return p.W - right }
func (p *panel) Top() float64    { return top }
func (p *panel) Bottom() float64 { return p.H - bottom }
func (p *panel) TickX() float64  { return left - 6 }
func (p *panel) TickY() float64  { return p.H - bottom + 15 }
func (p *panel) NameY() float64  { return p.H - 5 }
func (p *panel) Middle() float64 { return (left + p.W - right) / 2 }

// axes sets the ticks.
func (p *panel) axes(x, y scale) {
	p.XTicks, p.YTicks = x.ticks(int(p.W/75)), y.ticks(5)
}

// scale maps values to places. With levels the values are places already.
type scale struct {
	lo, hi   float64
	log      bool
	from, to float64
	levels   []string
	dates    float64 // how many to a day, when the values are times
}

// newScale is a scale with a little room at both ends.
func newScale(lo, hi float64, log bool, from, to float64) scale {
	switch {
	case lo > hi || !isFinite(lo) || !isFinite(hi):
		lo, hi, log = 0, 1, false
	case lo == hi:
		room := max(math.Abs(lo)*0.1, 1e-9)
		if lo == 0 {
			room = 1
		}
		lo, hi, log = lo-room, hi+room, false
	case log:
		room := math.Pow(hi/lo, 0.04)
		lo, hi = lo/room, hi*room
	default:
		room := (hi - lo) * 0.04
		if !isFinite(room) {
			room = 0
		}
		if lo >= 0 && lo < room {
			lo = 0 // an axis of what is not negative begins at zero
		} else {
			lo -= room
		}
		hi += room
	}
	return scale{lo: lo, hi: hi, log: log, from: from, to: to}
}

func (s scale) at(v float64) float64 {
	f := v/(s.hi-s.lo) - s.lo/(s.hi-s.lo) // the difference of two large values may overflow
	if s.log {
		f = math.Log(v/s.lo) / math.Log(s.hi/s.lo)
	}
	return s.from + min(1, max(0, f))*(s.to-s.from)
}

// ticks are about n round values.
func (s scale) ticks(n int) []tick {
	switch {
	case s.levels != nil:
		var ticks []tick
		for i, level := range s.levels {
			ticks = append(ticks, tick{s.at(float64(i)), label(level, max(4, 44/len(s.levels)))})
		}
		return ticks
	case s.log:
		return s.powers()
	case s.dates > 0:
		return s.days(n)
	}
	step := roundStep((s.hi - s.lo) / float64(n))
	if step == 0 || !isFinite(step) {
		return nil
	}
	var ticks []tick
	for i := math.Ceil(s.lo / step); i*step <= s.hi && len(ticks) < 20; i++ {
		ticks = append(ticks, tick{s.at(i * step), tickLabel(i*step, step)})
	}
	return ticks
}

// roundStep is 1, 2 or 5 times a power of ten, about the step.
func roundStep(step float64) float64 {
	if step <= 0 || !isFinite(step) {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= step*0.75 {
			return factor * power
		}
	}
	return 10 * power
}

// tickLabel has as many digits as the step needs.
func tickLabel(v, step float64) string {
	if math.Abs(v) < step/2 {
		return "0"
	}
	if size := math.Abs(v); size >= 1e6 || size < 1e-3 {
		digits := max(0, int(math.Floor(math.Log10(size)))-int(math.Floor(math.Log10(step)+1e-9)))
		return scientific(strconv.FormatFloat(v, 'e', min(digits, 6), 64))
	}
	text := strconv.FormatFloat(v, 'f', max(0, -int(math.Floor(math.Log10(step)+1e-9))), 64)
	if math.Abs(v) >= 10_000 {
		return grouped(text)
	}
	return strings.Replace(text, "-", "−", 1)
}

// powers are the ticks of a logarithmic axis: powers of ten, and between them when there
// are few.
func (s scale) powers() []tick {
	first, last := int(math.Floor(math.Log10(s.lo))), int(math.Ceil(math.Log10(s.hi)))
	stride := max(1, (last-first)/5)
	factors := []float64{1}
	if last-first <= 2 {
		factors = []float64{1, 2, 5}
	}
	var ticks []tick
	for power := first; power <= last; power += stride {
		for _, factor := range factors {
			if v := factor * math.Pow(10, float64(power)); v >= s.lo && v <= s.hi {
				ticks = append(ticks, tick{s.at(v), number(v)})
			}
		}
	}
	return ticks
}

// days are ticks at whole days.
func (s scale) days(n int) []tick {
	step := max(1, math.Round((s.hi-s.lo)/s.dates/float64(n)))
	var ticks []tick
	for day := math.Ceil(s.lo / s.dates); day*s.dates <= s.hi && len(ticks) < 20; day += step {
		ticks = append(ticks, tick{s.at(day * s.dates), time.Unix(int64(day)*86400, 0).UTC().Format(time.DateOnly)})
	}
	return ticks
}

// path builds the d of a path with coordinates to a tenth.
type path struct{ b strings.Builder }

func (p *path) op(letter byte, numbers ...float64) {
	p.b.WriteByte(letter)
	for i, n := range numbers {
		if i > 0 {
			p.b.WriteByte(' ')
		}
		p.b.Write(strconv.AppendFloat(nil, math.Round(n*10)/10, 'f', -1, 64))
	}
}

// dot is a line of no length, which a round cap makes a point.
func (p *path) dot(x, y float64) { p.op('M', x, y); p.b.WriteString("h0") }

// line continues a line, or begins one when the last point was none.
func (p *path) line(begin bool, x, y float64) {
	if begin {
		p.op('M', x, y)
	} else {
		p.op('L', x, y)
	}
}

func (p *path) rect(x, y, w, h float64) {
	p.op('M', x, y)
	p.op('h', w)
	p.op('v', h)
	p.op('h', -w)
	p.b.WriteByte('z')
}

func (p *path) String() string { return p.b.String() }

// curve is a line through the points that there are; a gap ends it.
func curve(x, y scale, xs, ys []float64) string {
	var p path
	begin := true
	for i := range xs {
		if !isFinite(ys[i]) {
			begin = true
			continue
		}
		p.line(begin, x.at(xs[i]), y.at(ys[i]))
		begin = false
	}
	return p.String()
}

// band is the area between two curves; a gap ends it.
func band(x, y scale, xs, lo, hi []float64) string {
	var p path
	for from := 0; from < len(xs); from++ {
		if !isFinite(lo[from]) {
			continue
		}
		to := from
		for to < len(xs) && isFinite(lo[to]) {
			p.line(to == from, x.at(xs[to]), y.at(hi[to]))
			to++
		}
		for i := to - 1; i >= from; i-- {
			p.line(false, x.at(xs[i]), y.at(lo[i]))
		}
		p.b.WriteByte('z')
		from = to
	}
	return p.String()
}

// add adds a path that is not empty.
func (p *panel) add(class, d string) {
	if d != "" {
		p.Marks = append(p.Marks, mark{class, d})
	}
}

// colour is the class of one of the palette's colours.
func colour(i int) string { return fmt.Sprintf("c%d", i%palette) }

const palette = 6
