package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

//go:embed page.html
var pageTemplate string

// page is what page.html shows.
type page struct {
	Title    string
	Model    string
	Scenario string
	Sentence string
	JobID    string
	State    string
	Mood     string // good, bad or open: of the state
	Warnings []string
	Tiles    []tile
	Head     []fact

	Params    []paramRow
	Constants int // parameters with one value that are not in Params

	Sections []*section
	Unshown  string
	Files    []fileRow

	Failures []faultView
	Failed   string // in a sentence
	Shares   *figure

	Times   []fact
	Hist    *figure
	Slowest []slowRow
	History []historyRow

	Facts        []fact
	Environments []environmentView
	Unrecorded   string
	Commands     string
	Methods      string
	Citation     string

	tables, figures int
}

type tile struct{ Name, Value, Class string }

// paramRow is a parameter of the study.
type paramRow struct {
	Name, Values, Distinct string
	Varies                 bool
}

type fileRow struct{ Name, Count, Size, Reason string }

type slowRow struct{ Place, Params, Seed, Seconds, Outcome string }

type historyRow struct{ At, State, Reason string }

func (p *page) render(w io.Writer) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// page puts together what was found.
func (r *Reporter) page(f *found) *page {
	j := r.Job
	p := &page{
		Title: label(j.Study.Model, 60) + ", " + label(j.Study.Scenario, 60), Model: label(j.Study.Model, 120), Scenario: label(j.Study.Scenario, 120),
		JobID: j.ID, State: string(r.Status.State), Mood: mood(r.Status.State),
		Sentence: r.sentence(f), Tiles: r.tiles(), Head: r.head(f), Warnings: r.warnings(f),
		Facts: r.facts(f.design), Environments: f.environments, Commands: r.commands(), Methods: r.methods(f.design, f.environments), Citation: r.citation(),
	}
	p.parameters(f.design)
	d := &drawer{design: f.design}
	for i, s := range f.samples {
		p.Sections = append(p.Sections, d.section(i, s))
	}
	tables := f.survey.tables()
	if more := tables[len(f.samples):]; len(more) > 0 {
		p.Unshown = "Not shown: " + outputNames(more) + "."
	}
	if d.left > 0 {
		p.Unshown = strings.TrimSpace(p.Unshown + fmt.Sprintf(" %s would make the page too large and are left out.", plural(d.left, "more figure", "more figures")))
	}
	p.fileRows(f.survey.files())
	p.Failures, p.Shares = f.failures.views(j.Bundle), f.failures.figure(d)
	p.Failed = f.failures.sentence(r.Status)
	r.timings(p, f, d)
	if n := f.survey.environments[""]; n > 0 {
		p.Unrecorded = plural(n, "task does", "tasks do") + " not say what environment it ran in."
	}
	p.tables, p.figures = len(tables), d.figures
	return p
}

func outputNames(outputs []*output) string {
	const most = 30
	var list []string
	for _, o := range outputs[:min(most, len(outputs))] {
		list = append(list, label(o.name, 60))
	}
	if more := len(outputs) - len(list); more > 0 {
		list = append(list, plural(more, "other output", "other outputs"))
	}
	return join(list)
}

func mood(state jobs.State) string {
	switch state {
	case jobs.Succeeded:
		return "good"
	case jobs.Failed, jobs.Partial:
		return "bad"
	}
	return "open"
}

// sentence says what the job was and what became of it.
func (r *Reporter) sentence(f *found) string {
	t, d := r.Status.Tasks, f.design
	text := fmt.Sprintf("%s of %s, scenario %s: %s, %s", plural(t.Total, "simulation", "simulations"), label(r.Job.Study.Model, 80), label(r.Job.Study.Scenario, 80),
		plural(d.sets, "parameter set", "parameter sets"), d.replicates())
	if n := len(d.varying); n > 0 {
		text += ", over " + plural(n, "parameter", "parameters")
	}
	text += ". "
	switch {
	case !r.Status.State.Ended():
		text += fmt.Sprintf("The job has not ended: %s succeeded so far and %s failed.", count(t.Succeeded), count(t.Failed))
	case t.Succeeded == t.Total:
		text += "All succeeded"
		if t.Cached > 0 {
			text += fmt.Sprintf(", %s of them in earlier jobs of the same content", count(t.Cached))
		}
		text += "."
	default:
		text += fmt.Sprintf("%s succeeded, %s failed", count(t.Succeeded), count(t.Failed))
		if t.Cancelled > 0 {
			text += fmt.Sprintf(", %s did not run", count(t.Cancelled))
		}
		text += "."
	}
	return text
}

