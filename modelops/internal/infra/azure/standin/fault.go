package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// fault is one thing that is to go wrong, in faults.json. It happens once, or Times.
type fault struct {
	Type      string `json:"type"`      // the end of the resource's type, as in "storage:BlobContainer"
	Operation string `json:"operation"` // create, update, delete, read, or the invoke's name
	// Do is what happens: "fail" with the error below and no effect; "lose" has its
	// effect, and the answer is lost; "half" has its effect, and the error is about what
	// came after, as when a creation is accepted and then does not finish; "pause" waits
	// until the file paused is removed, "die" ends the process, both before the effect,
	// or after it with After.
	Do      string `json:"do"`
	After   bool   `json:"after"`
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Times   int    `json:"times"`
}

func (f *fault) err() error { return failure(f.Status, f.Code, "%s", f.Message) }

// claim is the fault for an operation, nil when it is to go well.
func (c cloud) claim(token, operation string) (claimed *fault, err error) {
	path := filepath.Join(c.dir, "faults.json")
	err = c.locked(func() error {
		var faults []*fault
		if err := readJSON(path, &faults); err != nil {
			return err
		}
		for i, f := range faults {
			if f.Operation != operation || !strings.HasSuffix(token, f.Type) {
				continue
			}
			claimed = f
			if f.Times--; f.Times <= 0 {
				faults = append(faults[:i], faults[i+1:]...)
			}
			data, err := json.Marshal(faults)
			if err != nil {
				return err
			}
			return atomicfile.Write(path, data, 0o600)
		}
		return nil
	})
	return claimed, err
}

// errPartial says that what was asked for is there, and that something went wrong after.
type errPartial struct{ error }

// effect runs apply with whatever is to go wrong around it.
func (s *server) effect(ctx context.Context, token, operation string, apply func() error) error {
	f, err := s.cloud.claim(token, operation)
	if err != nil {
		return err
	}
	if f == nil {
		return apply()
	}
	if f.Do == "fail" {
		return f.err()
	}
	if !f.After {
		if err := s.linger(ctx, f); err != nil {
			return err
		}
	}
	if err := apply(); err != nil {
		return err
	}
	switch {
	case f.Do == "lose":
		return errors.New("Put \"https://management.azure.com/\": read: connection reset by peer")
	case f.Do == "half":
		return errPartial{f.err()}
	case f.After:
		if err := s.linger(ctx, f); err != nil {
			return errPartial{err}
		}
	}
	return nil
}

// linger waits, or ends the process, as a fault says.
func (s *server) linger(ctx context.Context, f *fault) error {
	switch f.Do {
	case "die":
		os.Exit(9)
	case "pause":
		return s.pause(ctx)
	}
	return nil
}

// pause waits until the file that says so is removed.
func (s *server) pause(ctx context.Context) error {
	path := filepath.Join(s.cloud.dir, "paused")
	data, err := json.Marshal(map[string]int{"plugin": os.Getpid(), "engine": os.Getppid()})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.cancelled:
			return context.Canceled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
