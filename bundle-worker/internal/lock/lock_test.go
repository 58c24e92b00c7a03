//go:build unix

package lock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// Who waits for a lock has it when it is free, or gives up and keeps it from nobody.
func TestExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := Exclusive(t.Context(), path)
	if err != nil || !held.Held() {
		t.Fatalf("%+v, %v", held, err)
	}
	if _, free := Try(path); free {
		t.Error("it is free while it is held")
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := Shared(ctx, path)
		gone <- err
	}()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up has %v", err)
	}
	next := make(chan *File)
	for range 3 {
		go func() {
			f, err := Exclusive(t.Context(), path)
			if err != nil {
				t.Error(err)
			}
			next <- f
		}()
	}
	held.Unlock()
	for range 3 {
		f := <-next
		if _, free := Try(path); free || !f.Held() {
			t.Error("it is free while it is held")
		}
		f.Unlock()
	}
}
