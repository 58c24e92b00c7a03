//go:build unix

package localdask

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A program ends when its certificate is to be renewed, so that it is started with the next.
func TestRenewal(t *testing.T) {
	s := &server{Cluster: Open(t.TempDir()), log: slog.New(slog.DiscardHandler)}
	python := filepath.Join(s.Dir, "python")
	if err := os.WriteFile(python, []byte("#!/bin/sh\nread -r line\n"), 0o700); err != nil { // until its input ends
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go cancelAt(ctx, cancel, time.Now(), time.Millisecond)
	if err := s.runOnce(ctx, python, "module", nil); err == nil || !errors.Is(context.Cause(ctx), errRenewed) {
		t.Errorf("%v %v", err, context.Cause(ctx))
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	cancelAt(ended, cancel, time.Now().Add(time.Hour), time.Millisecond) // returns
}

// Told to end while it waits for a scheduler that does not come, it ends.
func TestPrepareEnds(t *testing.T) {
	s := &server{Cluster: Open(t.TempDir()), log: slog.New(slog.DiscardHandler)}
	python := filepath.Join(s.Dir, "python")
	if err := os.WriteFile(python, []byte("#!/bin/sh\ntouch "+s.Dir+"/runs\nread -r line\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.write(&Spec{Workers: 1, Threads: 1, Python: python, TLS: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(s.Dir, "runs")); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := s.Prepare(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
