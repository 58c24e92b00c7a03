package report

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// fact is a line of a list of facts.
type fact struct {
	Name, Value string
	Code        bool // the value is an identifier
}

// environmentView is one environment that tasks ran in.
type environmentView struct {
	Digest, Python, Platform string
	Tasks                    string
	Known                    bool // what the digest stands for is recorded
	Packages                 []pkg
	More                     int
}

type pkg struct{ Name, Version string }

const (
	maxEnvironments = 10
	maxPackages     = 400 // of each
)

// environments are those that tasks ran in, the one with most tasks first.
func (r *Reporter) environments(ctx context.Context, s *survey, history []jobs.Transition) ([]environmentView, error) {
	digests := slices.SortedFunc(maps.Keys(s.environments), func(x, y string) int {
		if n := s.environments[y] - s.environments[x]; n != 0 {
			return n
		}
		return strings.Compare(x, y)
	})
	var list []environmentView
	for _, digest := range digests {
		if digest == "" || len(list) == maxEnvironments {
			continue
		}
		record, err := r.record(ctx, digest, history)
		if err != nil {
			return nil, err
		}
		v := environmentView{Digest: digest, Tasks: plural(s.environments[digest], "task", "tasks")}
		if record != nil {
			v.Known = true
			v.Python, v.Platform = label(record.Python, 60), label(record.Platform, 60)
			names := slices.Sorted(maps.Keys(record.Packages))
			v.More = max(0, len(names)-maxPackages)
			for _, name := range names[:min(maxPackages, len(names))] {
				v.Packages = append(v.Packages, pkg{label(name, 60), label(record.Packages[name], 30)})
			}
		}
		list = append(list, v)
	}
	return list, nil
}

// record is what an environment digest stands for: with the results, or with the
// failures of some attempt; nil when that is not recorded, or damaged.
func (r *Reporter) record(ctx context.Context, digest string, history []jobs.Transition) (*contracts.EnvironmentRecord, error) {
	record, err := r.Catalog.Results(r.Job).Environment(ctx, digest)
	for _, t := range slices.Backward(history) {
		if record != nil || contracts.Except(err, contracts.CodeIntegrity) != nil {
			break
		}
		if t.State == jobs.Running {
			record, err = r.Catalog.Failures(r.Job.ID, t.Number).Environment(ctx, digest)
		}
	}
	return record, contracts.Except(err, contracts.CodeIntegrity)
}

// facts are what identifies the job.
func (r *Reporter) facts(d *design) []fact {
	j := r.Job
	list := []fact{
		{"Job", j.ID, true},
		{"Bundle", j.Bundle.String(), true},
		{"Project", j.Bundle.Repository, true},
		{"Bundle digest", j.Bundle.Digest.String(), true},
		{"Content digest", j.Content.String(), true},
		{"Entry point", label(j.Study.Model+"/"+j.Study.Scenario, 200), true},
		{"Study", label(j.Study.File, 200), true},
		{"Study digest", j.Study.Digest, true},
		{"Sampling", label(d.study.SamplingMethod, 80), false},
		{"Seeds", d.seeds(), false},
		{"Parameter sets", "param_id of a set: BLAKE2b-256 of its canonical JSON, in every row of the tables", false},
		{"Environment", j.Environment, true},
		{"Registry", label(r.Registry, 200), true},
		{"Executor", j.Executor, true},
	}
	for _, name := range slices.Sorted(maps.Keys(j.Versions)) {
		list = append(list, fact{versionName(name), label(j.Versions[name], 120), true})
	}
	list = append(list, r.options()...)
	return slices.DeleteFunc(list, func(f fact) bool { return f.Value == "" })
}

func versionName(program string) string {
	if program == "contract" {
		return "Contract version"
	}
	return label(program, 40) + " version"
}

// options are how the job was told to run, as far as it was.
func (r *Reporter) options() []fact {
	o := r.Job.Options
	var list []fact
	if o.Limit > 0 {
		list = append(list, fact{"Limit", "the first " + plural(o.Limit, "task", "tasks") + " of the study", false})
	}
	if o.NoCache {
		list = append(list, fact{"Reuse", "results of earlier jobs are not used", false})
	}
	if o.Timeout != "" {
		list = append(list, fact{"Time limit", o.Timeout + " for each task", false})
	}
	return list
}

const seedFormula = "BLAKE2b-64(param_id + \":\" + replicate), big-endian, mod 2³², replicates from 0"

// seeds says where the seeds come from.
func (d *design) seeds() string {
	switch {
	case d.explicit == 0:
		return "derived: " + seedFormula
	case d.explicit == d.sets:
		return "explicit: each parameter set of the study states its seed"
	}
	return fmt.Sprintf("explicit in %s of %s; derived in the others: %s", plural(d.explicit, "set", "sets"), count(d.sets), seedFormula)
}

// commands get the same again.
func (r *Reporter) commands() string {
	j := r.Job
	name := j.Bundle.Repository[strings.LastIndex(j.Bundle.Repository, "/")+1:]
	flags := ""
	if j.Options.Limit > 0 {
		flags += fmt.Sprintf(" --limit %d", j.Options.Limit)
	}
	if j.Options.Timeout != "" {
		flags += " --timeout " + shell(j.Options.Timeout)
	}
	lines := []string{
		"# the code and data, byte for byte",
		"modelops-bundle pull " + j.Bundle.String() + " " + name,
		"# the same study again (" + label(strings.ReplaceAll(j.Study.File, "\n", " "), 60) + " is to have the study digest); --no-cache runs what has results",
		"mops jobs submit " + shell(j.Study.File) + flags + " --no-cache --wait \\\n  --bundle " + j.Bundle.String(),
		"# the tables of this job, and one of its runs compared byte for byte",
		"mops jobs results " + j.ID,
		"mops jobs replay " + j.ID + " 0",
	}
	return strings.Join(lines, "\n")
}

