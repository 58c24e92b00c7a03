package driver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// quiet is a driver of the start that a new job has, which may go on for another one.
func quiet(c *jobs.Catalog, executor jobs.Executor) *Driver {
	return &Driver{Catalog: c, Executor: executor, Log: slog.New(slog.DiscardHandler), Start: 2}
}

// drove is what became of a drive.
type drove struct {
	jobs.Transition
	err error
}

func begin(ctx context.Context, d *Driver, id string) <-chan drove {
	done := make(chan drove, 1)
	go func() {
		ended, err := d.Drive(ctx, id)
		done <- drove{ended, err}
	}()
	return done
}

// until waits for what must happen soon.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 2000 {
		if holds() {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("it did not come to it that %s", what)
}

// A driver that is told to stop leaves the job to the next one, which waits for that, runs
// what is missing, and counts the job's time from the first one's start.
func TestNextPod(t *testing.T) {
	w := newWorld(t)
	job := w.submit(10, jobs.Options{})
	var some atomic.Int64
	first := &pool{size: 1, run: func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		if some.Add(1) > 5 {
			<-ctx.Done()
		}
		return succeed(ctx, task)
	}}
	ctx, evict := context.WithCancel(t.Context())
	one := begin(ctx, quiet(w.catalog, first), job.ID)
	until(t, "five tasks have results", func() bool { return len(w.results(job)) == 5 })

	second := &pool{size: 2, run: succeed}
	two := begin(t.Context(), quiet(w.catalog, second), job.ID)
	if _, err := (&Driver{Catalog: w.catalog, Log: slog.New(slog.DiscardHandler)}).Drive(t.Context(), job.ID); contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("a driver of no start: %v, want a conflict", err)
	}
	<-time.After(2 * turnTime)
	if n := second.runs.Load(); n != 0 {
		t.Fatalf("%d tasks ran in the second driver while the first one lived", n)
	}
	evict()
	if got := <-one; !errors.Is(got.err, context.Canceled) {
		t.Errorf("first driver = %+v, want the context's error", got)
	}
	got := <-two
	if got.err != nil {
		t.Fatal(got.err)
	}
	check(t, got.Transition, jobs.Succeeded, counts(20, 20, 0, 0, 0))
	if n := second.runs.Load(); n != 15 {
		t.Errorf("%d tasks ran in the second driver, want 15", n)
	}
	again := quiet(w.catalog, second)
	if late, err := again.Drive(t.Context(), job.ID); err != nil || late.State != jobs.Succeeded {
		t.Errorf("a driver that comes when all is done: %+v, %v", late, err)
	}
	again.Start = 1
	if _, err := again.Drive(t.Context(), job.ID); contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("a driver of another start: %v, want a conflict", err)
	}
	history, err := w.catalog.History(t.Context(), job.ID)
	if err != nil || len(history) != 5 || history[2].State != jobs.Running || history[3].State != jobs.Running {
		t.Fatalf("history = %+v, %v", history, err)
	}
	if began, err := w.catalog.Began(t.Context(), job.ID); err != nil || began.Format(time.StampMicro) != stampOf(t, history[2]).Format(time.StampMicro) {
		t.Errorf("the start began at %v, %v; want %s", began, err, history[2].At)
	}
}

func stampOf(t *testing.T, at jobs.Transition) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, at.At)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// gated is a storage that can be cut off from one who uses it, and counts what they write.
type gated struct {
	blobstore.Store
	mu     sync.Mutex
	open   chan struct{} // closed while it is not cut off
	writes atomic.Int64
}

func newGated(s blobstore.Store) *gated {
	g := &gated{Store: s, open: make(chan struct{})}
	close(g.open)
	return g
}

// pass is an error for what was on its way while it was cut off, as a connection has one
// that breaks.
func (g *gated) pass() error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	default:
	}
	<-open
	return &contracts.Error{Code: contracts.CodeUnavailable, Message: "connection reset"}
}

// cut cuts the storage off; what it returns ends that.
func (g *gated) cut() (restore func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	open := make(chan struct{})
	g.open = open
	return func() { close(open) }
}

func (g *gated) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := g.pass(); err != nil {
		return nil, err
	}
	return g.Store.Get(ctx, key)
}

func (g *gated) Put(ctx context.Context, key string, r io.Reader) error {
	if err := g.pass(); err != nil {
		return err
	}
	g.writes.Add(1)
	return g.Store.Put(ctx, key, r)
}

func (g *gated) Create(ctx context.Context, key string, data []byte) error {
	if err := g.pass(); err != nil {
		return err
	}
	g.writes.Add(1)
	return g.Store.Create(ctx, key, data)
}

// A driver that was cut off for so long that another one took over writes nothing more,
// though it has results in hand: its node was taken for dead, and was not.
func TestCutOff(t *testing.T) {
	w := newWorld(t)
	job := w.submit(10, jobs.Options{})
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	lost := newGated(w.catalog.Store())
	release := make(chan struct{})
	var some atomic.Int64
	first := &pool{size: 1, run: func(ctx context.Context, task jobs.Task) *contracts.SimReturn {
		if some.Add(1) > 5 {
			<-release
		}
		return succeed(ctx, task)
	}}
	one := begin(t.Context(), quiet(jobs.Open(lost, now), first), job.ID)
	until(t, "five tasks have results", func() bool { return len(w.results(job)) == 5 })
	restore := lost.cut()
	<-time.After(checkTime) // what had passed the gate has been written
	before := lost.writes.Load()

	ahead.Store(int64(2 * jobs.Silence))
	second := &pool{size: 2, run: succeed}
	got := <-begin(t.Context(), quiet(jobs.Open(w.catalog.Store(), now), second), job.ID)
	if got.err != nil {
		t.Fatal(got.err)
	}
	check(t, got.Transition, jobs.Succeeded, counts(20, 20, 0, 0, 0))

	close(release) // it has a result, and then the storage again
	<-time.After(5 * batchTime)
	restore()
	late := <-one
	if late.err != nil || late.State != jobs.Running || late.By.Token == "" {
		t.Errorf("the lost driver ended with %+v, want the other's transition", late)
	}
	if n := lost.writes.Load() - before; n != 0 {
		t.Errorf("the lost driver wrote %d objects after another one took over", n)
	}
	progress, err := w.catalog.Progress(t.Context(), job.ID)
	if err != nil || progress.Token != late.By.Token || progress.Tasks.Succeeded != 20 {
		t.Errorf("progress = %+v, %v; want the second driver's", progress, err)
	}
}
