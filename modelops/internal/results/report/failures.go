package report

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// failures is what is known of the tasks that have no result.
type failures struct {
	design    *design
	attempts  []attempt // the newest first
	kinds     []*fault
	alike     map[string]*fault
	succeeded int
	failed    int
	earlier   int // of those, in an attempt before the last
	others    int // of kinds that are not told apart any more
	damaged   int // records of failures, or batches of them, that cannot be read
	absent    int // tasks with neither result nor failure
	shares    [][]share
}

// attempt is the failures of one attempt.
type attempt struct {
	index  *archive.Index
	reader *archive.Reader
}

// fault is failures that are alike.
type fault struct {
	count  int
	first  *contracts.Error
	task   timed
	ranges []span // of each parameter that varies, over the failures
}

// span is where failures lie on a parameter's axis.
type span struct {
	lo, hi float64
	levels map[int]bool
}

// share is how many of the tasks in a bin of a parameter failed.
type share struct{ all, failed int }

const maxFaults = 20

// openFailures finds the failures of all attempts at the job.
func openFailures(ctx context.Context, catalog *jobs.Catalog, job *jobs.Job, d *design, history []jobs.Transition) (*failures, error) {
	f := &failures{design: d, alike: map[string]*fault{}}
	for _, t := range slices.Backward(history) {
		if t.State != jobs.Running {
			continue
		}
		a := catalog.Failures(job.ID, t.Number)
		index, err := a.Index(ctx, archive.Option{})
		if err != nil {
			return nil, err
		}
		f.damaged += len(index.Damaged)
		f.attempts = append(f.attempts, attempt{index, a.NewReader(readerBytes / max(1, len(history)))})
	}
	for _, p := range d.varying {
		f.shares = append(f.shares, make([]share, p.bins()))
	}
	return f, nil
}

const readerBytes = 32 << 20 // of failures that are kept between tasks

// find is the last failure of a task, nil for none.
func (f *failures) find(ctx context.Context, key string) (result *contracts.SimReturn, earlier bool, err error) {
	for i, a := range f.attempts {
		at, there := a.index.Find(key)
		if !there {
			continue
		}
		result, err := a.reader.Read(ctx, at)
		if err == nil {
			return result, i > 0, nil
		}
		if contracts.Except(err, contracts.CodeIntegrity) != nil {
			return nil, false, err
		}
		f.damaged++ // the rest of the report holds without it
	}
	return nil, false, nil
}

// take takes in a row without result, and says what failed of it, if it did.
func (f *failures) take(ctx context.Context, row results.Row, key string) (*contracts.SimReturn, error) {
	result, earlier, err := f.find(ctx, key)
	if err != nil {
		return nil, err
	}
	if result == nil || result.Error == nil {
		f.absent++
		return nil, nil
	}
	f.failed++
	if earlier {
		f.earlier++
	}
	f.outcome(row, true)
	f.sort(row, result)
	return result, nil
}

// sort puts a failure to those that it is like.
func (f *failures) sort(row results.Row, result *contracts.SimReturn) {
	signature := jobs.Signature(result.Error)
	kind := f.alike[signature]
	if kind == nil {
		if len(f.kinds) == maxFaults {
			f.others++
			return
		}
		kind = &fault{first: result.Error, task: timed{row.Number, row.Task.Set, row.Task.Replicate, row.Task.Seed, result.Seconds, true}}
		for range f.design.varying {
			kind.ranges = append(kind.ranges, span{math.Inf(1), math.Inf(-1), map[int]bool{}})
		}
		f.alike[signature] = kind
		f.kinds = append(f.kinds, kind)
	}
	kind.count++
	for i, p := range f.design.varying {
		at := p.at(row.Task.Params.Values)
		if math.IsNaN(at) {
			continue
		}
		kind.ranges[i].lo, kind.ranges[i].hi = min(kind.ranges[i].lo, at), max(kind.ranges[i].hi, at)
		if p.levels != nil {
			kind.ranges[i].levels[p.bin(at)] = true
		}
	}
}

// outcome counts a task that succeeded or failed where its parameters lie.
func (f *failures) outcome(row results.Row, failed bool) {
	if !failed {
		f.succeeded++
	}
	for i, p := range f.design.varying {
		bin := p.bin(p.at(row.Task.Params.Values))
		if bin < 0 {
			continue
		}
		f.shares[i][bin].all++
		if failed {
			f.shares[i][bin].failed++
		}
	}
}

// faultView is a kind of failure on the page.
type faultView struct {
	Count                      string
	Share                      string
	Code, Stage, Type, Message string
	Hint, Traceback, Stderr    string
	First                      string // which task was the first
	Where                      []whereRow
	Problems                   []string
}

// whereRow is a parameter's values among the failures and among all tasks.
type whereRow struct {
	Name, Failed, All string
	Narrow            bool // the failures lie in less than all
}

