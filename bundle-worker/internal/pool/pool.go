// Package pool keeps processes warm between tasks: a bounded number of them, within a
// bounded amount of memory, each for a bounded number of tasks and time. What is asked for
// least goes first.
package pool

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Process is what is kept warm.
type Process interface {
	// Dead says that the process can do no more work.
	Dead() bool
	// MemoryUsed is what the process and all that it started use, in bytes.
	MemoryUsed() int64
	// Close ends the process, with all that it started, and waits until they are gone.
	Close()
}

// Options bound a pool. Zero values bound nothing, but for Max.
type Options struct {
	Max    int           // processes that there may be, at least 1; more only when all of them work
	Memory int64         // bytes that all may use together before one that waits goes
	Tasks  int           // tasks of one process
	Age    time.Duration // of a process that is given another task
}

// Why a process ended.
const (
	EndedDead      = "dead"      // by itself, or by what a task did
	EndedCount     = "count"     // to make room for another
	EndedMemory    = "memory"    // the processes used too much together
	EndedTasks     = "tasks"     // it had its share of tasks
	EndedAge       = "age"       // it was too old
	EndedDropped   = "dropped"   // nobody can use it any more
	EndedDiscarded = "discarded" // whoever had it wants no more of it
	EndedClosed    = "closed"    // the pool ended
)

// Stats say what a pool has and had.
type Stats struct {
	Idle, Busy      int
	Memory          int64 // bytes, when it was last looked at
	Started, Reused uint64
	Ended           map[string]uint64 // by one of the reasons
}

// Pool has the processes of each key. It is safe for concurrent use.
type Pool[K comparable, P Process] struct {
	opts Options
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	changed *sync.Cond     // a process is gone
	idle    []*Lease[K, P] // the least recently used first
	busy    map[*Lease[K, P]]bool
	ending  int
	closed  bool
	stats   Stats
}

// Lease is a process in use. Whoever has it gives it back, or discards it.
type Lease[K comparable, P Process] struct {
	Process P
	// Tasks is how many tasks the process has had, this one included.
	Tasks int

	pool    *Pool[K, P]
	key     K
	started time.Time
	ready   bool  // it has its process
	memory  int64 // bytes, when it was last looked at
	stale   bool  // its key was dropped
}

// watchEvery is how often the processes are looked at.
const watchEvery = time.Second

// New makes a pool. The caller closes it.
func New[K comparable, P Process](opts Options) *Pool[K, P] {
	opts.Max = max(1, opts.Max)
	p := &Pool[K, P]{
		opts: opts, stop: make(chan struct{}), done: make(chan struct{}),
		busy: map[*Lease[K, P]]bool{}, stats: Stats{Ended: map[string]uint64{}},
	}
	p.changed = sync.NewCond(&p.mu)
	go p.watch()
	return p
}

// Take is a process of the key: the one that was used last, or a new one.
func (p *Pool[K, P]) Take(key K, start func() (P, error)) (*Lease[K, P], error) {
	if l := p.reuse(key); l != nil {
		return l, nil
	}
	l := &Lease[K, P]{pool: p, key: key, Tasks: 1, started: time.Now()}
	p.mu.Lock()
	p.makeRoom()
	p.busy[l] = true
	p.stats.Started++
	p.mu.Unlock()
	process, err := start()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		delete(p.busy, l)
		p.stats.Started--
		return nil, err
	}
	l.Process, l.ready = process, true
	return l, nil
}

func (p *Pool[K, P]) reuse(key K) *Lease[K, P] {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		l := p.idle[i]
		if l.key != key {
			continue
		}
		p.idle = slices.Delete(p.idle, i, i+1)
		if reason := p.spent(l); reason != "" {
			p.end(l, reason)
			continue
		}
		l.Tasks++
		p.busy[l] = true
		p.stats.Reused++
		return l
	}
	return nil
}

// spent says why a process gets no other task; "" when it may.
func (p *Pool[K, P]) spent(l *Lease[K, P]) string {
	switch {
	case p.closed:
		return EndedClosed
	case l.stale:
		return EndedDropped
	case l.Process.Dead():
		return EndedDead
	case p.opts.Tasks > 0 && l.Tasks >= p.opts.Tasks:
		return EndedTasks
	case p.opts.Age > 0 && time.Since(l.started) >= p.opts.Age:
		return EndedAge
	}
	return ""
}

