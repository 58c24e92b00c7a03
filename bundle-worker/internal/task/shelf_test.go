//go:build unix

package task

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/contracts"
)

// shelfOf is a shelf whose bundles are prepared by fill, and the count of those that are
// held.
func shelfOf(keep int, fill func(ctx context.Context, task *contracts.SimTask) error) (*shelf, *atomic.Int64) {
	held := &atomic.Int64{}
	s := &shelf{keep: keep, bundles: map[contracts.Digest]*prepared{}}
	s.fill = func(ctx context.Context, p *prepared, task *contracts.SimTask) error {
		held.Add(1)
		p.bundle = &cache.Entry{Files: fewFiles + 1} // as many as are not looked at each time
		p.checked, p.cost = time.Now(), time.Hour
		return fill(ctx, task)
	}
	s.empty = func(*prepared) { held.Add(-1) }
	return s, held
}

func taskOf(n int) *contracts.SimTask {
	return &contracts.SimTask{Bundle: contracts.BundleRef{Repository: "m", Digest: contracts.DigestOf(fmt.Append(nil, n))}}
}

func TestShelfPreparesOnce(t *testing.T) {
	var prepared atomic.Int64
	gate := make(chan struct{})
	s, held := shelfOf(2, func(context.Context, *contracts.SimTask) error { prepared.Add(1); <-gate; return nil })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			p, err := s.take(t.Context(), taskOf(1))
			if err != nil {
				t.Error(err)
				return
			}
			s.leave(p)
		})
	}
	close(gate)
	wg.Wait()
	if n := prepared.Load(); n != 1 {
		t.Errorf("it was prepared %d times", n)
	}
	s.clear()
	if n := held.Load(); n != 0 {
		t.Errorf("%d bundles are held at the end", n)
	}
}

func TestShelfKeepsTheLast(t *testing.T) {
	var order []int
	s, held := shelfOf(2, func(_ context.Context, task *contracts.SimTask) error { order = append(order, task.Set); return nil })
	for _, n := range []int{1, 2, 1, 3, 1, 2} {
		task := taskOf(n)
		task.Set = n
		p, err := s.take(t.Context(), task)
		if err != nil {
			t.Fatal(err)
		}
		s.leave(p)
	}
	if got := fmt.Sprint(order); got != "[1 2 3 2]" {
		t.Errorf("prepared were %s", got)
	}
	s.ending.Wait()
	if n := held.Load(); n != 2 {
		t.Errorf("%d bundles are held", n)
	}
	s.clear()
}

// A failure is everybody's who waited, and nobody's who comes later.
func TestShelfFails(t *testing.T) {
	broken := errors.New("broken")
	fails := true
	s, held := shelfOf(2, func(context.Context, *contracts.SimTask) error {
		if fails {
			return broken
		}
		return nil
	})
	if _, err := s.take(t.Context(), taskOf(1)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	fails = false
	p, err := s.take(t.Context(), taskOf(1))
	if err != nil {
		t.Fatal(err)
	}
	s.leave(p)
	s.clear()
	if n := held.Load(); n != 0 {
		t.Errorf("%d bundles are held", n)
	}
}

// One who gives up takes nothing from the others; when the last does, the preparation ends.
func TestShelfGivenUp(t *testing.T) {
	gate, ended := make(chan struct{}), make(chan struct{}, 2)
	s, held := shelfOf(2, func(ctx context.Context, _ *contracts.SimTask) error {
		defer func() { ended <- struct{}{} }()
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	waiting := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p := s.bundles[taskOf(1).Bundle.Digest]; p != nil {
			return p.users
		}
		return 0
	}
	take := func() (context.CancelFunc, chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		result, before := make(chan error, 1), waiting()
		go func() {
			p, err := s.take(ctx, taskOf(1))
			if err == nil {
				s.leave(p)
			}
			result <- err
		}()
		for waiting() != before+1 {
			<-time.After(time.Millisecond)
		}
		return cancel, result
	}
	leaves, left := take()
	stays, stayed := take()
	leaves()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left has %v", err)
	}
	stays()
	if err := <-stayed; !errors.Is(err, context.Canceled) {
		t.Errorf("the last one has %v", err)
	}
	<-ended // by its context: the gate is still shut
	_, again := take()
	close(gate)
	if err := <-again; err != nil {
		t.Errorf("who comes then has %v", err)
	}
	s.clear()
	if n := held.Load(); n != 0 {
		t.Errorf("%d bundles are held", n)
	}
}
