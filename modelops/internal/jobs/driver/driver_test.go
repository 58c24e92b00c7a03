package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// pool is an executor that calls a function.
type pool struct {
	size int
	run  func(ctx context.Context, task jobs.Task) *contracts.SimReturn
	dir  string
	runs atomic.Int64
}

func (p *pool) Run(ctx context.Context, tasks <-chan jobs.Task, results chan<- jobs.Result) error {
	var wg sync.WaitGroup
	for range p.size {
		wg.Go(func() {
			for task := range tasks {
				p.runs.Add(1)
				r := p.run(ctx, task)
				if ctx.Err() != nil {
					return
				}
				select {
				case results <- jobs.Result{Task: task, Return: r, Dir: p.dir}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

func succeed(_ context.Context, task jobs.Task) *contracts.SimReturn {
	content := fmt.Sprintf("seed\n%d\n", task.Sim.Seed)
	return &contracts.SimReturn{TaskID: task.Key, Outputs: map[string]contracts.Artifact{"peak": contracts.NewArtifact("text/csv", []byte(content))}}
}

func fail(code contracts.Code, format string, args ...any) *contracts.SimReturn {
	return &contracts.SimReturn{Outputs: map[string]contracts.Artifact{}, StderrTail: "tail",
		Error: &contracts.Error{Code: code, Type: "ValueError", Message: fmt.Sprintf(format, args...)}}
}

// world is a storage with jobs in it.
type world struct {
	t       *testing.T
	catalog *jobs.Catalog
	content contracts.Digest
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := blobstore.OpenDir(filepath.Join(t.TempDir(), "storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, jobs.Open(s, nil), contracts.DigestOf([]byte("content"))}
}

// submit makes a job of n parameter sets with two replicates each.
func (w *world) submit(n int, options jobs.Options) *jobs.Job {
	w.t.Helper()
	study := &contracts.SimulationStudy{Model: "model.sir", Scenario: "baseline", Replicates: 2}
	for i := range n {
		study.ParameterSets = append(study.ParameterSets, contracts.ParameterSet{Params: contracts.Params{"i": contracts.IntValue(int64(i))}})
	}
	return w.submitStudy(study, options)
}

func (w *world) submitStudy(study *contracts.SimulationStudy, options jobs.Options) *jobs.Job {
	w.t.Helper()
	data, err := study.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	job := &jobs.Job{ID: jobs.NewID(), Bundle: contracts.BundleRef{Repository: "m", Digest: w.content}, Content: w.content, Tasks: study.TaskCount(), Options: options}
	if err := w.catalog.Create(w.t.Context(), job, data); err != nil {
		w.t.Fatal(err)
	}
	w.move(job.ID, jobs.Submitted)
	return job
}

func (w *world) move(id string, state jobs.State) {
	w.t.Helper()
	if _, err := w.catalog.Move(w.t.Context(), id, jobs.Transition{State: state}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) drive(id string, executor jobs.Executor) jobs.Transition {
	w.t.Helper()
	d := &Driver{Catalog: w.catalog, Executor: executor, Log: slog.New(slog.DiscardHandler)}
	ended, err := d.Drive(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return ended
}

// results reads what the job's tasks have results of, by key.
func (w *world) results(job *jobs.Job) map[string]*contracts.SimReturn {
	w.t.Helper()
	a := w.catalog.Results(job)
	x, err := a.Index(w.t.Context(), archive.Option{Job: job.ID})
	if err != nil {
		w.t.Fatal(err)
	}
	study, err := w.catalog.LoadStudy(w.t.Context(), job.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]*contracts.SimReturn{}
	reader := a.NewReader(1 << 20)
	for task := range job.SimTasks(study) {
		if at, ok := x.Find(task.Key(job.Content)); ok {
			r, err := reader.Read(w.t.Context(), at)
			if err != nil {
				w.t.Fatal(err)
			}
			found[r.TaskID] = r
		}
	}
	return found
}

func counts(total, succeeded, failed, cancelled, cached int) *jobs.Counts {
	return &jobs.Counts{Total: total, Succeeded: succeeded, Failed: failed, Cancelled: cancelled, Cached: cached}
}

func check(t *testing.T, got jobs.Transition, state jobs.State, want *jobs.Counts) {
	t.Helper()
	if got.State != state {
		t.Errorf("state = %s (%s), want %s", got.State, got.Reason, state)
	}
	if diff := cmp.Diff(want, got.Tasks); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func TestDrive(t *testing.T) {
	w := newWorld(t)
	job := w.submit(50, jobs.Options{})
	executor := &pool{size: 4, run: succeed}
	check(t, w.drive(job.ID, executor), jobs.Succeeded, counts(100, 100, 0, 0, 0))
	if n := len(w.results(job)); n != 100 {
		t.Errorf("%d results, want 100", n)
	}

	// The same study again runs nothing; with ten more sets only those.
	again := w.submit(50, jobs.Options{})
	check(t, w.drive(again.ID, executor), jobs.Succeeded, counts(100, 100, 0, 0, 100))
	more := w.submit(60, jobs.Options{})
	check(t, w.drive(more.ID, executor), jobs.Succeeded, counts(120, 120, 0, 0, 100))
	if n := executor.runs.Load(); n != 120 {
		t.Errorf("%d tasks ran, want 120", n)
	}

	// Unless nothing of before is wanted.
	fresh := w.submit(50, jobs.Options{NoCache: true})
	check(t, w.drive(fresh.ID, executor), jobs.Succeeded, counts(100, 100, 0, 0, 0))
	if n := executor.runs.Load(); n != 220 {
		t.Errorf("%d tasks ran, want 220", n)
	}

	status, err := w.catalog.Status(t.Context(), again, nil)
	if err != nil || status.State != jobs.Succeeded || status.Tasks != *counts(100, 100, 0, 0, 100) || status.Started == "" || status.Finished == "" {
		t.Errorf("status = %+v, %v", status, err)
	}
}

// A set that the study has twice runs once and counts twice.
func TestDuplicates(t *testing.T) {
	w := newWorld(t)
	set := contracts.ParameterSet{Params: contracts.Params{"x": contracts.IntValue(1)}}
	study := &contracts.SimulationStudy{Model: "m.n", Scenario: "s", Replicates: 3, ParameterSets: []contracts.ParameterSet{set, set, set}}
	executor := &pool{size: 2, run: succeed}
	check(t, w.drive(w.submitStudy(study, jobs.Options{}).ID, executor), jobs.Succeeded, counts(9, 9, 0, 0, 0))
	if n := executor.runs.Load(); n != 3 {
		t.Errorf("%d tasks ran, want 3", n)
	}
}

func TestLimit(t *testing.T) {
	w := newWorld(t)
	job := w.submit(50, jobs.Options{Limit: 7})
	_ = job
	study := &contracts.SimulationStudy{Model: "m.n", Scenario: "s", Replicates: 1, ParameterSets: make([]contracts.ParameterSet, 5)}
	for i := range study.ParameterSets {
		study.ParameterSets[i].Params = contracts.Params{"x": contracts.IntValue(int64(i))}
	}
	data, err := study.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	limited := &jobs.Job{ID: jobs.NewID(), Bundle: job.Bundle, Content: w.content, Tasks: 3, Options: jobs.Options{Limit: 3}}
	if err := w.catalog.Create(t.Context(), limited, data); err != nil {
		t.Fatal(err)
	}
	w.move(limited.ID, jobs.Submitted)
	check(t, w.drive(limited.ID, &pool{size: 1, run: succeed}), jobs.Succeeded, counts(3, 3, 0, 0, 0))
}

func TestFailures(t *testing.T) {
	odd := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		if task.Sim.Set%2 == 1 {
			return fail(contracts.CodeModel, "no convergence after %d steps", task.Sim.Seed)
		}
		return succeed(ctx, task)
	}
	w := newWorld(t)
	job := w.submit(10, jobs.Options{})
	ended := w.drive(job.ID, &pool{size: 3, run: odd})
	check(t, ended, jobs.Partial, counts(20, 10, 10, 0, 0))
	if len(ended.Errors) != 1 || ended.Errors[0].Count != 10 || ended.Errors[0].Error.Code != contracts.CodeModel || ended.Errors[0].Error.StderrTail != "tail" {
		t.Errorf("errors = %+v", ended.Errors)
	}
	x, err := w.catalog.Failures(job.ID, ended.Number-1).Index(t.Context(), archive.Option{})
	if err != nil || x.Len() != 10 {
		t.Errorf("%d failures are recorded, %v", x.Len(), err)
	}

	// Failures are not reused: what failed runs again, what succeeded does not.
	executor := &pool{size: 3, run: succeed}
	w.move(job.ID, jobs.Submitted)
	check(t, w.drive(job.ID, executor), jobs.Succeeded, counts(20, 20, 0, 0, 0))
	if n := executor.runs.Load(); n != 10 {
		t.Errorf("%d tasks ran, want 10", n)
	}
}

func TestStopsEarly(t *testing.T) {
	model := func(_ context.Context, task jobs.Task) *contracts.SimReturn {
		return fail(contracts.CodeModel, "bad value %d", task.Sim.Seed)
	}
	wire := func(context.Context, jobs.Task) *contracts.SimReturn {
		return fail(contracts.CodeWireMissing, "no wire")
	}
	for name, tc := range map[string]struct {
		run       func(context.Context, jobs.Task) *contracts.SimReturn
		keepGoing bool
		max       int
	}{
		"alike":                {model, false, 20 + 8},
		"alike, keep going":    {model, true, 100},
		"hopeless":             {wire, false, 1},
		"hopeless, keep going": {wire, true, 100},
	} {
		w := newWorld(t)
		executor := &pool{size: 2, run: tc.run}
		ended := w.drive(w.submit(50, jobs.Options{KeepGoing: tc.keepGoing}).ID, executor)
		ran := int(executor.runs.Load())
		if ended.State != jobs.Failed || ran > tc.max+batchCount || ended.Tasks.Failed+ended.Tasks.Cancelled != 100 {
			t.Errorf("%s: %s, %d ran, %+v", name, ended.State, ran, ended.Tasks)
		}
		if tc.max == 1 && ran != 1 || tc.keepGoing && ran != 100 {
			t.Errorf("%s: %d ran, want %d", name, ran, tc.max)
		}
		if (ended.Reason != "") == tc.keepGoing {
			t.Errorf("%s: reason = %q", name, ended.Reason)
		}
	}
}

// Failures end a job when they come one after the other; now and then among successes,
// however many there are in all, they do not.
func TestStopAfter(t *testing.T) {
	bad := func(task jobs.Task) *contracts.SimReturn {
		return fail(contracts.CodeModel, "no convergence after %d steps", task.Sim.Seed)
	}
	for name, tc := range map[string]struct {
		options jobs.Options
		fails   func(i int64) bool // by the number of the run, from 0
		other   func(i int64) bool // with a failure of another kind
		ran     int64
		state   jobs.State
	}{
		"sporadic":          {jobs.Options{StopAfter: 12}, func(i int64) bool { return i%3 != 0 }, nil, 100, jobs.Partial},
		"after successes":   {jobs.Options{StopAfter: 3}, func(i int64) bool { return i >= 40 }, nil, 43, jobs.Partial},
		"never":             {jobs.Options{StopAfter: 3, KeepGoing: true}, func(i int64) bool { return i >= 40 }, nil, 100, jobs.Partial},
		"the default":       {jobs.Options{}, func(i int64) bool { return i >= 40 }, nil, 60, jobs.Partial},
		"two kinds":         {jobs.Options{StopAfter: 3}, func(i int64) bool { return true }, func(i int64) bool { return i%2 == 0 && i < 4 }, 6, jobs.Failed},
		"one after another": {jobs.Options{StopAfter: 2}, func(i int64) bool { return i != 1 }, func(i int64) bool { return i == 0 }, 4, jobs.Partial},
	} {
		w := newWorld(t)
		executor := &pool{size: 1}
		executor.run = func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
			switch i := executor.runs.Load() - 1; {
			case tc.other != nil && tc.other(i):
				return fail(contracts.CodeOutput, "no output")
			case tc.fails(i):
				return bad(task)
			}
			return succeed(ctx, task)
		}
		job := w.submit(50, tc.options)
		ended := w.drive(job.ID, executor)
		counted := ended.Tasks.Succeeded + ended.Tasks.Failed
		// Those that come in one batch are all counted.
		if ended.State != tc.state || int64(counted) < tc.ran || tc.ran < 100 && ended.Tasks.Cancelled == 0 && counted > int(tc.ran)+batchCount {
			t.Errorf("%s: %s, %d ran, %+v, want %d", name, ended.State, executor.runs.Load(), ended.Tasks, tc.ran)
		}
		if stopped := ended.Reason != ""; stopped != (tc.ran < 100) {
			t.Errorf("%s: reason = %q", name, ended.Reason)
		} else if stopped && ended.Errors[0].Error.Code != contracts.CodeModel {
			t.Errorf("%s: the first error is %v", name, ended.Errors[0].Error)
		}
	}
}

func TestStreak(t *testing.T) {
	a, b := fail(contracts.CodeModel, "a 1").Error, fail(contracts.CodeModel, "b").Error
	s := streak{}
	for i, step := range []struct {
		failure *contracts.Error
		want    int
	}{{a, 1}, {b, 1}, {fail(contracts.CodeModel, "a 2").Error, 2}, {b, 2}, {nil, 0}, {a, 1}, {a, 2}} {
		if got := s.add(step.failure); got != step.want {
			t.Errorf("step %d: %d alike, want %d", i, got, step.want)
		}
	}
}

// When the job's time limit passes, what runs is stopped, what is done stays, and the
// rest runs when the job is resumed.
func TestJobTimeout(t *testing.T) {
	w := newWorld(t)
	job := w.submit(20, jobs.Options{JobTimeout: "300ms"})
	ended := w.drive(job.ID, &pool{size: 2, run: block(10)})
	check(t, ended, jobs.Failed, counts(40, 10, 0, 30, 0))
	if e := ended.Errors[0].Error; e.Code != contracts.CodeTimeout || !strings.Contains(e.Message, "300ms") || !strings.Contains(e.Hint, "jobs resume "+job.ID) {
		t.Errorf("errors = %+v", ended.Errors)
	}
	executor := &pool{size: 2, run: succeed}
	w.move(job.ID, jobs.Submitted)
	check(t, w.drive(job.ID, executor), jobs.Succeeded, counts(40, 40, 0, 0, 0))
	if n := executor.runs.Load(); n != 30 {
		t.Errorf("%d tasks ran, want 30", n)
	}
}

// The rate is a recent one.
func TestPace(t *testing.T) {
	var p pace
	at := time.Unix(1e9, 0)
	if got := p.rate(at, 0); got != 0 {
		t.Errorf("at the start %v", got)
	}
	at = at.Add(time.Hour) // until a cluster is there
	if got := p.rate(at, 0); got != 0 {
		t.Errorf("before anything ran %v", got)
	}
	ran := 0
	step := func(seconds, tasks int) float64 {
		at, ran = at.Add(time.Duration(seconds)*time.Second), ran+tasks
		return p.rate(at, ran)
	}
	if got := step(10, 1000); got != 100 {
		t.Errorf("after ten seconds %v, want 100", got)
	}
	for range 60 {
		step(1, 100)
	}
	var got float64
	for range 60 {
		got = step(1, 1)
	}
	if got != 1 {
		t.Errorf("a minute after it slowed down %v, want 1", got)
	}
	if len(p.marks) > 40 {
		t.Errorf("%d marks are kept", len(p.marks))
	}
	// When few tasks run at all, the time is that of twenty.
	for range 10 {
		got = step(300, 1)
	}
	if got < 0.003 || got > 0.01 {
		t.Errorf("of slow tasks %v", got)
	}
	if got := step(3600, 0); got <= 0 {
		t.Errorf("after an hour of nothing %v", got)
	}
}

// The first task runs alone.
func TestCanary(t *testing.T) {
	w := newWorld(t)
	var together, first atomic.Int64
	run := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		if first.Add(1) == 1 {
			<-time.After(50 * time.Millisecond)
			together.Store(first.Load())
		}
		return succeed(ctx, task)
	}
	w.drive(w.submit(10, jobs.Options{}).ID, &pool{size: 4, run: run})
	if n := together.Load(); n != 1 {
		t.Errorf("%d tasks had begun before the first was through", n)
	}
}

// block never answers, until its context ends.
func block(after int64) func(context.Context, jobs.Task) *contracts.SimReturn {
	var n atomic.Int64
	return func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		if n.Add(1) > after {
			<-ctx.Done()
		}
		return succeed(ctx, task)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	job := w.submit(20, jobs.Options{})
	done := make(chan jobs.Transition)
	go func() { done <- w.drive(job.ID, &pool{size: 2, run: block(10)}) }()
	w.await(job, func(s *jobs.Status) bool { return s.Tasks.Succeeded == 10 })
	if _, err := w.catalog.Move(t.Context(), job.ID, jobs.Transition{State: jobs.Cancelled, Reason: "asked to"}); err != nil {
		t.Fatal(err)
	}
	if ended := <-done; ended.State != jobs.Cancelled || ended.Reason != "asked to" {
		t.Errorf("ended = %+v", ended)
	}
	status, err := w.catalog.Status(t.Context(), job, nil)
	if err != nil || status.Tasks != *counts(40, 10, 0, 30, 0) {
		t.Errorf("status = %+v, %v", status, err)
	}
	// Resumed, it runs the rest.
	executor := &pool{size: 2, run: succeed}
	w.move(job.ID, jobs.Submitted)
	check(t, w.drive(job.ID, executor), jobs.Succeeded, counts(40, 40, 0, 0, 0))
	if n := executor.runs.Load(); n != 30 {
		t.Errorf("%d tasks ran, want 30", n)
	}
}

// await waits until the job's status is as wanted.
func (w *world) await(job *jobs.Job, want func(*jobs.Status) bool) {
	w.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := w.catalog.Status(w.t.Context(), job, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if want(status) {
			return
		}
		select {
		case <-ticker.C:
		case <-w.t.Context().Done():
			w.t.Fatal("the test ended first")
		}
	}
}

// A driver that is told to stop leaves the job to be resumed, whenever that comes.
func TestStopAndResume(t *testing.T) {
	w := newWorld(t)
	job := w.submit(40, jobs.Options{})
	for try := 0; ; try++ {
		ctx, stop := context.WithCancel(t.Context())
		limit := rand.Int64N(15)
		d := &Driver{Catalog: w.catalog, Executor: &pool{size: 2, run: func(c context.Context, task jobs.Task) *contracts.SimReturn {
			if limit--; limit < 0 && try < 20 {
				stop()
			}
			return succeed(c, task)
		}}, Log: slog.New(slog.DiscardHandler)}
		d.Executor.(*pool).size = 1
		ended, err := d.Drive(ctx, job.ID)
		stop()
		if err == nil {
			check(t, ended, jobs.Succeeded, counts(80, 80, 0, 0, 0))
			break
		}
		if last, err := w.catalog.Last(t.Context(), job.ID); err != nil || last.State != jobs.Running {
			t.Fatalf("after stopping the job is %s, %v", last.State, err)
		}
		w.move(job.ID, jobs.Submitted)
	}
	if n := len(w.results(job)); n != 80 {
		t.Errorf("%d results, want 80", n)
	}
}

// A driver that was given up for lost and comes back ends without a word.
func TestFenced(t *testing.T) {
	w := newWorld(t)
	job := w.submit(4, jobs.Options{})
	first := make(chan jobs.Transition)
	go func() { first <- w.drive(job.ID, &pool{size: 1, run: block(2)}) }()
	w.await(job, func(s *jobs.Status) bool { return s.Tasks.Succeeded == 2 })
	w.move(job.ID, jobs.Submitted)
	check(t, w.drive(job.ID, &pool{size: 1, run: succeed}), jobs.Succeeded, counts(8, 8, 0, 0, 0))
	if moved := <-first; moved.State != jobs.Submitted {
		t.Errorf("the first driver saw %s, want SUBMITTED", moved.State)
	}
	if last, err := w.catalog.Last(t.Context(), job.ID); err != nil || last.State != jobs.Succeeded {
		t.Errorf("state = %s, %v", last.State, err)
	}
}

func TestExecutorFails(t *testing.T) {
	w := newWorld(t)
	job := w.submit(2, jobs.Options{})
	fault := &contracts.Error{Code: contracts.CodeUnsupported, Message: "no workers on this system"}
	ended := w.drive(job.ID, executorFunc(func(context.Context, <-chan jobs.Task, chan<- jobs.Result) error { return fault }))
	check(t, ended, jobs.Failed, counts(4, 0, 0, 4, 0))
	if ended.Reason != fault.Message || len(ended.Errors) != 1 || ended.Errors[0].Error.Code != fault.Code || !strings.Contains(ended.Errors[0].Error.Hint, "mops jobs resume "+job.ID) {
		t.Errorf("ended = %+v", ended)
	}
}

type executorFunc func(context.Context, <-chan jobs.Task, chan<- jobs.Result) error

func (f executorFunc) Run(ctx context.Context, tasks <-chan jobs.Task, results chan<- jobs.Result) error {
	return f(ctx, tasks, results)
}

// Outputs in files are stored, shared ones too; an answer to another question fails.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t)
	w.catalog.Store()
	large := strings.Repeat("x", 100000)
	run := func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		r := succeed(ctx, task)
		artifact := contracts.NewArtifact("text/plain", []byte(large))
		artifact.Inline, artifact.Ref = nil, "file:"+artifact.Checksum
		switch task.Sim.Set {
		case 1:
			artifact.Checksum = contracts.NewArtifact("", nil).Checksum
			artifact.Ref = "file:" + artifact.Checksum
		case 2:
			artifact.Ref = "file:../../etc/passwd"
		case 3:
			r.TaskID = strings.Repeat("0", 64)
		case 4:
			r.ContentDigest = contracts.DigestOf([]byte("other"))
		}
		if err := os.WriteFile(filepath.Join(dir, artifact.Checksum), []byte(large), 0o600); err != nil {
			t.Error(err)
		}
		r.Outputs["large"] = artifact
		return r
	}
	job := w.submit(10, jobs.Options{})
	ended := w.drive(job.ID, &pool{size: 3, run: run, dir: dir})
	check(t, ended, jobs.Partial, counts(20, 12, 8, 0, 0))
	codes := map[contracts.Code]int{}
	for _, f := range ended.Errors {
		codes[f.Error.Code] += f.Count
	}
	if diff := cmp.Diff(map[contracts.Code]int{contracts.CodeIntegrity: 2, contracts.CodeProtocol: 6}, codes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, r := range w.results(job) {
		body, err := w.catalog.Results(job).Open(t.Context(), r.Outputs["large"])
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil || string(data) != large {
			t.Errorf("%d bytes, %v", len(data), err)
		}
		_ = body.Close()
	}
}

// Every result that a progress report counts is in the storage when it is read.
func TestReportedIsDurable(t *testing.T) {
	w := newWorld(t)
	job := w.submit(300, jobs.Options{})
	done := make(chan jobs.Transition)
	go func() { done <- w.drive(job.ID, &pool{size: 2, run: succeed}) }()
	for {
		select {
		case ended := <-done:
			check(t, ended, jobs.Succeeded, counts(600, 600, 0, 0, 0))
			return
		default:
		}
		p, err := w.catalog.Progress(t.Context(), job.ID)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(w.results(job)); n < p.Tasks.Succeeded {
			t.Fatalf("%d results, and %d were reported", n, p.Tasks.Succeeded)
		}
	}
}

func TestSignature(t *testing.T) {
	e := func(message string) *contracts.Error {
		return &contracts.Error{Code: contracts.CodeModel, Type: "ValueError", Message: message}
	}
	if jobs.Signature(e("beta 0.25 is out of range")) != jobs.Signature(e("beta 3 is out of range")) {
		t.Error("failures that differ in a number are told apart")
	}
	if jobs.Signature(e("beta 3 is out of range")) == jobs.Signature(e("gamma 3 is out of range")) {
		t.Error("different failures are taken for one")
	}
	if _, err := json.Marshal(jobs.Faults{Error: e("x")}); err != nil {
		t.Error(err)
	}
}
