package jobs_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

func open(t *testing.T, now func() time.Time) *jobs.Catalog {
	t.Helper()
	s, err := blobstore.OpenDir(filepath.Join(t.TempDir(), "storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	return jobs.Open(s, now)
}

func create(t *testing.T, c *jobs.Catalog, id string) *jobs.Job {
	t.Helper()
	digest := contracts.DigestOf(nil)
	job := &jobs.Job{ID: id, Bundle: contracts.BundleRef{Repository: "team/seir", Digest: digest}, Content: digest, Environment: "local", Executor: "process", Tasks: 3}
	if err := c.Create(t.Context(), job, []byte(`{"model":"m.n","scenario":"s","parameter_sets":[]}`)); err != nil {
		t.Fatal(err)
	}
	return job
}

func code(err error) contracts.Code {
	if err == nil {
		return ""
	}
	return contracts.AsError(err).Code
}

func move(t *testing.T, c *jobs.Catalog, id string, states ...jobs.State) error {
	t.Helper()
	for _, state := range states {
		if _, err := c.Move(t.Context(), id, jobs.Transition{State: state}); err != nil {
			return err
		}
	}
	return nil
}

func TestTransitions(t *testing.T) {
	for _, tc := range []struct {
		states []jobs.State // after Pending; the last one is tried
		ok     bool
	}{
		{[]jobs.State{jobs.Running}, false},
		{[]jobs.State{jobs.Succeeded}, false},
		{[]jobs.State{jobs.Submitted, jobs.Succeeded}, false},
		{[]jobs.State{jobs.Cancelled}, true},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Succeeded}, true},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Partial}, true},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Pending}, false},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Succeeded, jobs.Cancelled}, false},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Succeeded, jobs.Submitted}, false},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Failed, jobs.Cancelled}, false},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Failed, jobs.Submitted, jobs.Running}, true},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Cancelled, jobs.Submitted}, true},
		{[]jobs.State{jobs.Submitted, jobs.Running, jobs.Submitted, jobs.Running}, true},
		{[]jobs.State{jobs.Submitted, jobs.Cancelled, jobs.Cancelled}, false},
	} {
		c := open(t, nil)
		create(t, c, "job-00000001")
		last := len(tc.states) - 1
		if err := move(t, c, "job-00000001", tc.states[:last]...); err != nil {
			t.Fatal(err)
		}
		err := move(t, c, "job-00000001", tc.states[last])
		if (err == nil) != tc.ok || err != nil && code(err) != contracts.CodeConflict {
			t.Errorf("%v: err = %v, want ok %v", tc.states, err, tc.ok)
		}
		want := tc.states[last]
		if !tc.ok {
			want = append([]jobs.State{jobs.Pending}, tc.states...)[last]
		}
		if got, err := c.Last(t.Context(), "job-00000001"); err != nil || got.State != want {
			t.Errorf("%v: state = %s, %v; want %s", tc.states, got.State, err, want)
		}
	}
}

// Of transitions made at once from one state exactly one takes place.
func TestTransitionRace(t *testing.T) {
	c := open(t, nil)
	create(t, c, "job-00000001")
	last, err := c.Last(t.Context(), "job-00000001")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		state := []jobs.State{jobs.Submitted, jobs.Cancelled}[i%2]
		wg.Go(func() {
			_, errs[i] = c.MoveFrom(t.Context(), "job-00000001", last, jobs.Transition{State: state, Reason: fmt.Sprint(i)})
		})
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won >= 0:
			t.Fatalf("%d and %d both won", won, i)
		case err == nil:
			won = i
		case code(err) != contracts.CodeConflict:
			t.Errorf("%d: %v", i, err)
		}
	}
	if got, err := c.Last(t.Context(), "job-00000001"); err != nil || won < 0 || got.Reason != fmt.Sprint(won) {
		t.Errorf("last = %+v, %v; %d won", got, err, won)
	}
}

