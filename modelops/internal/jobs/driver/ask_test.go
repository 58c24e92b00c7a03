package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// search looks for the whole number between low and high whose square is nearest to a goal,
// as a calibration does: each round of three points is made of what the round before said.
type search struct {
	job       *jobs.Job
	low, high int64
	points    map[int64]int64 // of this round: what was told
	asked     []int64         // all, in order
	told      int
	end       int // after so many were told, for tests that stop
	stop      func()
}

func (s *search) Ask() ([]contracts.SimTask, bool) {
	if s.high-s.low < 4 {
		return nil, true
	}
	if s.points == nil {
		s.points = map[int64]int64{}
		var tasks []contracts.SimTask
		for n := int64(1); n <= 3; n++ {
			at := s.low + (s.high-s.low)*n/4
			s.asked = append(s.asked, at)
			study := &contracts.SimulationStudy{Model: "model.sir", Scenario: "baseline", Replicates: 1,
				ParameterSets: []contracts.ParameterSet{{Params: contracts.Params{"x": contracts.IntValue(at)}}}}
			for task := range study.Tasks(s.job.Bundle) {
				tasks = append(tasks, task)
			}
		}
		return tasks, false
	}
	return nil, false // the round has not ended
}

func (s *search) Tell(task contracts.SimTask, result *contracts.SimReturn) {
	if s.told++; s.told == s.end {
		s.stop()
	}
	var x, loss int64
	if _, err := fmt.Sscanf(string(result.Outputs["loss"].Inline), "%d %d", &x, &loss); err != nil {
		panic(err)
	}
	s.points[x] = loss
	if len(s.points) < 3 {
		return
	}
	best := x
	for at, loss := range s.points {
		if loss < s.points[best] {
			best = at
		}
	}
	quarter := (s.high - s.low) / 4
	s.low, s.high, s.points = best-quarter, best+quarter, nil
}

// different is how many points were asked for.
func (s *search) different() int {
	points := map[int64]bool{}
	for _, x := range s.asked {
		points[x] = true
	}
	return len(points)
}

// squares is an executor's function for search: the distance of x² from 5000².
func squares(_ context.Context, task jobs.Task) *contracts.SimReturn {
	x, _ := task.Sim.Params.Values["x"].Int64() // it is one
	loss := max(x*x-25_000_000, 25_000_000-x*x)
	return &contracts.SimReturn{TaskID: task.Key, Outputs: map[string]contracts.Artifact{"loss": contracts.NewArtifact("text/plain", fmt.Appendf(nil, "%d %d", x, loss))}}
}

// Tasks are added while the job runs, from results that came back, until the source has
// enough. Driven again, it is told what is there, and nothing runs.
func TestAskTell(t *testing.T) {
	w := newWorld(t)
	job := w.submit(1, jobs.Options{})
	executor := &pool{size: 2, run: squares}
	drive := func(source *search) jobs.Transition {
		t.Helper()
		d := &Driver{Catalog: w.catalog, Executor: executor, Log: slog.New(slog.DiscardHandler), Source: source}
		ended, err := d.Drive(t.Context(), job.ID)
		if err != nil {
			t.Fatal(err)
		}
		return ended
	}
	first := &search{job: job, high: 8192}
	ended := drive(first)
	if ended.State != jobs.Succeeded || first.low > 5000 || first.high < 5000 || first.told != len(first.asked) || ended.Tasks.Succeeded != first.different() {
		t.Fatalf("%+v %+v", ended, first)
	}
	again := &search{job: job, high: 8192}
	job = w.submit(1, jobs.Options{})
	again.job = job
	runs := executor.runs.Load()
	if ended = drive(again); ended.State != jobs.Succeeded || ended.Tasks.Cached != again.different() || executor.runs.Load() != runs {
		t.Errorf("%+v, ran %d", ended, executor.runs.Load()-runs)
	}
	if diff := cmp.Diff(first.asked, again.asked); diff != "" {
		t.Error(diff)
	}
}

// Stopped in the middle, it goes on where it was.
func TestAskTellStopped(t *testing.T) {
	w := newWorld(t)
	job := w.submit(1, jobs.Options{})
	executor := &pool{size: 2, run: squares}
	ctx, stop := context.WithCancel(t.Context())
	d := &Driver{Catalog: w.catalog, Executor: executor, Log: slog.New(slog.DiscardHandler), Source: &search{job: job, high: 8192, end: 7, stop: stop}}
	if _, err := d.Drive(ctx, job.ID); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.move(job.ID, jobs.Submitted)
	source := &search{job: job, high: 8192}
	d.Source = source
	ended, err := d.Drive(t.Context(), job.ID)
	if err != nil || ended.State != jobs.Succeeded || source.low > 5000 || source.high < 5000 || int(executor.runs.Load()) > source.different()+executor.size {
		t.Errorf("%+v %v, %d runs for %d tasks", ended, err, executor.runs.Load(), source.different())
	}
}

// One that fails is told like any other, and the source decides; one that waits for nothing
// is an error, and no standstill.
func TestAskTellFaults(t *testing.T) {
	w := newWorld(t)
	job := w.submit(1, jobs.Options{KeepGoing: true})
	d := &Driver{Catalog: w.catalog, Log: slog.New(slog.DiscardHandler), Source: &standstill{}, Executor: &pool{size: 1, run: squares}}
	ended, err := d.Drive(t.Context(), job.ID)
	if err != nil || ended.State != jobs.Failed || ended.Reason != "whoever makes up the job's tasks waits for results, and nothing runs" {
		t.Errorf("%+v %v", ended, err)
	}
	job = w.submit(1, jobs.Options{KeepGoing: true})
	source := &twice{job: job}
	d.Source = source
	d.Executor = &pool{size: 1, run: func(context.Context, jobs.Task) *contracts.SimReturn { return fail(contracts.CodeModel, "no") }}
	ended, err = d.Drive(t.Context(), job.ID)
	if err != nil || ended.State != jobs.Failed || ended.Tasks.Failed != 1 || source.failures != 3 {
		t.Errorf("%+v %v, told %d", ended, err, source.failures)
	}
}

type standstill struct{}

func (standstill) Ask() ([]contracts.SimTask, bool)             { return nil, false }
func (standstill) Tell(contracts.SimTask, *contracts.SimReturn) {}

// twice asks for one task twice at once, and once more when it was told.
type twice struct {
	job             *jobs.Job
	asked, failures int
}

func (s *twice) Ask() ([]contracts.SimTask, bool) {
	study := &contracts.SimulationStudy{Model: "m", Scenario: "s", Replicates: 1, ParameterSets: []contracts.ParameterSet{{Params: contracts.Params{"x": contracts.IntValue(1)}}}}
	var tasks []contracts.SimTask
	for task := range study.Tasks(s.job.Bundle) {
		tasks = append(tasks, task)
	}
	switch {
	case s.asked == 0:
		s.asked = 2
		return append(tasks, tasks...), false
	case s.failures == 2 && s.asked == 2:
		s.asked = 3
		return tasks, false
	}
	return nil, s.failures == 3
}

func (s *twice) Tell(_ contracts.SimTask, result *contracts.SimReturn) {
	if result.Error != nil {
		s.failures++
	}
}
