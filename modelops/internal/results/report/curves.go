package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	fewSets  = 5  // that are told apart by colour
	someRuns = 25 // that are drawn as thin lines behind the bands
)

// fan is quantiles along the grid.
type fan struct{ q05, q25, q50, q75, q95 []float64 }

// fan is the quantiles of the runs for which choose is true.
func (s *sample) fan(c int, choose func(run int) bool) fan {
	var f fan
	var at []float64
	for g := range s.grid {
		at = at[:0]
		for run, values := range s.curves[c] {
			if v := float64(values[g]); choose(run) && isFinite(v) {
				at = append(at, v)
			}
		}
		slices.Sort(at)
		f.q05, f.q25, f.q50 = append(f.q05, quantile(at, 0.05)), append(f.q25, quantile(at, 0.25)), append(f.q50, quantile(at, 0.5))
		f.q75, f.q95 = append(f.q75, quantile(at, 0.75)), append(f.q95, quantile(at, 0.95))
	}
	return f
}

// curves plots a column of a series: quantile bands over all runs, or over the replicates
// of each parameter set when there are few; beside it, for each parameter, the median of
// the runs with low, middle and high values.
func (d *drawer) curves(s *sample, c int) *figure {
	name := label(s.columns[c].name, 60)
	f := &figure{Title: name + " along " + label(s.index.name, 40), Wide: true}
	pl := newPanel(960, 310)
	pl.Title, pl.X, pl.Y = f.Title, label(s.index.name, 40), name
	x, y := s.along(pl), s.tall(pl, c)
	pl.axes(x, y)
	sets := s.sortedSets()
	if len(sets) <= fewSets && len(sets) > 1 {
		f.Caption = d.fewCurves(s, c, pl, sets, x, y, f)
	} else {
		f.Caption = d.manyCurves(s, c, pl, len(sets), x, y, f)
	}
	how := "read off at each whole " + s.index.name
	if !s.exact {
		how = fmt.Sprintf("read off at %d evenly spaced places", len(s.grid))
	}
	f.Caption += " Curves are " + how + ", linearly between rows." + booleanNote(s.columns[c])
	panels := []*panel{pl}
	if len(sets) > fewSets {
		panels = append(panels, d.parted(s, c, f)...)
	}
	return d.figure(f, panels...)
}

// along is the scale of the index.
func (s *sample) along(pl *panel) scale {
	x := scale{lo: s.index.min, hi: s.index.max, from: pl.Left(), to: pl.Right(), dates: s.index.dates()}
	if x.lo == x.hi {
		x.hi = x.lo + 1
	}
	return x
}

// tall is the scale of a column: it has room for the bands and the single runs.
func (s *sample) tall(pl *panel, c int) scale {
	all := s.fan(c, func(int) bool { return true })
	seen := append(finite(all.q05), finite(all.q95)...)
	for _, run := range s.thin() {
		seen = append(seen, finite(s.line(c, run))...)
	}
	if len(seen) == 0 {
		return newScale(0, 1, false, pl.Bottom(), pl.Top())
	}
	return newScale(slices.Min(seen), slices.Max(seen), false, pl.Bottom(), pl.Top())
}

// thin are the runs that are drawn as they are: those of the smallest hashes.
func (s *sample) thin() []int {
	runs := make([]int, len(s.rows))
	for i := range runs {
		runs[i] = i
	}
	slices.SortFunc(runs, func(i, j int) int {
		if hash(s.rows[i]) < hash(s.rows[j]) {
			return -1
		}
		return 1
	})
	return runs[:min(someRuns, len(runs))]
}

func (s *sample) line(c, run int) []float64 {
	line := make([]float64, len(s.grid))
	for g, v := range s.curves[c][run] {
		line[g] = float64(v)
	}
	return line
}

func (d *drawer) manyCurves(s *sample, c int, pl *panel, sets int, x, y scale, f *figure) string {
	all := s.fan(c, func(int) bool { return true })
	name := s.columns[c].name
	pl.Alt = "Lines. " + all.alt(s, name)
	if s.kept() == 1 {
		pl.add("line c0", curve(x, y, s.grid, s.line(c, 0)))
		return name + " of the one run."
	}
	pl.add("band90 c0", band(x, y, s.grid, all.q05, all.q95))
	pl.add("band50 c0", band(x, y, s.grid, all.q25, all.q75))
	for _, run := range s.thin() {
		pl.add("thin", curve(x, y, s.grid, s.line(c, run)))
	}
	pl.add("line c0", curve(x, y, s.grid, all.q50))
	f.Legend = []key{{"line c0", "median"}, {"band50 c0", "50 % of runs"}, {"band90 c0", "90 % of runs"}, {"thin", "single runs"}}
	over := "over the replicates of the one parameter set"
	if sets > 1 {
		over = "over all parameter sets and replicates"
	}
	return fmt.Sprintf("%s: pointwise median and the central 50 %% and 90 %% %s, %s; thin lines are %s.", name, over, s.of("run", "runs"),
		plural(min(someRuns, s.kept()), "single run", "single runs, drawn by a hash of their place"))
}

// alt is the curve in words.
func (f fan) alt(s *sample, name string) string {
	middle := finite(f.q50)
	if len(middle) == 0 {
		return ""
	}
	most, at := math.Inf(-1), 0
	for g, v := range f.q50 {
		if v > most {
			most, at = v, g
		}
	}
	text := fmt.Sprintf("The median of %s begins at %s, ends at %s, and is largest, %s", label(name, 40), number(f.q50[0]), number(f.q50[len(f.q50)-1]), number(most))
	if s.index.dates() > 0 {
		return text + "."
	}
	return text + ", at " + label(s.index.name, 40) + " " + number(s.grid[at]) + "."
}

