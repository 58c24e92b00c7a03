package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// targeted is a study of n sets with two replicates each, and one with a seed.
func targeted(n int, targets ...string) *contracts.SimulationStudy {
	study := &contracts.SimulationStudy{Model: "model.sir", Scenario: "baseline", Replicates: 2, Targets: targets}
	for i := range n {
		study.ParameterSets = append(study.ParameterSets, contracts.ParameterSet{Params: contracts.Params{"i": contracts.IntValue(int64(i))}})
	}
	seed := uint64(7)
	study.ParameterSets = append(study.ParameterSets, contracts.ParameterSet{Params: contracts.Params{"i": contracts.IntValue(int64(n))}, Seed: &seed})
	return study
}

// simulated runs what it is given: a simulation answers its seed, an evaluation the
// outputs of its replicates, joined.
func simulated(_ context.Context, task jobs.Task) *contracts.SimReturn {
	r := &contracts.SimReturn{TaskID: task.Key, Outputs: map[string]contracts.Artifact{}}
	if !task.Sim.Evaluates() {
		r.Outputs["seed"] = contracts.NewArtifact("text/plain", strconv.AppendUint(nil, task.Sim.Seed, 10))
		return r
	}
	sum := 0.0
	for i, replicate := range task.Sim.Replicates {
		seed, err := strconv.ParseFloat(string(replicate.Outputs["seed"].Inline), 64)
		if err != nil {
			return fail(contracts.CodeModel, "replicate %d: %v", i, err)
		}
		sum += seed * float64(i+1)
	}
	r.Evaluation = &contracts.Evaluation{Loss: sum, Replicates: len(task.Sim.Replicates)}
	return r
}

// pause is shorter than a result waits to be made durable.
const pause = batchTime / 10

// losses reads what evaluations of the job have results: "set target" to loss.
func (w *world) losses(job *jobs.Job, study *contracts.SimulationStudy) map[string]float64 {
	w.t.Helper()
	a := w.catalog.Results(job)
	x, err := a.Index(w.t.Context(), archive.Option{Job: job.ID})
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]float64{}
	for set := range job.Sets(study) {
		for _, target := range study.Targets {
			at, ok := x.Find(contracts.EvaluationKey(job.Content, target, set.Keys))
			if !ok {
				continue
			}
			r, err := a.NewReader(0).Read(w.t.Context(), at)
			if err != nil {
				w.t.Fatal(err)
			}
			found[fmt.Sprint(set.Tasks[0].Set, " ", target)] = r.Evaluation.Loss
		}
	}
	return found
}

// wantLosses are those of simulated.
func wantLosses(job *jobs.Job, study *contracts.SimulationStudy) map[string]float64 {
	want := map[string]float64{}
	for set := range job.Sets(study) {
		for _, target := range study.Targets {
			sum := 0.0
			for i, task := range set.Tasks {
				sum += float64(task.Seed) * float64(i+1)
			}
			want[fmt.Sprint(set.Tasks[0].Set, " ", target)] = sum
		}
	}
	return want
}

func checkEvaluations(t *testing.T, got jobs.Transition, want *jobs.Counts) {
	t.Helper()
	if diff := cmp.Diff(want, got.Evaluations); diff != "" {
		t.Errorf("evaluations (-want +got):\n%s", diff)
	}
}

