package jobscript

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/dask"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/driver"
)

// halving looks for the x at which a model's answer is least, and asks for nine between two
// at a time.
type halving struct {
	job       *jobs.Job
	low, high int64
	answers   map[int64]float64 // of those that it waits for; nil before they are asked for
	rounds    int
}

func (h *halving) Ask() ([]contracts.SimTask, bool) {
	if h.answers != nil || h.high-h.low < 10 {
		return nil, h.answers == nil
	}
	h.answers = map[int64]float64{}
	h.rounds++
	study := &contracts.SimulationStudy{Model: "model.sir", Scenario: "baseline", Replicates: 1}
	for n := range int64(9) {
		x := contracts.IntValue(h.low + (h.high-h.low)*(n+1)/10)
		study.ParameterSets = append(study.ParameterSets, contracts.ParameterSet{Params: contracts.Params{"i": x}})
	}
	var tasks []contracts.SimTask
	for task := range study.Tasks(h.job.Bundle) {
		tasks = append(tasks, task)
	}
	return tasks, false
}

func (h *halving) Tell(task contracts.SimTask, result *contracts.SimReturn) {
	x, _ := task.Params.Values["i"].Int64() // it is one
	var answer float64
	if _, err := fmt.Sscan(string(result.Outputs["loss"].Inline), &answer); err != nil {
		panic(err)
	}
	if h.answers[x] = answer; len(h.answers) < 9 {
		return
	}
	best := x
	for other, answer := range h.answers {
		if answer < h.answers[best] {
			best = other
		}
	}
	step := (h.high - h.low) / 10
	h.low, h.high, h.answers = best-step, best+step, nil
}

// On a cluster, too, tasks are made up of the results of others while a job runs.
func TestDaskAskTell(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	c.study(2, "def wire(entrypoint, params, seed):\n    return {'loss': b'%d' % abs(params['i'] - 31_415)}\n")
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.must("jobs", "cancel", id) // it waits for workers; its bundle is what is wanted of it
	c.until(id, func(s jobStatus) bool { return s.State == string(jobs.Cancelled) })
	c.worker(nil)
	c.worker(nil)
	catalog, env, text := c.catalog()
	job, err := catalog.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Move(t.Context(), id, jobs.Transition{State: jobs.Submitted}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	source := &halving{job: job, low: 0, high: 100_000}
	d := &driver.Driver{Catalog: catalog, Log: log, Source: source, Executor: &dask.Executor{
		Compute: *env.Compute, Worker: filepath.Join(bin, "bundle-worker"), Environment: text, Job: id,
		Home: filepath.Join(c.work, "home", ".modelops"), Environ: c.environ(), Log: log,
	}}
	ended, err := d.Drive(t.Context(), id)
	if err != nil || ended.State != jobs.Succeeded {
		t.Fatalf("%+v, %v", ended, err)
	}
	if source.low > 31_415 || source.high < 31_415 || source.high-source.low >= 10 || source.rounds < 5 {
		t.Errorf("after %d rounds it is between %d and %d", source.rounds, source.low, source.high)
	}
	if n := ended.Tasks.Succeeded; n < 5*8 || n > 9*source.rounds {
		t.Errorf("%d tasks in %d rounds", n, source.rounds)
	}
}
