//go:build unix

package task

import (
	"context"
	"slices"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
)

// shelf has the bundles that tasks use, and a few that they used last. Each is prepared
// once, for however many ask.
type shelf struct {
	keep  int // bundles that nobody uses
	fill  func(ctx context.Context, p *prepared, task *contracts.SimTask) error
	empty func(p *prepared) // undoes what fill did

	mu      sync.Mutex
	bundles map[contracts.Digest]*prepared
	unused  []*prepared // the least recently used first
	ending  sync.WaitGroup
}

// place is where a bundle stands.
type place struct {
	of    contracts.Digest
	ready chan struct{} // closed when it is prepared, or err says why not
	err   error
	stop  context.CancelFunc // ends the preparation

	users int  // tasks; of shelf.mu
	off   bool // it is off the shelf, and goes when nobody uses it; of shelf.mu
}

// take is the task's bundle, ready and unchanged, to be left. When nobody waits for a
// preparation any more, it ends.
func (s *shelf) take(ctx context.Context, task *contracts.SimTask) (*prepared, error) {
	for {
		p := s.find(ctx, task)
		select {
		case <-p.ready:
		case <-ctx.Done():
			s.leave(p)
			return nil, context.Cause(ctx)
		}
		switch {
		case p.err != nil:
			s.leave(p)
			return nil, p.err
		case p.unchanged():
			return p, nil
		}
		// An earlier task, or anybody else, changed its files: it is mended, and its
		// processes replaced.
		s.takeOff(p)
		s.leave(p)
	}
}

// find is the bundle, perhaps only just begun.
func (s *shelf) find(ctx context.Context, task *contracts.SimTask) *prepared {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.bundles[task.Bundle.Digest]
	if p == nil {
		own, stop := context.WithCancel(context.WithoutCancel(ctx)) // it is for others, too
		p = &prepared{place: place{of: task.Bundle.Digest, ready: make(chan struct{}), stop: stop}}
		s.bundles[p.of] = p
		s.ending.Go(func() { s.prepare(own, p, task) })
	}
	p.users++
	s.unused = slices.DeleteFunc(s.unused, func(other *prepared) bool { return other == p })
	return p
}

func (s *shelf) prepare(ctx context.Context, p *prepared, task *contracts.SimTask) {
	defer p.stop()
	p.err = s.fill(ctx, p, task)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(p.ready)
	if p.err != nil {
		s.remove(p)
	}
	if p.users == 0 {
		s.goes(p)
	}
}

// leave ends the use of a bundle.
func (s *shelf) leave(p *prepared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	select {
	case <-p.ready:
	default:
		s.remove(p) // and whoever comes next begins anew
		p.stop()
		return
	}
	if p.off {
		s.goes(p)
		return
	}
	s.unused = append(s.unused, p)
	for len(s.unused) > s.keep {
		oldest := s.unused[0]
		s.unused = slices.Delete(s.unused, 0, 1)
		s.remove(oldest)
		s.goes(oldest)
	}
}

func (s *shelf) takeOff(p *prepared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(p)
}

func (s *shelf) remove(p *prepared) {
	p.off = true
	if s.bundles[p.of] == p {
		delete(s.bundles, p.of)
	}
}

func (s *shelf) goes(p *prepared) { s.ending.Go(func() { s.empty(p) }) }

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bundles)
}

// clear lets go of all bundles, which nobody uses, and waits until they are gone.
func (s *shelf) clear() {
	s.mu.Lock()
	for _, p := range s.unused {
		s.remove(p)
		s.goes(p)
	}
	s.unused = nil
	s.mu.Unlock()
	s.ending.Wait()
}