func TestEvaluations(t *testing.T) {
	w := newWorld(t)
	study := targeted(20, "fit.a:f", "fit.b:f")
	executor := &pool{size: 4, run: simulated}
	job := w.submitStudy(study, jobs.Options{})
	ended := w.drive(job.ID, executor)
	check(t, ended, jobs.Succeeded, counts(41, 41, 0, 0, 0))
	checkEvaluations(t, ended, counts(42, 42, 0, 0, 0))
	if diff := cmp.Diff(wantLosses(job, study), w.losses(job, study)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	status, err := w.catalog.Status(t.Context(), job, nil)
	if err != nil || status.Evaluations == nil || *status.Evaluations != *counts(42, 42, 0, 0, 0) {
		t.Errorf("status = %+v, %v", status, err)
	}

	// Again, nothing runs; with one more target only that.
	ended = w.drive(w.submitStudy(study, jobs.Options{}).ID, executor)
	check(t, ended, jobs.Succeeded, counts(41, 41, 0, 0, 41))
	checkEvaluations(t, ended, counts(42, 42, 0, 0, 42))
	ended = w.drive(w.submitStudy(targeted(20, "fit.c:f", "fit.a:f"), jobs.Options{}).ID, executor)
	check(t, ended, jobs.Succeeded, counts(41, 41, 0, 0, 41))
	checkEvaluations(t, ended, counts(42, 42, 0, 0, 21))
	if n := executor.runs.Load(); n != 41+42+21 {
		t.Errorf("%d tasks ran", n)
	}
	fresh := w.submitStudy(study, jobs.Options{NoCache: true})
	ended = w.drive(fresh.ID, executor)
	check(t, ended, jobs.Succeeded, counts(41, 41, 0, 0, 0))
	checkEvaluations(t, ended, counts(42, 42, 0, 0, 0))
}

// What is too much to travel with an evaluation is in the storage, once for all targets of a
// set, and the evaluation refers to it.
func TestEvaluationsByReference(t *testing.T) {
	w := newWorld(t)
	study := targeted(3, "fit.a:f", "fit.b:f")
	job := w.submitStudy(study, jobs.Options{})
	results, inline, referred := w.catalog.Results(job), 0, map[string]bool{}
	run := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		for i, replicate := range task.Sim.Replicates {
			artifact := replicate.Outputs["seed"]
			if artifact.Ref == "" {
				inline++
				continue
			}
			r, err := results.Open(ctx, artifact)
			if err != nil {
				t.Error(err)
				continue
			}
			artifact.Inline, err = io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil {
				t.Error(err)
			}
			referred[artifact.Ref] = true
			task.Sim.Replicates[i].Outputs = map[string]contracts.Artifact{"seed": artifact}
		}
		return simulated(ctx, task)
	}
	d := &Driver{Catalog: w.catalog, Executor: &pool{size: 1, run: run}, Log: slog.New(slog.DiscardHandler), Inline: 15} // for one seed, not for two
	ended, err := d.Drive(t.Context(), job.ID)
	if err != nil {
		t.Fatal(err)
	}
	check(t, ended, jobs.Succeeded, counts(7, 7, 0, 0, 0))
	checkEvaluations(t, ended, counts(8, 8, 0, 0, 0))
	if diff := cmp.Diff(wantLosses(job, study), w.losses(job, study)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if inline != 2*4 || len(referred) != 3 {
		t.Errorf("%d outputs were inline, %d in the storage", inline, len(referred))
	}
}

// An evaluation runs once all replicates have results, and before sets further on: what
// waits does not grow with the study.
func TestEvaluationsInTime(t *testing.T) {
	w := newWorld(t)
	study := targeted(200, "fit.a:f")
	var mu sync.Mutex
	done, unevaluated, most := map[string]bool{}, map[int]bool{}, 0
	run := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		mu.Lock()
		defer mu.Unlock()
		for _, replicate := range task.Sim.Replicates {
			if !done[replicate.Task] {
				t.Errorf("the evaluation of set %d came before its replicates", task.Sim.Set)
			}
		}
		done[task.Key], unevaluated[task.Sim.Set] = true, true
		if task.Sim.Evaluates() {
			delete(unevaluated, task.Sim.Set)
		}
		most = max(most, len(unevaluated))
		return simulated(ctx, task)
	}
	// Slower than a batch becomes durable, so that the numbers say something.
	slow := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		r := run(ctx, task)
		<-time.After(pause)
		return r
	}
	ended := w.drive(w.submitStudy(study, jobs.Options{}).ID, &pool{size: 2, run: slow})
	check(t, ended, jobs.Succeeded, counts(401, 401, 0, 0, 0))
	checkEvaluations(t, ended, counts(201, 201, 0, 0, 0))
	if most > 50 {
		t.Errorf("%d sets waited for their evaluation", most)
	}
}

// Sets that are the same are evaluated once, sets that share a run each for itself; the
// one that the limit cuts is not.
func TestEvaluationsOfSharedRuns(t *testing.T) {
	w := newWorld(t)
	set := contracts.ParameterSet{Params: contracts.Params{"x": contracts.IntValue(1)}}
	seed := contracts.ReplicateSeed(set.Params.ID(), 1)
	shared := contracts.ParameterSet{Params: set.Params, Seed: &seed}
	study := &contracts.SimulationStudy{Model: "m.n", Scenario: "s", Replicates: 3, Targets: []string{"fit.a:f"},
		ParameterSets: []contracts.ParameterSet{set, shared, set, {Params: contracts.Params{"x": contracts.IntValue(2)}}}}
	executor := &pool{size: 2, run: simulated}
	job := w.submitStudy(study, jobs.Options{})
	ended := w.drive(job.ID, executor)
	check(t, ended, jobs.Succeeded, counts(10, 10, 0, 0, 0))
	checkEvaluations(t, ended, counts(4, 4, 0, 0, 0))
	if n := executor.runs.Load(); n != 6+3 {
		t.Errorf("%d tasks ran, want 9", n)
	}
	if diff := cmp.Diff(wantLosses(job, study), w.losses(job, study)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for tasks, want := range map[int]int{1: 0, 2: 0, 3: 1, 4: 2, 6: 2, 7: 3, 9: 3, 10: 4} {
		if got := jobs.CountEvaluations(study, tasks); got != want {
			t.Errorf("%d tasks make %d evaluations, want %d", tasks, got, want)
		}
		limited := *job
		limited.Tasks = tasks
		complete := 0
		for set := range limited.Sets(study) {
			if set.Complete {
				complete++
			}
		}
		if complete != want {
			t.Errorf("%d tasks have %d complete sets, want %d", tasks, complete, want)
		}
	}
}

func TestEvaluationsFailed(t *testing.T) {
	w := newWorld(t)
	study := targeted(6, "fit.a:f", "fit.b:f")
	run := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		switch sim := task.Sim; {
		case !sim.Evaluates() && sim.Set == 1 && sim.Replicate == 1:
			return fail(contracts.CodeModel, "no convergence")
		case sim.Evaluates() && sim.Set == 2 && sim.Entrypoint == "fit.b:f":
			return fail(contracts.CodeOutput, "its loss is nan")
		case sim.Evaluates() && sim.Set == 3 && sim.Entrypoint == "fit.b:f":
			return succeed(ctx, task) // no evaluation
		}
		return simulated(ctx, task)
	}
	job := w.submitStudy(study, jobs.Options{})
	ended := w.drive(job.ID, &pool{size: 3, run: run})
	check(t, ended, jobs.Partial, counts(13, 12, 1, 0, 0))
	checkEvaluations(t, ended, counts(14, 10, 2, 2, 0))
	codes := []string{}
	for _, f := range ended.Errors {
		codes = append(codes, string(f.Error.Code))
	}
	slices.Sort(codes)
	if got := strings.Join(codes, " "); got != "model_error output_error protocol_error" {
		t.Errorf("errors = %s", got)
	}

	// Resumed, what failed runs again, and what that makes possible.
	executor := &pool{size: 3, run: simulated}
	w.move(job.ID, jobs.Submitted)
	ended = w.drive(job.ID, executor)
	check(t, ended, jobs.Succeeded, counts(13, 13, 0, 0, 0))
	checkEvaluations(t, ended, counts(14, 14, 0, 0, 0))
	if n := executor.runs.Load(); n != 1+2+2 {
		t.Errorf("%d tasks ran, want 5", n)
	}
	// Evaluations alone can make a job partial.
	other := w.submitStudy(targeted(6, "fit.c:f"), jobs.Options{})
	ended = w.drive(other.ID, &pool{size: 1, run: func(_ context.Context, task jobs.Task) *contracts.SimReturn { return fail(contracts.CodeModel, "no") }})
	check(t, ended, jobs.Partial, counts(13, 13, 0, 0, 13))
	checkEvaluations(t, ended, counts(7, 0, 7, 0, 0))
}