func (f *failures) views(bundle contracts.BundleRef) []faultView {
	// Where the bundle lay on the worker says nothing to the reader.
	inBundle := regexp.MustCompile(`[^\s"']*/bundles/` + bundle.Digest.Short() + `[0-9a-f]*/`)
	kinds := slices.Clone(f.kinds)
	slices.SortStableFunc(kinds, func(x, y *fault) int { return y.count - x.count })
	var list []faultView
	for _, k := range kinds {
		v := faultView{
			Count: plural(k.count, "task", "tasks"), Share: percent(k.count, f.failed),
			Code: string(k.first.Code), Stage: string(k.first.Stage), Type: label(k.first.Type, 80),
			Message: label(k.first.Message, 1000), Hint: label(k.first.Hint, 1000), Traceback: inBundle.ReplaceAllString(clip(k.first.Traceback), ""), Stderr: inBundle.ReplaceAllString(clip(k.first.StderrTail), ""),
			First: fmt.Sprintf("task %d (set %d, replicate %d, seed %d)", k.task.row, k.task.set, k.task.rep, k.task.seed),
		}
		const most = 20
		for _, problem := range k.first.Problems[:min(most, len(k.first.Problems))] {
			v.Problems = append(v.Problems, label(strings.TrimSpace(problem.Field+" "+problem.Message), 300))
		}
		for i, p := range f.design.varying[:min(most, len(f.design.varying))] {
			v.Where = append(v.Where, k.ranges[i].row(p))
		}
		list = append(list, v)
	}
	return list
}

// row says in words where failures lie.
func (s span) row(p *parameter) whereRow {
	w := whereRow{Name: label(p.name, 60), All: p.values()}
	switch {
	case p.levels != nil:
		var in []string
		for i, level := range p.levels {
			if s.levels[i] {
				in = append(in, label(level, 40))
			}
		}
		w.Failed, w.Narrow = join(in), len(in) < len(p.levels)
	case s.lo > s.hi:
		w.Failed, w.Narrow = absentLevel, true
	default:
		w.Failed = number(s.lo) + " to " + number(s.hi)
		if s.lo == s.hi {
			w.Failed = number(s.lo)
		}
		w.Narrow = p.fraction(s.hi)-p.fraction(s.lo) < 0.9
	}
	return w
}

// figure plots the share that failed over the parameters where it varies most.
func (f *failures) figure(d *drawer) *figure {
	if f.failed == 0 || len(f.design.varying) == 0 {
		return nil
	}
	order := make([]int, len(f.design.varying))
	contrast := make([]float64, len(order))
	for i := range order {
		order[i] = i
		lo, hi := 1.0, 0.0
		for _, s := range f.shares[i] {
			if s.all > 0 {
				part := float64(s.failed) / float64(s.all)
				lo, hi = min(lo, part), max(hi, part)
			}
		}
		contrast[i] = hi - lo
	}
	fig := &figure{Title: "Share of tasks that failed", Caption: "Share of the tasks with an outcome that failed, by the value of each parameter; a parameter with many values is cut into ten bins. Bins without tasks are empty."}
	if len(order) > maxParams {
		slices.SortStableFunc(order, func(i, j int) int { return compare(contrast[j], contrast[i]) })
		order = order[:maxParams]
		fig.Caption += fmt.Sprintf(" Shown are the %d parameters over which the share varies most.", maxParams)
	}
	var panels []*panel
	for _, i := range order {
		panels = append(panels, f.panel(f.design.varying[i], f.shares[i]))
	}
	return d.figure(fig, panels...)
}

func (f *failures) panel(p *parameter, shares []share) *panel {
	pl := newPanel(320, 200)
	pl.Title, pl.X, pl.Y = "Share failed by "+label(p.name, 40), label(p.name, 40), "failed"
	x, y := p.axis(pl.Left(), pl.Right()), scale{lo: 0, hi: 1, from: pl.Bottom(), to: pl.Top() + 4}
	pl.axes(x, y)
	for i := range pl.YTicks {
		pl.YTicks[i].Label = number(math.Round(100*float64(i)/float64(len(pl.YTicks)-1))) + " %"
	}
	var bars, base path
	for i, s := range shares {
		if s.all == 0 {
			continue
		}
		from, to := p.bar(i, x)
		height := (pl.Bottom() - pl.Top() - 4) * float64(s.failed) / float64(s.all)
		base.rect(from, pl.Top()+4, to-from, pl.Bottom()-pl.Top()-4)
		if s.failed > 0 {
			bars.rect(from, pl.Bottom()-height, to-from, height)
			pl.Alt += fmt.Sprintf(" %s: %s of %s.", p.binName(i), count(s.failed), count(s.all))
		}
	}
	pl.add("base", base.String())
	pl.add("bar bad", bars.String())
	pl.Alt = "Bars: failed tasks." + pl.Alt
	return pl
}

// bar are the sides of a bin's bar.
func (p *parameter) bar(bin int, x scale) (from, to float64) {
	if p.levels == nil {
		lo, hi := p.binEnds(bin)
		return x.at(lo) + 0.5, x.at(hi) - 0.5
	}
	width, centre := 0.7*(x.to-x.from)/float64(len(p.levels)), float64(bin)
	if p.numeric {
		width, centre = min(width, 18), parse(p.levels[bin])
	}
	return x.at(centre) - width/2, x.at(centre) + width/2
}

func (p *parameter) binName(bin int) string {
	if p.levels != nil {
		return label(p.levels[bin], 40)
	}
	lo, hi := p.binEnds(bin)
	return number(lo) + " to " + number(hi)
}
