// Package report makes of a job one HTML page that stands by itself: its outputs as
// figures over parameters and replicates, what failed and where, timings, and the
// provenance as a methods section can cite it.
//
// The page is a function of the job and its results: it holds no time of its own, and
// whatever is drawn of many runs is drawn by a hash of their place in the study. It
// needs nothing else: no script, no font, no network. What comes from outside (names,
// parameters, errors) passes through html/template.
//
// Results are read twice, as package results reads them, once for what there is and once
// for the values. What is kept is bounded by the constants of sample.go, and a few
// numbers for each task; so is the page.
package report

import (
	"bytes"
	"context"

	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results"
)

// Reporter makes the report of one job.
type Reporter struct {
	Catalog  *jobs.Catalog
	Job      *jobs.Job
	Status   *jobs.Status
	Registry string // that the bundle is in

	// Progress, if not nil, is told how many of the job's rows have been gathered.
	Progress func(done, total int)
}

// Report is the page.
type Report struct {
	HTML    []byte
	Tables  int // outputs that are tables
	Figures int
}

// Make makes the report. Damaged results are an error, as for the tables.
func (r *Reporter) Make(ctx context.Context) (*Report, error) {
	history, err := r.Catalog.History(ctx, r.Job.ID)
	if err != nil {
		return nil, err
	}
	study, err := r.Catalog.LoadStudy(ctx, r.Job.ID)
	if err != nil {
		return nil, err
	}
	rows, err := results.OpenRows(ctx, r.Catalog, r.Job, "", r.gathered())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	d := newDesign(r.Job, study)
	f, err := openFailures(ctx, r.Catalog, r.Job, d, history)
	if err != nil {
		return nil, err
	}
	s, err := r.survey(ctx, rows, f)
	if err != nil {
		return nil, err
	}
	samples, err := r.sample(ctx, rows, s)
	if err != nil {
		return nil, err
	}
	environments, err := r.environments(ctx, s, history)
	if err != nil {
		return nil, err
	}
	p := r.page(&found{design: d, failures: f, survey: s, samples: samples, environments: environments, history: history, damaged: rows.Damaged})
	var html bytes.Buffer
	if err := p.render(&html); err != nil {
		return nil, err
	}
	return &Report{HTML: html.Bytes(), Tables: p.tables, Figures: p.figures}, nil
}

// found is all that the page is made of.
type found struct {
	design       *design
	failures     *failures
	survey       *survey
	samples      []*sample // of the outputs that are tables, by name
	environments []environmentView
	history      []jobs.Transition
	damaged      int // stored batches that were passed over
}

// gathered adds up what [results.OpenRows] says.
func (r *Reporter) gathered() func(rows int) {
	if r.Progress == nil {
		return nil
	}
	done := 0
	return func(rows int) {
		done += rows
		r.Progress(done, r.Job.Tasks)
	}
}

// survey is the first pass.
func (r *Reporter) survey(ctx context.Context, rows *results.Rows, f *failures) (*survey, error) {
	s := newSurvey()
	for row, err := range rows.All(ctx) {
		if err != nil {
			return nil, err
		}
		if row.Result != nil {
			f.outcome(row, false)
			if err := s.take(ctx, rows, row); err != nil {
				return nil, err
			}
			continue
		}
		failed, err := f.take(ctx, row, row.Task.Key(r.Job.Content))
		if err != nil {
			return nil, err
		}
		if failed != nil {
			s.took(row, failed)
		}
	}
	return s, nil
}

// sample is the second pass.
func (r *Reporter) sample(ctx context.Context, rows *results.Rows, s *survey) ([]*sample, error) {
	var samples []*sample
	for _, o := range s.tables()[:min(maxOutputs, len(s.tables()))] {
		samples = append(samples, newSample(o, r.Job.Tasks))
	}
	for row, err := range rows.All(ctx) {
		if err != nil {
			return nil, err
		}
		if row.Result == nil {
			continue
		}
		for _, one := range samples {
			if err := one.take(ctx, rows, row); err != nil {
				return nil, err
			}
		}
	}
	return samples, nil
}