func TestCreate(t *testing.T) {
	c := open(t, nil)
	job := create(t, c, "job-00000001")
	again := *job
	if err := c.Create(t.Context(), &again, nil); !errors.Is(err, blobstore.ErrExists) {
		t.Errorf("creating it twice = %v, want ErrExists", err)
	}
	got, err := c.Load(t.Context(), job.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(job, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := time.Parse(time.RFC3339, got.Created); err != nil || !strings.HasSuffix(got.Created, "Z") {
		t.Errorf("created %s: %v", got.Created, err)
	}
	for id, want := range map[string]contracts.Code{"job-00000002": contracts.CodeNotFound, "../x": contracts.CodeInvalidName, "job-1": contracts.CodeInvalidName, "": contracts.CodeInvalidName} {
		if _, err := c.Load(t.Context(), id); code(err) != want {
			t.Errorf("Load %q = %v, want %s", id, err, want)
		}
	}
	if err := jobs.ValidateID(jobs.NewID()); err != nil {
		t.Error(err)
	}
}

func TestListAndRemove(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := open(t, func() time.Time { now = now.Add(time.Millisecond * 100); return now })
	for _, id := range []string{"job-00000003", "job-00000001", "job-00000002"} {
		create(t, c, id)
	}
	if err := c.Remove(t.Context(), "job-00000001"); err != nil {
		t.Fatal(err)
	}
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, job := range list {
		ids = append(ids, job.ID)
	}
	if diff := cmp.Diff([]string{"job-00000002", "job-00000003"}, ids); diff != "" {
		t.Errorf("newest first (-want +got):\n%s", diff)
	}
	for entry := range c.Store().List(t.Context(), "jobs/job-00000001") {
		t.Errorf("%s stays", entry.Key)
	}
}

// A driver is alive while it holds its lock, elsewhere while it speaks.
func TestStatusOfDriver(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := open(t, func() time.Time { return now })
	local := jobs.LocalIn(t.TempDir())
	job := create(t, c, "job-00000001")
	if err := local.Remember(job); err != nil {
		t.Fatal(err)
	}
	status := func() *jobs.Status {
		t.Helper()
		s, err := c.Status(t.Context(), job, local.Alive)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s.State != jobs.Pending || s.Lost() || s.Tasks.Pending != 3 || s.Tasks.Total != 3 {
		t.Errorf("pending: %+v", s)
	}
	now = now.Add(time.Hour)
	if s := status(); !s.Lost() {
		t.Error("a job that nobody went on submitting is not lost")
	}
	if err := move(t, c, job.ID, jobs.Submitted); err != nil {
		t.Fatal(err)
	}
	if s := status(); s.Lost() {
		t.Error("a driver that is just being started is lost")
	}
	now = now.Add(time.Hour)
	if s := status(); !s.Lost() {
		t.Error("a driver that never came is not lost")
	}
	unlock, err := local.Lock(job.ID, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Lock(job.ID, "x"); code(err) != contracts.CodeConflict {
		t.Errorf("a second lock = %v", err)
	}
	if _, err := c.Move(t.Context(), job.ID, jobs.Transition{State: jobs.Running, By: jobs.By{Token: "x"}}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if s := status(); s.Lost() || s.State != jobs.Running {
		t.Errorf("a driver that holds its lock: %+v", s)
	}
	if err := c.Report(t.Context(), job.ID, jobs.Progress{Attempt: 3, Token: "x", Tasks: jobs.Counts{Total: 3, Succeeded: 1, Running: 1, Pending: 1}, Rate: 0.5}); err != nil {
		t.Fatal(err)
	}
	if s := status(); s.Tasks.Running != 1 || s.SecondsLeft != 4 {
		t.Errorf("running: %+v", s)
	}
	unlock()
	if s := status(); !s.Lost() || s.Tasks.Running != 0 || s.Tasks.Pending != 2 || s.Tasks.Succeeded != 1 {
		t.Errorf("a driver that let go of its lock: %+v", s)
	}
	// The same seen from another home, of a machine of the same name, that drove the job
	// before: by the heartbeat.
	other := jobs.LocalIn(t.TempDir())
	if err := other.Remember(job); err != nil {
		t.Fatal(err)
	}
	unlock, err = other.Lock(job.ID, "y")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if s, err := c.Status(t.Context(), job, other.Alive); err != nil || s.Lost() {
		t.Errorf("in another home, right after its word, it is lost: %+v, %v", s, err)
	}
	// And from another machine.
	c.By.Host = "another"
	if s := status(); s.Lost() {
		t.Error("elsewhere, right after its word, it is lost")
	}
	now = now.Add(2 * time.Minute)
	if s := status(); !s.Lost() {
		t.Error("elsewhere, after its silence, it is not lost")
	}
	if err := move(t, c, job.ID, jobs.Cancelled); err != nil {
		t.Fatal(err)
	}
	if s := status(); s.Tasks.Cancelled != 2 || s.Tasks.Pending != 0 || s.Finished == "" || s.Driver != nil {
		t.Errorf("cancelled: %+v", s)
	}
}

// Writers that all want their turn from the state that they saw get it one after the
// other: nobody's transition is lost.
func TestWriters(t *testing.T) {
	c := open(t, nil)
	create(t, c, "job-00000001")
	const writers = 10
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		wg.Go(func() {
			_, errs[i] = c.Move(t.Context(), "job-00000001", jobs.Transition{State: jobs.Submitted, Reason: fmt.Sprint(i)})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	history, err := c.History(t.Context(), "job-00000001")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	for i, transition := range history {
		if transition.Number != i+1 {
			t.Errorf("transition %d has the number %d", i+1, transition.Number)
		}
		reasons[transition.Reason] = true
	}
	if len(history) != 1+writers || len(reasons) != 1+writers {
		t.Errorf("%d transitions, %d of them different, want %d", len(history), len(reasons), 1+writers)
	}
}

// The end of a job is told as it was written, and a job that has ended keeps it.
func TestEnd(t *testing.T) {
	c := open(t, nil)
	job := create(t, c, "job-00000001")
	if err := move(t, c, job.ID, jobs.Submitted, jobs.Running); err != nil {
		t.Fatal(err)
	}
	fault := &contracts.Error{Code: contracts.CodeOutOfMemory, Message: "killed for memory"}
	end := jobs.Transition{State: jobs.Failed, Reason: "killed for memory", Tasks: &jobs.Counts{Total: 3, Failed: 1, Cancelled: 2}, Errors: []jobs.Faults{{Count: 1, Error: fault}}}
	if _, err := c.Move(t.Context(), job.ID, end); err != nil {
		t.Fatal(err)
	}
	for _, state := range []jobs.State{jobs.Pending, jobs.Running, jobs.Succeeded, jobs.Partial, jobs.Failed, jobs.Cancelled} {
		if err := move(t, c, job.ID, state); code(err) != contracts.CodeConflict || !strings.Contains(err.Error(), "is FAILED and cannot become "+string(state)) {
			t.Errorf("to %s = %v", state, err)
		}
	}
	s, err := c.Status(t.Context(), job, nil)
	if err != nil || s.State != jobs.Failed || s.Reason != end.Reason || s.Tasks != *end.Tasks || s.Finished == "" {
		t.Errorf("status = %+v, %v", s, err)
	}
	if len(s.Errors) != 1 || s.Errors[0].Count != 1 || s.Errors[0].Error.Code != fault.Code || s.Errors[0].Error.Message != fault.Message {
		t.Errorf("errors = %+v", s.Errors)
	}
}

// Progress is what was last reported, as a whole.
func TestProgress(t *testing.T) {
	c := open(t, nil)
	job := create(t, c, "job-00000001")
	if err := move(t, c, job.ID, jobs.Submitted, jobs.Running); err != nil {
		t.Fatal(err)
	}
	for _, done := range []int{5, 50} {
		want := jobs.Counts{Total: 100, Succeeded: done, Pending: 100 - done}
		if err := c.Report(t.Context(), job.ID, jobs.Progress{Attempt: 3, Tasks: want}); err != nil {
			t.Fatal(err)
		}
		if s, err := c.Status(t.Context(), job, nil); err != nil || s.Tasks != want {
			t.Errorf("tasks = %+v, %v, want %+v", s.Tasks, err, want)
		}
	}
}

// What is not what was written is an error that names it, never an absence.
func TestCorrupted(t *testing.T) {
	for _, name := range []string{"job.json", "state/0001", "state/0002", "progress.json"} {
		c := open(t, nil)
		job := create(t, c, "job-00000001")
		if err := c.Store().Put(t.Context(), "jobs/"+job.ID+"/"+name, strings.NewReader("{\"state\":")); err != nil {
			t.Fatal(err)
		}
		_, err := c.Load(t.Context(), job.ID)
		if err == nil {
			_, err = c.Status(t.Context(), job, nil)
		}
		if code(err) != contracts.CodeIntegrity || !strings.Contains(err.Error(), job.ID+"/"+name) {
			t.Errorf("%s: %v, want an integrity error that names it", name, err)
		}
		if name == "state/0002" {
			if err := move(t, c, job.ID, jobs.Submitted); code(err) != contracts.CodeIntegrity {
				t.Errorf("moving on from a state that cannot be read = %v", err)
			}
		}
	}
}