func TestEvaluationsStopEarly(t *testing.T) {
	for name, tc := range map[string]struct {
		code      contracts.Code
		keepGoing bool
		least     int
		most      int
	}{
		"hopeless":             {contracts.CodeImport, false, 1, 60},
		"hopeless, keep going": {contracts.CodeImport, true, 101, 101},
		"alike":                {contracts.CodeModel, false, 20, 80},
	} {
		w := newWorld(t)
		run := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
			if !task.Sim.Evaluates() {
				return simulated(ctx, task)
			}
			<-time.After(pause)
			return fail(tc.code, "no module of set %d", task.Sim.Set)
		}
		ended := w.drive(w.submitStudy(targeted(100, "fit.a:f"), jobs.Options{KeepGoing: tc.keepGoing}).ID, &pool{size: 2, run: run})
		if n := ended.Evaluations.Failed; ended.State != jobs.Partial || n < tc.least || n > tc.most {
			t.Errorf("%s: %s, %+v", name, ended.State, ended.Evaluations)
		}
		if (ended.Reason != "") == tc.keepGoing || ended.Evaluations.Failed+ended.Evaluations.Cancelled != 101 {
			t.Errorf("%s: reason %q, %+v", name, ended.Reason, ended.Evaluations)
		}
	}
}

// Results that are damaged are found when an evaluation reads them; then they run again.
func TestEvaluationOfDamagedResults(t *testing.T) {
	w := newWorld(t)
	executor := &pool{size: 2, run: simulated}
	w.drive(w.submitStudy(targeted(3), jobs.Options{}).ID, executor)
	for entry, err := range w.catalog.Store().List(t.Context(), "results/") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := blobstore.Read(t.Context(), w.catalog.Store(), entry.Key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		if err := w.catalog.Store().Put(t.Context(), entry.Key, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	job := w.submitStudy(targeted(3, "fit.a:f"), jobs.Options{})
	ended := w.drive(job.ID, executor)
	for tries := 0; ended.State == jobs.Failed && tries < 10; tries++ { // a segment each time
		if ended.Errors[0].Error.Code != contracts.CodeIntegrity {
			t.Fatalf("ended = %+v", ended)
		}
		w.move(job.ID, jobs.Submitted)
		ended = w.drive(job.ID, executor)
	}
	check(t, ended, jobs.Succeeded, counts(7, 7, 0, 0, 0))
	checkEvaluations(t, ended, counts(4, 4, 0, 0, 0))

	// The worker may find that an output is damaged.
	broken := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		if task.Sim.Evaluates() && task.Sim.Set == 1 {
			return fail(contracts.CodeIntegrity, "stored output has other bytes")
		}
		return simulated(ctx, task)
	}
	other := w.submitStudy(targeted(3, "fit.b:f"), jobs.Options{})
	ended = w.drive(other.ID, &pool{size: 1, run: broken})
	checkEvaluations(t, ended, counts(4, 3, 1, 0, 0))
	x, err := w.catalog.Results(other).Index(t.Context(), archive.Option{})
	if err != nil || len(x.Damaged) < 2 {
		t.Errorf("damaged are %v, %v", x.Damaged, err)
	}
}
