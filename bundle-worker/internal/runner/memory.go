//go:build unix

package runner

import "time"

// A process is looked at more often the nearer it is to its limit.
const (
	fastest     = 4 << 30              // bytes a second that a process is taken to grow by
	shortestNap = 5 * time.Millisecond // between looks
	longestNap  = time.Second
	lookShare   = 50 // looking takes at most one part in so many of a core
)

// Limit says how many bytes the process and all that it starts may use together, see
// [Spec], when that is known only now. 0 is no limit.
func (p *Process) Limit(memory int64) {
	if memory > 0 {
		go p.watch(memory)
	}
}

// watch kills the process when it and what it started use more than limit bytes.
func (p *Process) watch(limit int64) {
	timer := time.NewTimer(nap(limit, 0))
	defer timer.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-timer.C:
		}
		began := time.Now()
		used, processes := memoryUsed(p, limit)
		if used > limit {
			p.excess.Store(&Excess{Used: used, Limit: limit, Processes: processes})
			p.Kill()
			return
		}
		timer.Reset(nap(limit-used, time.Since(began)))
	}
}

// nap is how long to wait before the next look, when the limit is room bytes away and the
// last look took cost.
func nap(room int64, cost time.Duration) time.Duration {
	reach := time.Duration(float64(room) / fastest * float64(time.Second))
	return min(max(reach, cost*lookShare, shortestNap), longestNap)
}

// MemoryUsed is what the process and all that it started use, in bytes.
func (p *Process) MemoryUsed() int64 {
	used, _ := memoryUsed(p, 0)
	return used
}