func (r *Reporter) tiles() []tile {
	t := r.Status.Tasks
	list := []tile{{"tasks", count(t.Total), ""}, {"succeeded", count(t.Succeeded), ""}, {"failed", count(t.Failed), ""}, {"reused", count(t.Cached), ""}}
	if t.Succeeded > 0 {
		list[1].Class = "good"
	}
	if t.Failed > 0 {
		list[2].Class = "bad"
	}
	for _, more := range []tile{{"cancelled", count(t.Cancelled), ""}, {"running", count(t.Running), ""}, {"pending", count(t.Pending), ""}} {
		if more.Value != "0" {
			list = append(list, more)
		}
	}
	return list
}

func (r *Reporter) head(f *found) []fact {
	j := r.Job
	list := []fact{
		{"Study", fmt.Sprintf("%s: %s, %s", label(j.Study.File, 120), plural(f.design.sets, "parameter set", "parameter sets"), f.design.replicates()), false},
		{"Bundle", j.Bundle.String(), true},
		{"Submitted", utc(j.Created), false},
	}
	if r.Status.Started != "" {
		list = append(list, fact{"Started", utc(r.Status.Started), false})
	}
	if r.Status.Finished != "" {
		list = append(list, fact{"Finished", utc(r.Status.Finished), false})
	}
	if s := wall(f.history); !math.IsNaN(s) {
		list = append(list, fact{"Ran for", duration(s), false})
	}
	if r.Status.Reason != "" {
		list = append(list, fact{"Reason", label(r.Status.Reason, 300), false})
	}
	return list
}

