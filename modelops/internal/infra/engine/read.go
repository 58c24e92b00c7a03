package engine

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Status is how a stack is, by its state: the cloud is not asked.
type Status struct {
	Exists    bool
	Resources []Resource
	Pending   []Pending // what an interrupted update had begun
	Locks     []Lock    // of a state on this machine; a shared one's show when it is changed
}

// Resource is one that the state holds.
type Resource struct {
	URN, Name, Type, ID string
	Protected           bool
}

// Status reads a stack's state.
func (e *Engine) Status(ctx context.Context, s Stack) (*Status, error) {
	c, err := e.read(ctx, s)
	if errors.Is(err, errNoStack) {
		return &Status{}, nil
	}
	if err != nil {
		return nil, err
	}
	state, err := e.export(ctx, c)
	if err != nil {
		return nil, err
	}
	unsettled, err := e.unsettled(s, state)
	if err != nil {
		return nil, err
	}
	status := &Status{Exists: true}
	for _, op := range unsettled {
		status.Pending = append(status.Pending, op.pending())
	}
	for _, r := range state.Resources {
		if r.Custom && !isEngines(r.Type) {
			status.Resources = append(status.Resources, Resource{URN: r.URN, Name: urnName(r.URN), Type: r.Type, ID: r.ID, Protected: r.Protect})
		}
	}
	status.Locks, err = e.locks(s)
	return status, err
}

// Outputs are those of the last update, secrets in plain text; nil when there is no stack.
func (e *Engine) Outputs(ctx context.Context, s Stack) (map[string]Output, error) {
	c, err := e.read(ctx, s)
	if errors.Is(err, errNoStack) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return e.outputs(ctx, c)
}

func (e *Engine) read(ctx context.Context, s Stack) (*connection, error) {
	if err := e.check(s); err != nil {
		return nil, err
	}
	if err := e.readable(s); err != nil {
		return nil, err
	}
	return e.connect(ctx, s, reading)
}

// KillSignal is a channel that the second interrupt or request to terminate closes, for
// Config.Kill beside a context that the first one ends. stop ends the watching.
func KillSignal() (kill <-chan struct{}, stop func()) {
	received, done, killed := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(os.Interrupt) {
		signals = append(signals, os.Interrupt)
	}
	signal.Notify(received, signals...)
	go func() {
		for range 2 {
			select {
			case <-received:
			case <-done:
				return
			}
		}
		close(killed)
	}()
	return killed, func() { signal.Stop(received); close(done) }
}
