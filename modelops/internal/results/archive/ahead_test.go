package archive

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// As many are fetched at once as is allowed, and no more; what they give comes in order.
func TestAhead(t *testing.T) {
	const most, count = 4, 50
	var running, peak atomic.Int32
	full := make(chan struct{}) // closed when as many run as may
	fetch := func(ctx context.Context, n int) (int, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
		}
		if now == most {
			close(full)
		}
		select {
		case <-full:
		case <-ctx.Done():
		}
		return n * n, nil
	}
	var names, want, got []int
	for n := range count {
		names, want = append(names, n), append(want, n*n)
	}
	// The first round fills up, and the others find the door open.
	for value, err := range ahead(t.Context(), most, names[:most], fetch) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, value)
	}
	if n := peak.Load(); n != most {
		t.Errorf("%d were fetched at once, want %d", n, most)
	}
	fetch = func(_ context.Context, n int) (int, error) {
		if now := running.Add(1); now > most {
			t.Errorf("%d are fetched at once", now)
		}
		defer running.Add(-1)
		return n * n, nil
	}
	for value := range ahead(t.Context(), most, names[most:], fetch) {
		got = append(got, value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An error comes in its place. Whoever has enough, or whose time is over, is not kept.
func TestAheadEnds(t *testing.T) {
	broken := errors.New("broken")
	var got []error
	for _, err := range ahead(t.Context(), 3, []int{0, 1, 2, 3}, func(_ context.Context, n int) (int, error) {
		if n == 2 {
			return 0, broken
		}
		return n, nil
	}) {
		got = append(got, err)
		if err != nil {
			break
		}
	}
	if !slices.Equal(got, []error{nil, nil, broken}) {
		t.Errorf("%v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := 0
	for _, err := range ahead(ctx, 1, make([]int, 1000), func(ctx context.Context, _ int) (int, error) { return 0, ctx.Err() }) {
		if began++; began == 1 {
			cancel()
		}
		if began > 1 && err == nil {
			t.Error("it goes on")
		}
	}
	if began > 3 {
		t.Errorf("%d were fetched", began)
	}
}