// warnings are what the reader should know before anything else.
func (r *Reporter) warnings(f *found) []string {
	var list []string
	if !r.Status.State.Ended() {
		list = append(list, fmt.Sprintf("The job is %s: this report has the %s with a result so far.", r.Status.State, plural(f.survey.succeeded, "task", "tasks")))
	}
	if n := f.failures.absent + f.failures.failed; n > 0 && r.Status.State.Ended() {
		list = append(list, fmt.Sprintf("%s no result and %s not in the figures.", plural(n, "task has", "tasks have"), isAre(n)))
	}
	if f.damaged > 0 {
		list = append(list, fmt.Sprintf("%s of results are damaged and were passed over; submit the study again to run what was in them.", plural(f.damaged, "stored batch", "stored batches")))
	}
	if f.failures.damaged > 0 {
		list = append(list, plural(f.failures.damaged, "stored record of failures is", "stored records of failures are")+" damaged and left out.")
	}
	if n := len(f.survey.environments); n > 1 {
		list = append(list, fmt.Sprintf("The tasks ran in %d different environments (Python, platform or packages); see Provenance. The column environment_digest of the tables tells them apart.", n))
	}
	return list
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// parameters lists what varies, and some of what does not.
func (p *page) parameters(d *design) {
	const most = 60
	for _, list := range [][]*parameter{d.varying, d.constant} {
		for _, param := range list {
			if len(p.Params) == most {
				p.Constants++
				continue
			}
			row := paramRow{Name: label(param.name, 80), Values: param.values(), Distinct: count(param.distinct), Varies: param.distinct > 1}
			if param.distinct >= maxDistinct {
				row.Distinct = "at least " + row.Distinct
			}
			p.Params = append(p.Params, row)
		}
	}
}

func (p *page) fileRows(outputs []*output) {
	const most = 100
	for _, o := range outputs[:min(most, len(outputs))] {
		p.Files = append(p.Files, fileRow{label(o.name, 100), count(o.files), size(o.bytes), label(o.reason, 160)})
	}
	if more := outputs[len(p.Files):]; len(more) > 0 {
		p.Files = append(p.Files, fileRow{Name: plural(len(more), "other output", "other outputs")})
	}
}

// sentence says what failed, as a whole.
func (f *failures) sentence(s *jobs.Status) string {
	if f.failed == 0 {
		text := "No failure is recorded."
		if f.damaged > 0 {
			text = "The records of failures are damaged."
		}
		if s.Tasks.Cancelled > 0 {
			text += " " + plural(s.Tasks.Cancelled, "task", "tasks") + " did not run."
		}
		return text
	}
	text := fmt.Sprintf("%s failed (%s of those with an outcome), of %s; failures that differ in nothing but numbers are one kind.",
		plural(f.failed, "task", "tasks"), percent(f.failed, f.failed+f.succeeded), plural(len(f.kinds), "kind", "kinds"))
	if f.earlier > 0 {
		text += fmt.Sprintf(" %s of them in an earlier attempt, and %s not run again since.", count(f.earlier), wasWere(f.earlier))
	}
	if f.others > 0 {
		text += fmt.Sprintf(" %s of further kinds.", plural(f.others, "failure is", "failures are"))
	}
	if s.Tasks.Cancelled > 0 {
		text += " " + plural(s.Tasks.Cancelled, "task was", "tasks were") + " cancelled."
	}
	return text
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// timings fills in how long things took.
func (r *Reporter) timings(p *page, f *found, d *drawer) {
	s, t := f.survey, r.Status.Tasks
	if n := len(s.seconds); n > 0 {
		sorted := finite(s.seconds)
		mean, _ := moments(sorted)
		p.Times = append(p.Times,
			fact{"A task took", fmt.Sprintf("%s at the median, %s on average; 90 %% took %s to %s", duration(quantile(sorted, 0.5)), duration(mean), duration(quantile(sorted, 0.05)), duration(quantile(sorted, 0.95))), false})
		log := len(sorted) > 0 && sorted[0] > 0 && sorted[len(sorted)-1]/sorted[0] > 50
		p.Hist = d.figure(&figure{Title: "Seconds in the simulation", Caption: fmt.Sprintf("Seconds that %s spent in the simulation.", plural(n, "task that succeeded", "tasks that succeeded"))},
			histogram(sorted, log, "seconds", "tasks"))
		p.Hist.Panels[0].Title = "Seconds in the simulation"
	}
	if s.total > 0 {
		p.Times = append(p.Times, fact{"Time in simulations", duration(s.total) + ", all tasks together", false})
	}
	if w := wall(f.history); !math.IsNaN(w) && w > 0 {
		p.Times = append(p.Times, fact{"Wall time", duration(w) + " under a driver", false})
		if ran := t.Succeeded + t.Failed - t.Cached; ran > 0 {
			p.Times = append(p.Times, fact{"Rate", number(float64(ran)/w) + " tasks run per second of wall time", false})
		}
	}
	if t.Cached > 0 {
		p.Times = append(p.Times, fact{"Reused", plural(t.Cached, "result", "results") + " of earlier jobs, whose seconds are those of their own run", false})
	}
	for _, slow := range s.slowest {
		outcome := "succeeded"
		if slow.failed {
			outcome = "failed"
		}
		p.Slowest = append(p.Slowest, slowRow{fmt.Sprintf("%d (set %d, replicate %d)", slow.row, slow.set, slow.rep), f.design.describe(f.design.study.ParameterSets[slow.set].Params), fmt.Sprint(slow.seed), duration(slow.seconds), outcome})
	}
	const most = 40
	for _, t := range slices.Backward(f.history) {
		if len(p.History) < most {
			p.History = append(p.History, historyRow{utc(t.At), string(t.State), label(t.Reason, 300)})
		}
	}
	slices.Reverse(p.History)
}
