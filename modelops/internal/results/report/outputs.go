package report

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// section is an output on the page.
type section struct {
	ID      string
	Name    string
	Lead    string // what it is, in a sentence
	Stats   []statRow
	Params  []string // heads of the correlations in Stats
	Sets    bool     // Stats has the share of variance between sets
	Note    string   // below Stats
	Figures []*figure
}

// figure is some panels with one caption.
type figure struct {
	Number  int
	Title   string
	Caption string
	Legend  []key
	Wide    bool
	Panels  []*panel
}

// key is an entry of a legend.
type key struct{ Class, Label string }

// statRow is a column in numbers.
type statRow struct {
	Name         string
	Numbers      []string // mean, deviation, least, 5 %, median, 95 %, most
	Between      string
	Correlations []correlation
}

// correlation is a rank correlation, and how strong it is: 0 to 3.
type correlation struct {
	Text   string
	Strong int
}

// drawer makes figures and counts them.
type drawer struct {
	design  *design
	figures int
	panels  int
	left    int // figures that there was no room for
}

func (d *drawer) figure(f *figure, panels ...*panel) *figure {
	d.figures++
	f.Number = d.figures
	for i, p := range panels {
		p.ID = fmt.Sprintf("f%d-%d", f.Number, i+1)
	}
	f.Panels = panels
	d.panels += len(panels)
	return f
}

func (d *drawer) full() bool {
	if d.panels >= maxPanels {
		d.left++
		return true
	}
	return false
}

// section shows an output.
func (d *drawer) section(i int, s *sample) *section {
	sec := &section{ID: fmt.Sprintf("output-%d", i+1), Name: label(s.name, 80), Lead: s.lead()}
	for c := range s.columns {
		if s.kept() == 0 {
			break
		}
		if s.form != series {
			sec.Stats = append(sec.Stats, d.stats(s, c, sec))
		}
		if d.full() {
			continue
		}
		switch s.form {
		case series:
			sec.Figures = append(sec.Figures, d.curves(s, c))
		case rows:
			sec.Figures = append(sec.Figures, d.distribution(s, c))
		case summary:
			sec.Figures = append(sec.Figures, d.scatter(s, c))
		}
	}
	sec.Note = d.note(s, sec)
	return sec
}

// lead says what the output is.
func (s *sample) lead() string {
	text := ""
	switch s.form {
	case summary:
		text = "One row for each run, in " + plural(s.tables, "run", "runs") + "."
	case series:
		text = fmt.Sprintf("Rows along %s, up to %s for each run, in %s.", label(s.index.name, 40), count(s.most), plural(s.tables, "run", "runs"))
	case rows:
		text = fmt.Sprintf("%s in %s, up to %s for each; no column rises from row to row in every run, so the values of all rows are shown together.",
			plural(s.rowCount(), "row", "rows"), plural(s.tables, "run", "runs"), count(s.most))
	}
	text += " " + size(s.bytes) + " in all."
	if s.output.files > 0 {
		text += fmt.Sprintf(" In %s it is no table and is not shown: %s.", plural(s.output.files, "run", "runs"), label(s.reason, 120))
	}
	switch {
	case s.all == 0:
		text += " It has no column of numbers."
	case s.all > len(s.columns):
		text += fmt.Sprintf(" The first %d of %d columns of numbers are shown.", len(s.columns), s.all)
	}
	return text
}

func (s *sample) rowCount() int { return s.output.rows }

// of is how many of the tasks, runs or rows a figure is made of, in words.
func (s *sample) of(one, many string) string {
	if s.draw.all() {
		return plural(s.kept(), one, many)
	}
	return count(s.kept()) + " of " + plural(s.draw.total, one, many) + " (drawn evenly, by a hash of their place in the study)"
}

// stats is a column in numbers.
func (d *drawer) stats(s *sample, c int, sec *section) statRow {
	row := statRow{Name: label(s.columns[c].name, 60)}
	sorted := finite(s.values[c])
	mean, deviation := moments(sorted)
	for _, v := range []float64{mean, deviation, quantile(sorted, 0), quantile(sorted, 0.05), quantile(sorted, 0.5), quantile(sorted, 0.95), quantile(sorted, 1)} {
		row.Numbers = append(row.Numbers, number(v))
	}
	if s.form == rows {
		return row
	}
	if d.design.sets > 1 && d.design.replicate > 1 {
		sec.Sets = true
		row.Between = d.between(s, c)
	}
	sec.Params = nil
	for _, p := range d.numeric() {
		sec.Params = append(sec.Params, label(p.name, 30))
		row.Correlations = append(row.Correlations, newCorrelation(spearman(d.at(s, p), s.values[c])))
	}
	return row
}

// numeric are the parameters that correlations are with.
func (d *drawer) numeric() []*parameter {
	var list []*parameter
	for _, p := range d.design.varying {
		if p.numeric && len(list) < maxParams {
			list = append(list, p)
		}
	}
	return list
}

func newCorrelation(rho float64) correlation {
	if math.IsNaN(rho) {
		return correlation{Text: "–"}
	}
	c := correlation{Text: number(math.Round(rho*100) / 100)}
	for _, least := range []float64{0.3, 0.6, 0.85} {
		if math.Abs(rho) >= least {
			c.Strong++
		}
	}
	return c
}

// at is where each task that is kept lies on the parameter's axis.
func (d *drawer) at(s *sample, p *parameter) []float64 {
	at := make([]float64, len(s.sets))
	for i, set := range s.sets {
		at[i] = p.at(d.design.study.ParameterSets[set].Params)
	}
	return at
}