// makeRoom ends processes that wait until there may be one more, and waits for those that
// are ending already: what they use is not free before they are gone.
func (p *Pool[K, P]) makeRoom() {
	for len(p.idle)+len(p.busy)+p.ending >= p.opts.Max {
		switch {
		case p.ending > 0:
			p.changed.Wait()
		case len(p.idle) > 0:
			p.evict(EndedCount)
		default:
			return // all work: whoever asks decides how many that are
		}
	}
}

func (p *Pool[K, P]) evict(reason string) {
	l := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	p.end(l, reason)
}

// end closes a process that is in neither list. It does not wait: the channel is closed
// when the process is gone.
func (p *Pool[K, P]) end(l *Lease[K, P], reason string) <-chan struct{} {
	gone := make(chan struct{})
	p.ending++
	p.stats.Ended[reason]++
	go func() {
		defer close(gone)
		l.Process.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ending--
		p.changed.Broadcast()
	}()
	return gone
}

// Return gives the process back for other tasks.
func (l *Lease[K, P]) Return() { l.giveBack("") }

// Discard gives the process back to be ended.
func (l *Lease[K, P]) Discard() { l.giveBack(EndedDiscarded) }

func (l *Lease[K, P]) giveBack(reason string) {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, l)
	if spent := p.spent(l); spent != "" {
		reason = spent
	}
	if reason != "" {
		p.end(l, reason)
		return
	}
	p.idle = append(p.idle, l)
	for len(p.idle) > 1 && len(p.idle)+len(p.busy) > p.opts.Max {
		p.evict(EndedCount)
	}
}

// Drop ends the processes of keys that nobody will ask for again: those at work when they
// are given back. It waits until the others are gone.
func (p *Pool[K, P]) Drop(match func(K) bool) {
	p.mu.Lock()
	var ends []<-chan struct{}
	p.idle = slices.DeleteFunc(p.idle, func(l *Lease[K, P]) bool {
		if match(l.key) {
			ends = append(ends, p.end(l, EndedDropped))
			return true
		}
		return false
	})
	for l := range p.busy {
		l.stale = l.stale || match(l.key)
	}
	p.mu.Unlock()
	for _, gone := range ends {
		<-gone
	}
}

// watch looks at the processes now and then: at their age, and at the memory that they use.
func (p *Pool[K, P]) watch() {
	defer close(p.done)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.look()
		}
	}
}

func (p *Pool[K, P]) look() {
	p.mu.Lock()
	p.idle = slices.DeleteFunc(p.idle, func(l *Lease[K, P]) bool {
		reason := p.spent(l)
		if reason != "" {
			p.end(l, reason)
		}
		return reason != ""
	})
	leases := slices.Clone(p.idle)
	for l := range p.busy {
		if l.ready {
			leases = append(leases, l)
		}
	}
	p.mu.Unlock()
	used := make([]int64, len(leases)) // reading this takes time, and keeps nobody waiting
	for i, l := range leases {
		used[i] = l.Process.MemoryUsed()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range leases {
		l.memory = used[i]
	}
	p.fit()
}

// fit ends processes that wait while all use more than they may together.
func (p *Pool[K, P]) fit() {
	used := p.memory()
	for p.opts.Memory > 0 && used > p.opts.Memory && len(p.idle) > 0 {
		used -= p.idle[0].memory
		p.evict(EndedMemory)
	}
	p.stats.Memory = used
}

func (p *Pool[K, P]) memory() (used int64) {
	for _, l := range p.idle {
		used += l.memory
	}
	for l := range p.busy {
		used += l.memory
	}
	return used
}

// Stats are the figures now.
func (p *Pool[K, P]) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Idle, s.Busy, s.Ended = len(p.idle), len(p.busy), maps.Clone(p.stats.Ended)
	return s
}

// Close ends the processes that wait, and waits until all are gone that nobody has. Those
// at work end when they are given back.
func (p *Pool[K, P]) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.stop)
	}
	for len(p.idle) > 0 {
		p.evict(EndedClosed)
	}
	for p.ending > 0 {
		p.changed.Wait()
	}
	p.mu.Unlock()
	<-p.done
}