// shell quotes a word for a shell.
func shell(word string) string {
	word = label(word, 200)
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") == "" && word[0] != '-' {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// methods is a paragraph for the methods section of a paper.
func (r *Reporter) methods(d *design, environments []environmentView) string {
	j, t := r.Job, r.Status.Tasks
	var b strings.Builder
	fmt.Fprintf(&b, "Simulations were run with the ModelOps suite: %s. ", versionsText(j.Versions))
	fmt.Fprintf(&b, "The model %s (scenario %s) was taken from the bundle %s (content digest %s), which fixes its code and data byte for byte. ",
		label(j.Study.Model, 120), label(j.Study.Scenario, 80), j.Bundle, j.Content)
	fmt.Fprintf(&b, "We ran %s of %s (%s, %s", plural(t.Total, "simulation", "simulations"), plural(d.sets, "parameter set", "parameter sets"), d.replicates(), "study digest "+j.Study.Digest)
	b.WriteString("). ")
	if len(d.varying) > 0 {
		var list []string
		for _, p := range d.varying[:min(8, len(d.varying))] {
			list = append(list, label(p.name, 40)+" ("+p.values()+")")
		}
		if more := len(d.varying) - len(list); more > 0 {
			list = append(list, plural(more, "other parameter", "other parameters"))
		}
		fmt.Fprintf(&b, "Varied were %s. ", joinAnd(list))
	}
	switch {
	case d.explicit == d.sets && d.sets > 0:
		b.WriteString("Seeds are those that the study states. ")
	case d.explicit > 0:
		fmt.Fprintf(&b, "Seeds are stated by the study for %s and derived otherwise as %s. ", plural(d.explicit, "set", "sets"), seedFormula)
	default:
		fmt.Fprintf(&b, "Seeds were derived as %s. ", seedFormula)
	}
	switch {
	case len(environments) == 1:
		fmt.Fprintf(&b, "Tasks ran %s (environment digest %s). ", environments[0].words(), environments[0].Digest)
	case len(environments) > 1:
		fmt.Fprintf(&b, "Tasks ran in %d environments, most of them (%s) %s (environment digest %s). ", len(environments), environments[0].Tasks, environments[0].words(), environments[0].Digest)
	}
	fmt.Fprintf(&b, "%s of %s succeeded", count(t.Succeeded), plural(t.Total, "simulation", "simulations"))
	if t.Failed > 0 {
		fmt.Fprintf(&b, " and %s failed", count(t.Failed))
	}
	if end, ok := instant(r.Status.Finished); ok {
		fmt.Fprintf(&b, " (job %s, finished %s).", j.ID, end.Format("2006-01-02 15:04 UTC"))
	} else {
		fmt.Fprintf(&b, " so far (job %s, %s).", j.ID, r.Status.State)
	}
	return b.String()
}

// versionsText names the programs and their versions.
func versionsText(versions map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		list = append(list, label(name, 40)+" "+label(versions[name], 80))
	}
	return join(list)
}

// words is the environment in a sentence.
func (e environmentView) words() string {
	switch {
	case e.Python != "" && e.Platform != "":
		return fmt.Sprintf("under Python %s on %s with %s", e.Python, e.Platform, plural(len(e.Packages)+e.More, "package", "packages"))
	case e.Platform != "":
		return "on " + e.Platform
	}
	return "in one environment"
}

// replicates says how often each set runs.
func (d *design) replicates() string {
	switch {
	case d.explicit == d.sets:
		return "one run each"
	case d.explicit > 0:
		return fmt.Sprintf("%s each, one where the set states its seed", plural(d.study.Replicates, "replicate", "replicates"))
	case d.tasks < d.sets*d.study.Replicates:
		return fmt.Sprintf("up to %s each", plural(d.study.Replicates, "replicate", "replicates"))
	}
	return plural(d.study.Replicates, "replicate", "replicates") + " each"
}

// citation is a BibTeX entry.
func (r *Reporter) citation() string {
	j := r.Job
	year, month := "", ""
	if at, ok := instant(j.Created); ok {
		year, month = at.Format("2006"), strings.ToLower(at.Format("Jan"))
	}
	return fmt.Sprintf(`@misc{%s,
  title        = {Simulation job %s: %s, scenario %s},
  year         = {%s},
  month        = %s,
  howpublished = {OCI bundle \texttt{%s}},
  note         = {Content digest \texttt{%s}, study digest \texttt{%s}, %d simulations}
}`, j.ID, j.ID, tex(label(j.Study.Model, 120)), tex(label(j.Study.Scenario, 80)), year, month, tex(j.Bundle.String()), j.Content, tex(j.Study.Digest), j.Tasks)
}

// tex escapes what TeX takes for something else.
func tex(text string) string {
	return strings.NewReplacer(`\`, `\textbackslash{}`, "_", `\_`, "%", `\%`, "&", `\&`, "#", `\#`, "$", `\$`, "{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`).Replace(text)
}

// seconds that a driver had the job, over all attempts; NaN while none has ended.
func wall(history []jobs.Transition) float64 {
	total, known := 0.0, false
	for i, t := range history {
		if t.State != jobs.Running || i+1 == len(history) {
			continue
		}
		if s := between(t.At, history[i+1].At); !math.IsNaN(s) {
			total, known = total+s, true
		}
	}
	if !known {
		return math.NaN()
	}
	return total
}