// between is the share of a column's variance that lies between parameter sets.
func (d *drawer) between(s *sample, c int) string {
	mean, _ := moments(finite(s.values[c]))
	between, total := 0.0, 0.0
	for _, g := range s.groups(c) {
		own, _ := moments(g.values)
		between += float64(len(g.values)) * (own - mean) * (own - mean)
		for _, v := range g.values {
			total += (v - mean) * (v - mean)
		}
	}
	if total == 0 {
		return "–"
	}
	return number(math.Round(1000*between/total)/10) + " %"
}

// group is the finite values of one parameter set.
type group struct {
	set    int
	values []float64
}

// groups are the kept values by parameter set, in the study's order, in which they come.
func (s *sample) groups(c int) []group {
	var list []group
	for i, v := range s.values[c] {
		if !isFinite(v) {
			continue
		}
		if len(list) == 0 || list[len(list)-1].set != s.sets[i] {
			list = append(list, group{set: s.sets[i]})
		}
		g := &list[len(list)-1]
		g.values = append(g.values, v)
	}
	return list
}

// note explains the table of numbers.
func (d *drawer) note(s *sample, sec *section) string {
	if len(sec.Stats) == 0 {
		return ""
	}
	noun := "runs"
	if s.form == rows {
		noun = "rows"
	}
	text := "Over " + s.of(noun[:len(noun)-1], noun) + "; SD is the standard deviation."
	if sec.Sets {
		text += " Between sets: the share of the variance that lies between parameter sets (η²); the rest is between replicates."
	}
	if len(sec.Params) > 0 {
		text += " ρ: Spearman's rank correlation with each parameter, over runs."
	}
	return text
}

// strongest are the parameters that a column is plotted against: all, or when there are
// too many those that it follows most.
func (d *drawer) strongest(s *sample, values []float64) (shown []*parameter, note string) {
	all := d.design.varying
	if len(all) <= maxParams {
		return all, ""
	}
	order := slices.Clone(all)
	strength := map[*parameter]float64{}
	for _, p := range all {
		if rho := spearman(d.at(s, p), values); p.numeric && !math.IsNaN(rho) {
			strength[p] = math.Abs(rho)
		}
	}
	slices.SortStableFunc(order, func(x, y *parameter) int { return compare(strength[y], strength[x]) })
	return order[:maxParams], fmt.Sprintf(" Shown are the %d of %d parameters with the largest rank correlation, the largest first.", maxParams, len(all))
}

// booleanNote says how truth is drawn.
func booleanNote(c *column) string {
	if c.kinds.Type() == table.TypeBool {
		return " True is 1, false is 0."
	}
	return ""
}

// outOfRange says how many values cannot be drawn.
func outOfRange(c *column, values []float64) string {
	if missing := len(values) - len(finite(values)); missing > 0 {
		return fmt.Sprintf(" %s without a finite value of %s are left out.", plural(missing, "row", "rows"), c.name)
	}
	return ""
}

func names(params []*parameter) []string {
	var list []string
	for _, p := range params {
		list = append(list, label(p.name, 40))
	}
	return list
}

// logarithmic says whether a column spans so much that a linear axis hides most of it.
func (c *column) logarithmic(values []float64) bool {
	return spread(c.min, quantile(finite(values), 0.5), c.max)
}

// distribution is the histogram of a column.
func (d *drawer) distribution(s *sample, c int) *figure {
	col := s.columns[c]
	noun := "runs"
	if s.form == rows {
		noun = "rows"
	}
	pl := histogram(finite(s.values[c]), col.logarithmic(s.values[c]), label(col.name, 40), noun)
	pl.Title = "Distribution of " + label(col.name, 60)
	return d.figure(&figure{Title: "Distribution of " + col.name,
		Caption: "Distribution of " + col.name + " over " + s.of(noun[:len(noun)-1], noun) + "." + booleanNote(col) + outOfRange(col, s.values[c])}, pl)
}

// histogram is a panel with the bars of sorted values.
func histogram(sorted []float64, log bool, x, y string) *panel {
	pl := newPanel(320, 210)
	pl.X, pl.Y = x, y
	if len(sorted) == 0 {
		return pl
	}
	lo, hi := sorted[0], sorted[len(sorted)-1]
	bins := min(40, max(6, int(2*math.Cbrt(float64(len(sorted)))))) // Rice's rule
	counts := make([]int, bins)
	fraction := func(v float64) float64 {
		if log {
			return math.Log(v/lo) / math.Log(hi/lo)
		}
		return v/(hi-lo) - lo/(hi-lo)
	}
	for _, v := range sorted {
		at := 0
		if hi > lo {
			at = min(bins-1, max(0, int(fraction(v)*float64(bins))))
		}
		counts[at]++
	}
	xs, ys := newScale(lo, hi, log, pl.Left(), pl.Right()), newScale(0, float64(slices.Max(counts)), false, pl.Bottom(), pl.Top())
	pl.axes(xs, ys)
	var bars path
	from, to := xs.at(lo), xs.at(hi)
	if lo == hi {
		from, to, bins = xs.at(lo)-12, xs.at(lo)+12, 1
	}
	width := (to - from) / float64(bins)
	for i, n := range counts[:bins] {
		if n > 0 {
			bars.rect(from+float64(i)*width+0.4, ys.at(float64(n)), max(width-0.8, 0.5), ys.at(0)-ys.at(float64(n)))
		}
	}
	pl.add("bar c0", bars.String())
	pl.Alt = fmt.Sprintf("Histogram of %s values from %s to %s with median %s.", count(len(sorted)), number(lo), number(hi), number(quantile(sorted, 0.5)))
	return pl
}

// sortedSets are the parameter sets that are kept, in the study's order.
func (s *sample) sortedSets() []int {
	sets := map[int]bool{}
	for _, set := range s.sets {
		sets[set] = true
	}
	return slices.Sorted(maps.Keys(sets))
}