// fewCurves tells the sets apart by colour.
func (d *drawer) fewCurves(s *sample, c int, pl *panel, sets []int, x, y scale, f *figure) string {
	fans := make([]fan, len(sets))
	for i, set := range sets {
		fans[i] = s.fan(c, func(run int) bool { return s.sets[run] == set })
		pl.add("band90 "+colour(i), band(x, y, s.grid, fans[i].q05, fans[i].q95))
	}
	for i, set := range sets {
		pl.add("line "+colour(i), curve(x, y, s.grid, fans[i].q50))
		f.Legend = append(f.Legend, key{"line " + colour(i), d.setName(set)})
		pl.Alt += d.setName(set) + ": " + fans[i].alt(s, s.columns[c].name) + " "
	}
	if d.design.replicate == 1 {
		return s.columns[c].name + " of each parameter set."
	}
	f.Legend = append(f.Legend, key{"band90 c0", "90 % of replicates"})
	return fmt.Sprintf("%s: for each parameter set the pointwise median of its replicates and the central 90 %%, %s.", s.columns[c].name, s.of("run", "runs"))
}

// setName tells a parameter set by what varies.
func (d *drawer) setName(set int) string {
	params := d.design.study.ParameterSets[set].Params
	var parts []string
	for _, p := range d.design.varying {
		text := absentLevel
		if v, there := params[p.name]; there {
			text = v.Text()
		}
		parts = append(parts, label(p.name, 24)+" "+label(text, 24))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("set %d", set)
	}
	if len(parts) > 3 {
		return fmt.Sprintf("set %d: %s, …", set, join(parts[:3]))
	}
	return join(parts)
}

// parted are the panels with the median of runs parted by a parameter.
func (d *drawer) parted(s *sample, c int, f *figure) []*panel {
	// What a run is worth in one number, to find the parameters that matter.
	mean := make([]float64, s.kept())
	for run := range mean {
		mean[run], _ = moments(finite(s.line(c, run)))
	}
	params, note := d.strongest(s, mean)
	var panels []*panel
	for _, p := range params {
		if pl := d.partedPanel(s, c, p); pl != nil {
			panels = append(panels, pl)
		}
	}
	if len(panels) > 0 {
		f.Caption += " Small panels: the median of the runs parted by one parameter, over all others; a parameter with more than five values is parted into thirds with equally many runs. Of numbers, the higher the value, the more the line stands out." + note
	}
	return panels
}

func (d *drawer) partedPanel(s *sample, c int, p *parameter) *panel {
	pl := newPanel(320, 230)
	pl.Title = label(s.columns[c].name, 30) + " by " + label(p.name, 24)
	pl.X, pl.Y = label(s.index.name, 40), pl.Title
	parts := p.parts(d.at(s, p))
	if len(parts) < 2 {
		return nil
	}
	type drawn struct {
		fan  fan
		name string
	}
	var list []drawn
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, part := range parts {
		f := s.fan(c, func(run int) bool { return part.has[run] })
		for _, v := range finite(f.q50) {
			lo, hi = min(lo, v), max(hi, v)
		}
		list = append(list, drawn{f, part.name})
	}
	x, y := s.along(pl), newScale(lo, hi, false, pl.Bottom(), pl.Top())
	pl.axes(x, y)
	for i, one := range list {
		class := "line " + colour(i)
		if p.numeric { // from light to dark
			class = fmt.Sprintf("line r%d", 4-(len(list)-1-i)*4/max(1, len(list)-1))
		}
		pl.add(class, curve(x, y, s.grid, one.fan.q50))
		pl.Keys = append(pl.Keys, key{class, one.name})
		pl.Alt += one.name + ": " + one.fan.alt(s, s.columns[c].name) + " "
	}
	return pl
}

// part is the runs with some of a parameter's values.
type part struct {
	name string
	has  map[int]bool
}

// parts parts the runs by their place on the parameter's axis.
func (p *parameter) parts(at []float64) []part {
	const most = 5
	if p.levels != nil && len(p.levels) <= most {
		list := make([]part, len(p.levels))
		for i, level := range p.levels {
			list[i] = part{label(level, 20), map[int]bool{}}
		}
		for run, v := range at {
			if bin := p.bin(v); bin >= 0 {
				list[bin].has[run] = true
			}
		}
		return slices.DeleteFunc(list, func(part part) bool { return len(part.has) == 0 })
	}
	if !p.numeric {
		return nil
	}
	sorted := finite(at)
	if len(sorted) == 0 {
		return nil
	}
	ends := []float64{quantile(sorted, 1./3), quantile(sorted, 2./3)}
	list := []part{{"≤ " + number(ends[0]), map[int]bool{}}, {"≤ " + number(ends[1]), map[int]bool{}}, {"above", map[int]bool{}}}
	for run, v := range at {
		switch {
		case math.IsNaN(v):
		case v <= ends[0]:
			list[0].has[run] = true
		case v <= ends[1]:
			list[1].has[run] = true
		default:
			list[2].has[run] = true
		}
	}
	return slices.DeleteFunc(list, func(part part) bool { return len(part.has) == 0 })
}

// describe is a parameter set by what varies.
func (d *design) describe(params contracts.Params) string {
	var parts []string
	for _, p := range d.varying {
		if v, there := params[p.name]; there {
			parts = append(parts, label(p.name, 24)+" = "+label(v.Text(), 24))
		}
	}
	if len(parts) > maxParams {
		parts = append(parts[:maxParams], "…")
	}
	if len(parts) == 0 {
		return "–"
	}
	return join(parts)
}
