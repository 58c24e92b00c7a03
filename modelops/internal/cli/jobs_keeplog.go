package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// keepTime is how often a driver's log is copied to where other machines can read it.
const keepTime = 2 * time.Second

// keepingLog copies the driver's log now and then, so that it can be read elsewhere, also
// when this machine is no more. The function that it returns copies it a last time, unless
// the job went on without the driver with this token: then the log is another one's.
func (l *located) keepingLog(ctx context.Context, token string) (last func() error) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(keepTime)
		defer ticker.Stop()
		size := int64(-1)
		for {
			select {
			case <-ticker.C:
				size, _ = l.keepLog(ctx, size) // the last copy says what is wrong
			case <-done:
				return
			}
		}
	}()
	return func() error {
		close(done)
		<-stopped
		if history, err := l.catalog.History(context.WithoutCancel(ctx), l.job.ID); err == nil && jobs.Replaced(history, token) {
			return nil
		}
		_, err := l.keepLog(ctx, -1)
		return err
	}
}

// keepLog copies the driver's log unless it has this size, and returns the size it has.
func (l *located) keepLog(ctx context.Context, size int64) (int64, error) {
	f, err := os.Open(l.local.LogFile(l.job.ID))
	if errors.Is(err, os.ErrNotExist) {
		return size, nil // driven by hand
	}
	if err != nil {
		return size, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return size, err
	}
	// What is written meanwhile is left for the next time.
	return info.Size(), l.catalog.PutLog(context.WithoutCancel(ctx), l.job.ID, io.LimitReader(f, info.Size()))
}

// adoptLog begins this machine's log of a job with what drivers elsewhere wrote.
func (l *located) adoptLog(ctx context.Context) error {
	path := l.local.LogFile(l.job.ID)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	kept, err := l.catalog.Log(ctx, l.job.ID)
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = kept.Close() }()
	data, err := io.ReadAll(kept)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.local.Dir(l.job.ID), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}
