package command

import (
	"fmt"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	redraw = 200 * time.Millisecond
	// steady is the time over which the rate is the average, about.
	steady = 5 * time.Second
)

// Transfer shows how far something that moves files is: on a terminal in one line that
// changes, with bytes, files, rate and time left; elsewhere in one line when it begins. It
// is a Progress as package bundle asks for, and may be called from several goroutines.
type Transfer struct {
	c    *cli.Context
	what string
	live *Live
	stop chan struct{}
	over sync.WaitGroup

	mu             sync.Mutex
	planned, moved amount
	skipped        amount
	rate           float64 // bytes per second
	last           time.Time
	lastBytes      int64
}

type amount struct {
	files int
	bytes int64
}

// NewTransfer is the progress of what, as in "push". The caller ends it.
func NewTransfer(c *cli.Context, what string) *Transfer {
	return &Transfer{c: c, what: what, live: NewLive(c), stop: make(chan struct{})}
}

// Plan says how much there is to do, and begins. Once more, it begins another pass.
func (t *Transfer) Plan(files int, bytes int64) {
	t.mu.Lock()
	begun := !t.last.IsZero()
	t.planned, t.moved, t.skipped, t.lastBytes, t.rate = amount{files, bytes}, amount{}, amount{}, 0, 0
	t.last = time.Now()
	t.mu.Unlock()
	switch {
	case begun:
	case t.live.On():
		t.over.Go(t.draw)
	case !JSON(t.c):
		what := Size(bytes)
		if files > 0 {
			what = contracts.Count(files, "file", "files") + ", " + what
		}
		Note(t.c, "%s: %s", t.what, what)
	}
}

// Done says that something was moved.
func (t *Transfer) Done(files int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moved.files += files
	t.moved.bytes += bytes
}

// Skip says that something did not have to be moved.
func (t *Transfer) Skip(files int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped.files += files
	t.skipped.bytes += bytes
}

// End takes the line away. It may be called more than once.
func (t *Transfer) End() {
	select {
	case <-t.stop:
	default:
		close(t.stop)
	}
	t.over.Wait()
	t.live.Clear()
}

func (t *Transfer) draw() {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			t.live.Show(t.tick(now))
		case <-t.stop:
			return
		}
	}
}

// tick is the line at a moment.
func (t *Transfer) tick(now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if passed := now.Sub(t.last).Seconds(); passed > 0 {
		current := float64(t.moved.bytes-t.lastBytes) / passed
		weight := min(1, passed/steady.Seconds())
		if t.rate == 0 {
			weight = 1
		}
		t.rate += weight * (current - t.rate)
		t.last, t.lastBytes = now, t.moved.bytes
	}
	done := amount{t.moved.files + t.skipped.files, t.moved.bytes + t.skipped.bytes}
	line := fmt.Sprintf("%s: %s of %s", t.what, Size(done.bytes), Size(t.planned.bytes))
	if t.planned.files > 0 {
		line += fmt.Sprintf(", %d of %s", done.files, contracts.Count(t.planned.files, "file", "files"))
	}
	if t.rate >= 1 {
		left := time.Duration(float64(t.planned.bytes-done.bytes) / t.rate * float64(time.Second))
		line += fmt.Sprintf(", %s/s, %s left", Size(int64(t.rate)), max(0, left).Round(time.Second))
	}
	return line
}
