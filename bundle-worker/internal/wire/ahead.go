//go:build unix

package wire

import (
	"context"
	"errors"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
)

// Ahead is the beginning of a session: its guard, which is a program as large as this one,
// starts while it is found out what the session runs.
type Ahead struct {
	launch  chan Launch   // what it runs; closed when nothing
	begun   chan struct{} // closed when session or err is there
	session *Session
	err     error
}

var errNotNeeded = errors.New("nothing is to be run")

// Begin begins a session. The caller starts or drops it.
func Begin(supervisor *runner.Supervisor) *Ahead {
	a := &Ahead{launch: make(chan Launch), begun: make(chan struct{})}
	go func() {
		defer close(a.begun)
		a.session, a.err = spawn(supervisor, func() (Launch, error) {
			l, ok := <-a.launch
			if !ok {
				return l, errNotNeeded
			}
			return l, nil
		})
	}()
	return a
}

// Start is [Start] with what has begun. The caller closes the session.
func (a *Ahead) Start(ctx context.Context, l Launch) (*Session, error) {
	select {
	case a.launch <- l:
	case <-a.begun: // it failed
	}
	<-a.begun
	if a.err != nil {
		return nil, a.err
	}
	return bind(ctx, a.session, l)
}

// Drop ends what nothing is run with.
func (a *Ahead) Drop() {
	close(a.launch)
	<-a.begun
}
