package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// scatter plots a column of a summary against each parameter that varies.
func (d *drawer) scatter(s *sample, c int) *figure {
	if len(d.design.varying) == 0 {
		return d.distribution(s, c)
	}
	params, note := d.strongest(s, s.values[c])
	f := &figure{Title: s.columns[c].name + " against " + joinAnd(names(params))}
	dots := draw{s.kept(), maxDots}
	if !s.draw.all() {
		dots.total = s.draw.total // the same hash has thinned them once
	}
	means := s.groups(c)
	var panels []*panel
	for _, p := range params {
		panels = append(panels, d.scatterPanel(s, c, p, dots, means))
	}
	f.Caption = s.columns[c].name + " of " + s.of("run", "runs") + " against each parameter that varies."
	f.Legend = append(f.Legend, key{"dot c0", "a run"})
	if !dots.all() {
		f.Caption += fmt.Sprintf(" About %s of them are drawn as dots.", count(maxDots))
	}
	if d.design.replicate > 1 && d.design.sets > 1 {
		f.Legend = append(f.Legend, key{"mean c1", "mean of a parameter set"})
		if len(means) > maxMeans {
			f.Caption += fmt.Sprintf(" About %s of %s set means are drawn.", count(maxMeans), count(len(means)))
		}
	}
	if d.design.sets > 2 {
		f.Legend = append(f.Legend, key{"trend", "trend"})
		f.Caption += " Trend: the mean at each value of the parameter, or, where it has more than " + strconv.Itoa(maxLevels) + " values, the mean in bins with equally many runs; over all other parameters."
	}
	f.Caption += booleanNote(s.columns[c]) + outOfRange(s.columns[c], s.values[c]) + note
	return d.figure(f, panels...)
}

func (d *drawer) scatterPanel(s *sample, c int, p *parameter, dots draw, means []group) *panel {
	col := s.columns[c]
	pl := newPanel(320, 230)
	pl.Title, pl.Y, pl.X = label(col.name, 34)+" against "+label(p.name, 34), label(col.name, 40), label(p.name, 40)
	x := p.axis(pl.Left(), pl.Right())
	y := newScale(col.min, col.max, col.logarithmic(s.values[c]), pl.Bottom(), pl.Top())
	pl.axes(x, y)
	at := d.at(s, p)
	var cloud, centre path
	for i, v := range s.values[c] {
		if !isFinite(v) || math.IsNaN(at[i]) || !dots.keeps(s.rows[i]) {
			continue
		}
		cloud.dot(x.at(at[i])+p.jitter(s.rows[i], x), y.at(v))
	}
	pl.add("dot c0", cloud.String())
	if d.design.replicate > 1 && d.design.sets > 1 {
		some := draw{len(means), maxMeans}
		for i, g := range means {
			if place := p.at(d.design.study.ParameterSets[g.set].Params); some.keeps(i) && !math.IsNaN(place) {
				mean, _ := moments(g.values)
				centre.dot(x.at(place)+p.jitter(-1-i, x), y.at(mean))
			}
		}
		pl.add("mean c1", centre.String())
	}
	xs, ys := p.trend(at, s.values[c])
	if d.design.sets > 2 && len(xs) > 1 {
		pl.add("trend", p.trendPath(x, y, xs, ys))
		pl.Alt = fmt.Sprintf("The mean of %s goes from %s at %s to %s at %s.", label(col.name, 40), number(ys[0]), p.place(xs[0]), number(ys[len(ys)-1]), p.place(xs[len(xs)-1]))
	}
	pl.Alt = fmt.Sprintf("Scatter plot. %s lies between %s and %s. ", label(col.name, 40), number(col.min), number(col.max)) + pl.Alt
	return pl
}

// trendPath is a line through the means; those of levels, which have no order, are strokes.
func (p *parameter) trendPath(x, y scale, xs, ys []float64) string {
	if p.numeric {
		return curve(x, y, xs, ys)
	}
	var strokes path
	half := min(22, 0.35*(x.to-x.from)/float64(len(p.levels)))
	for i := range xs {
		strokes.op('M', x.at(xs[i])-half, y.at(ys[i]))
		strokes.op('h', 2*half)
	}
	return strokes.String()
}

// place names a place on the parameter's axis.
func (p *parameter) place(at float64) string {
	if p.numeric {
		return label(p.name, 40) + " " + number(at)
	}
	return label(p.levels[int(at)], 40)
}

// jitter moves the dots of a level apart.
func (p *parameter) jitter(row int, x scale) float64 {
	if p.numeric {
		return 0
	}
	width := min(24, 0.5*(x.to-x.from)/float64(len(p.levels)))
	return (float64(hash(row)&0xffff)/0xffff - 0.5) * width // the high bits decide what is drawn
}

// trend is the mean at each level, or in bins with equally many runs.
func (p *parameter) trend(at, values []float64) (xs, ys []float64) {
	type point struct{ x, y float64 }
	var points []point
	for i, v := range values {
		if isFinite(v) && isFinite(at[i]) {
			points = append(points, point{at[i], v})
		}
	}
	slices.SortStableFunc(points, func(a, b point) int { return compare(a.x, b.x) })
	bins := min(12, len(points)/10)
	for from, bin := 0, 0; from < len(points); bin++ {
		to := from + 1
		if p.levels == nil {
			if bins < 3 {
				return nil, nil
			}
			to = max(to, (bin+1)*len(points)/bins)
		} else {
			for to < len(points) && points[to].x == points[from].x {
				to++
			}
		}
		x, y := 0.0, 0.0
		for i, pt := range points[from:to] {
			x += (pt.x - x) / float64(i+1)
			y += (pt.y - y) / float64(i+1)
		}
		xs, ys = append(xs, x), append(ys, y)
		from = to
	}
	return xs, ys
}
