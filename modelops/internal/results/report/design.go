package report

import (
	"maps"
	"math"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// design is what the job varies: the parameter sets that it runs, and how often.
type design struct {
	study     *contracts.SimulationStudy
	sets      int // that the job runs; those of a job with a limit are the first of the study
	tasks     int
	explicit  int          // sets that state their seed
	varying   []*parameter // by name
	constant  []*parameter
	replicate int // runs of the set that has most
}

// parameter is one parameter over all sets of the job.
type parameter struct {
	name     string
	numeric  bool // a number wherever it is set
	min, max float64
	median   float64  // of its values
	absent   int      // sets that do not have it
	levels   []string // its values in order, when there are at most maxLevels
	distinct int      // values, exact up to maxDistinct

	seen   map[string]float64
	places map[string]int // of the levels of a parameter that is no number
}

const (
	maxLevels   = 12
	maxDistinct = 10_000
	absentLevel = "(not set)"
)

func newDesign(job *jobs.Job, study *contracts.SimulationStudy) *design {
	d := &design{study: study}
	params := map[string]*parameter{}
	last := -1
	for task := range job.SimTasks(study) {
		d.tasks++
		d.replicate = max(d.replicate, task.Replicate+1)
		if task.Set == last {
			continue
		}
		last = task.Set
		d.sets++
		if study.ParameterSets[task.Set].Seed != nil {
			d.explicit++
		}
		for name, value := range task.Params.Values {
			if params[name] == nil {
				params[name] = &parameter{name: name, numeric: true, min: math.Inf(1), max: math.Inf(-1), absent: d.sets - 1, seen: map[string]float64{}}
			}
			params[name].take(value)
		}
		for name, p := range params {
			if _, there := task.Params.Values[name]; !there {
				p.absent++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		p := params[name]
		p.finish()
		if p.distinct > 1 {
			d.varying = append(d.varying, p)
		} else {
			d.constant = append(d.constant, p)
		}
	}
	return d
}

func (p *parameter) take(value contracts.Value) {
	f, ok := value.Float64()
	if !ok || math.IsInf(f, 0) {
		p.numeric = false
	} else {
		p.min, p.max = min(p.min, f), max(p.max, f)
	}
	if len(p.seen) < maxDistinct {
		p.seen[value.Text()] = f
	}
}

func (p *parameter) finish() {
	p.distinct = len(p.seen)
	levels := slices.SortedFunc(maps.Keys(p.seen), func(x, y string) int {
		if p.numeric && p.seen[x] != p.seen[y] {
			return compare(p.seen[x], p.seen[y])
		}
		return compare(x, y)
	})
	if p.absent > 0 {
		p.distinct++
		if !p.numeric {
			levels = append(levels, absentLevel)
		}
	}
	p.median = quantile(slices.Sorted(maps.Values(p.seen)), 0.5)
	p.seen = nil
	p.places = map[string]int{}
	if len(levels) > maxLevels && !p.numeric {
		levels = append(levels[:maxLevels-1:maxLevels-1], "(others)")
	}
	if len(levels) <= maxLevels {
		p.levels = levels
	}
	for i, level := range levels[:min(len(levels), maxLevels)] {
		p.places[level] = i
	}
}

func compare[T string | float64](x, y T) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// at is where a parameter set lies on the parameter's axis: its value, or the place of
// its level; NaN for a number that is not set.
func (p *parameter) at(params contracts.Params) float64 {
	value, there := params[p.name]
	if p.numeric {
		f, ok := value.Float64()
		if !there || !ok {
			return math.NaN()
		}
		return f
	}
	level := absentLevel
	if there {
		level = value.Text()
	}
	if place, known := p.places[level]; known {
		return float64(place)
	}
	return float64(len(p.levels) - 1)
}

// logarithmic says whether the values span so much that a linear axis hides most.
func (p *parameter) logarithmic() bool { return p.numeric && spread(p.min, p.median, p.max) }

// axis is the parameter's axis between two places of a panel.
func (p *parameter) axis(from, to float64) scale {
	if !p.numeric {
		return scale{lo: -0.6, hi: float64(len(p.levels)) - 0.4, from: from, to: to, levels: p.levels}
	}
	return newScale(p.min, p.max, p.logarithmic(), from, to)
}

// bins is how many bins the parameter's values are counted in, and bin the one of a
// place, -1 for none.
func (p *parameter) bins() int {
	if p.levels != nil {
		return len(p.levels)
	}
	return 10
}

func (p *parameter) bin(at float64) int {
	switch {
	case math.IsNaN(at):
		return -1
	case !p.numeric:
		return int(at)
	case p.levels != nil:
		return nearest(p.levels, at)
	}
	return min(int(p.fraction(at)*float64(p.bins())), p.bins()-1)
}

func (p *parameter) fraction(at float64) float64 {
	if p.logarithmic() {
		return math.Log(at/p.min) / math.Log(p.max/p.min)
	}
	return (at - p.min) / (p.max - p.min)
}

// binEnds are the ends of a bin on the parameter's axis.
func (p *parameter) binEnds(bin int) (lo, hi float64) {
	end := func(i int) float64 {
		f := float64(i) / float64(p.bins())
		if p.logarithmic() {
			return p.min * math.Pow(p.max/p.min, f)
		}
		return p.min + f*(p.max-p.min)
	}
	return end(bin), end(bin + 1)
}

// nearest is the index of the level, all of them numbers, that is the value.
func nearest(levels []string, at float64) int {
	best, distance := 0, math.Inf(1)
	for i, level := range levels {
		if d := math.Abs(parse(level) - at); d < distance {
			best, distance = i, d
		}
	}
	return best
}

// levelNames are the levels as the page has them.
func (p *parameter) levelNames() []string {
	var names []string
	for _, level := range p.levels {
		names = append(names, label(level, 40))
	}
	return names
}

// values says in words what the parameter's values are.
func (p *parameter) values() string {
	text := ""
	switch {
	case p.levels != nil && len(p.levels) <= 6:
		text = join(p.levelNames())
	case p.numeric && p.levels != nil:
		text = number(p.min) + " to " + number(p.max) + ": " + join(p.levelNames())
	case p.numeric:
		text = number(p.min) + " to " + number(p.max)
	default:
		text = join(p.levelNames())
	}
	if p.numeric && p.absent > 0 {
		text += "; not set in " + plural(p.absent, "set", "sets")
	}
	return text
}
