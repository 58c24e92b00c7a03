//go:build unix

package task

import (
	"context"
	"sync"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
)

// spares has an interpreter that is started and no bundle's yet: most of the time that a
// process takes to start is the interpreter's own.
type spares struct {
	enabled bool

	mu     sync.Mutex
	ahead  *harness.Ahead // for the first process; nil for none
	fits   spareKey
	spare  *wire.Session // nil for none
	closed bool
	making sync.WaitGroup
}

// spareKey says which processes a spare can become.
type spareKey struct {
	interpreter string // which decides the variables
	cores       int
}

// start is a session as [wire.Start] has it, of the spare if it fits. Another one is made
// for the next.
func (s *spares) start(ctx context.Context, l wire.Launch) (*wire.Session, error) {
	if ahead := s.takeAhead(); ahead != nil {
		if session, err := wire.StartAhead(ctx, ahead, l); err == nil {
			return session, nil
		} // what failed here fails again, and is told then
		s.making.Go(ahead.Drop)
	}
	if !s.enabled {
		return wire.Start(ctx, l)
	}
	defer s.make(l)
	if spare := s.take(spareKey{l.Interpreter, l.Cores}); spare != nil {
		if spare.Bind(ctx, l.Bundle, l.Memory) == nil {
			return spare, nil
		}
		spare.Close() // it may have died while it waited
	}
	return wire.Start(ctx, l)
}

func (s *spares) takeAhead() *harness.Ahead {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := s.ahead
	s.ahead = nil
	return ahead
}

func (s *spares) take(fits spareKey) *wire.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spare == nil || s.fits != fits {
		return nil
	}
	spare := s.spare
	s.spare = nil
	return spare
}

// make starts a spare, in the place of one that fits other processes.
func (s *spares) make(l wire.Launch) {
	fits := spareKey{l.Interpreter, l.Cores}
	s.making.Go(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || s.spare != nil && s.fits == fits {
			return
		}
		if s.spare != nil {
			s.spare.Close()
		}
		s.fits = fits
		s.spare, _ = wire.Spawn(l) // what fails here fails again when it is needed, and is told then
	})
}

func (s *spares) close() {
	if ahead := s.takeAhead(); ahead != nil {
		ahead.Drop()
	}
	s.mu.Lock()
	s.closed = true
	if s.spare != nil {
		s.spare.Close()
		s.spare = nil
	}
	s.mu.Unlock()
	s.making.Wait()
}
