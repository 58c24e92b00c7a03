package pool

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type process struct {
	id     int
	memory int64
	dead   atomic.Bool
	closed atomic.Bool
	alive  *atomic.Int64
	gate   chan struct{} // Close waits for it, when there is one
}

func (p *process) Dead() bool        { return p.dead.Load() }
func (p *process) MemoryUsed() int64 { return p.memory }
func (p *process) Close() {
	if p.gate != nil {
		<-p.gate
	}
	p.closed.Store(true)
	p.alive.Add(-1)
}

// maker starts processes and counts those that live.
type maker struct {
	t      *testing.T
	count  int
	memory int64
	gate   chan struct{}
	alive  atomic.Int64
}

func (m *maker) take(p *Pool[string, *process], key string) *Lease[string, *process] {
	m.t.Helper()
	l, err := p.Take(key, func() (*process, error) {
		m.count++
		m.alive.Add(1)
		return &process{id: m.count, memory: m.memory, alive: &m.alive, gate: m.gate}, nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return l
}

func newPool(t *testing.T, opts Options) *Pool[string, *process] {
	p := New[string, *process](opts)
	t.Cleanup(p.Close)
	return p
}

// ids takes a process of each key in turn and gives it back.
func (m *maker) ids(p *Pool[string, *process], keys ...string) []int {
	var ids []int
	for _, key := range keys {
		l := m.take(p, key)
		ids = append(ids, l.Process.id)
		l.Return()
	}
	return ids
}

func TestReuse(t *testing.T) {
	for name, test := range map[string]struct {
		opts Options
		keys []string
		want []int
	}{
		"the same key":          {Options{Max: 2}, []string{"a", "a", "a"}, []int{1, 1, 1}},
		"each its own":          {Options{Max: 2}, []string{"a", "b", "a", "b"}, []int{1, 2, 1, 2}},
		"the oldest makes room": {Options{Max: 2}, []string{"a", "b", "a", "c", "a", "b"}, []int{1, 2, 1, 3, 1, 4}},
		"a pool of one":         {Options{Max: 1}, []string{"a", "b", "a"}, []int{1, 2, 3}},
		"two tasks each":        {Options{Max: 1, Tasks: 2}, []string{"a", "a", "a", "a", "a"}, []int{1, 1, 2, 2, 3}},
		"too old at once":       {Options{Max: 1, Age: time.Nanosecond}, []string{"a", "a"}, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			m := &maker{t: t}
			p := newPool(t, test.opts)
			if diff := cmp.Diff(test.want, m.ids(p, test.keys...)); diff != "" {
				t.Error(diff)
			}
			if n := m.alive.Load(); n > int64(test.opts.Max) {
				t.Errorf("%d processes", n)
			}
			p.Close()
			if n := m.alive.Load(); n != 0 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

func TestDeadAndDiscarded(t *testing.T) {
	m := &maker{t: t}
	p := newPool(t, Options{Max: 2})
	l := m.take(p, "a")
	l.Process.dead.Store(true)
	l.Return()
	l = m.take(p, "a")
	if l.Process.id != 2 {
		t.Error("a dead process is given out")
	}
	l.Return()
	l = m.take(p, "a")
	l.Discard()
	if l = m.take(p, "a"); l.Process.id != 3 || l.Tasks != 1 {
		t.Error("a discarded process is given out")
	}
	l.Return()
	got := p.Stats()
	if got.Ended[EndedDead] != 1 || got.Ended[EndedDiscarded] != 1 || got.Started != 3 || got.Reused != 1 {
		t.Errorf("%+v", got)
	}
}

// What ends makes no room before it is gone.
func TestRoomIsMadeFirst(t *testing.T) {
	m := &maker{t: t, gate: make(chan struct{})}
	p := newPool(t, Options{Max: 1})
	m.take(p, "a").Return()
	taken := make(chan *Lease[string, *process])
	go func() { taken <- m.take(p, "b") }()
	for p.Stats().Ended[EndedCount] == 0 {
		select {
		case <-taken:
			t.Fatal("the second process was there before the first was gone")
		default:
		}
	}
	if n := m.alive.Load(); n != 1 {
		t.Errorf("%d processes", n)
	}
	close(m.gate)
	(<-taken).Return()
}

// More at work than there may be is for those who work to decide; what waits then goes.
func TestMoreAtWorkThanThereMayBe(t *testing.T) {
	m := &maker{t: t}
	p := newPool(t, Options{Max: 2})
	var leases []*Lease[string, *process]
	for range 4 {
		leases = append(leases, m.take(p, "a"))
	}
	for _, l := range leases {
		l.Return()
	}
	if s := p.Stats(); s.Idle != 2 || s.Busy != 0 {
		t.Errorf("%+v", s)
	}
}

func TestMemory(t *testing.T) {
	m := &maker{t: t, memory: 40}
	p := newPool(t, Options{Max: 10, Memory: 100})
	m.ids(p, "a", "b", "c", "d")
	busy := m.take(p, "e")
	p.look()
	if s := p.Stats(); s.Idle != 1 || s.Memory != 80 || s.Ended[EndedMemory] != 3 {
		t.Errorf("%+v", s)
	}
	busy.Return()
	if got := m.ids(p, "d", "e"); !cmp.Equal(got, []int{4, 5}) {
		t.Errorf("%v are kept, want those used last", got)
	}
}

func TestDrop(t *testing.T) {
	m := &maker{t: t}
	p := newPool(t, Options{Max: 10})
	atWork := m.take(p, "a")
	waiting := m.take(p, "a")
	waiting.Return()
	m.ids(p, "b")
	p.Drop(func(key string) bool { return key == "a" })
	if !waiting.Process.closed.Load() || atWork.Process.closed.Load() {
		t.Error("what waited is to be gone, and what works is not")
	}
	atWork.Return()
	if got := m.ids(p, "a", "b"); !cmp.Equal(got, []int{4, 3}) {
		t.Errorf("got %v", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	p := newPool(t, Options{Max: 4, Tasks: 7})
	var alive, next atomic.Int64
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				l, err := p.Take(string(rune('a'+(worker+i)%3)), func() (*process, error) {
					alive.Add(1)
					return &process{id: int(next.Add(1)), alive: &alive}, nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				if n := alive.Load(); n > 4 {
					t.Errorf("%d processes", n)
				}
				if i%50 == 0 {
					p.look()
				}
				l.Return()
			}
		})
	}
	wg.Wait()
	p.Close()
	if n := alive.Load(); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}
