//go:build unix

// Package lock takes advisory locks on files, shared or exclusive. A lock ends with the
// process that holds it. Where the file system has no locks, or cannot be written, nothing
// is held and work goes on: nothing rests on a lock but economy.
package lock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// File is a lock that is held, or would be if the file system could.
type File struct {
	f *os.File
}

// Shared waits until nobody holds the lock exclusively.
func Shared(ctx context.Context, path string) (*File, error) { return take(ctx, path, syscall.LOCK_SH) }

// Exclusive waits until nobody holds the lock.
func Exclusive(ctx context.Context, path string) (*File, error) {
	return take(ctx, path, syscall.LOCK_EX)
}

// Try takes the lock exclusively if nobody holds it. Where there are no locks it is
// false: somebody may.
func Try(path string) (*File, bool) {
	f, err := open(path)
	if err != nil {
		return nil, false
	}
	if flock(f, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close()
		return nil, false
	}
	return &File{f}, true
}

func take(ctx context.Context, path string, how int) (*File, error) {
	f, err := open(path)
	if err != nil {
		return &File{}, nil
	}
	err = flock(f, how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		locked := make(chan error, 1)
		go func() { locked <- flock(f, how) }()
		select {
		case err = <-locked:
		case <-ctx.Done():
			go func() { // the kernel's wait ends when its turn comes
				<-locked
				_ = f.Close()
			}()
			return nil, ctx.Err()
		}
	}
	if err != nil {
		_ = f.Close()
		return &File{}, nil
	}
	return &File{f}, nil
}

// open opens the file for locking, which on a network file system takes write access.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		f, err = os.Open(path)
	}
	return f, err
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Held says whether there is a lock at all.
func (l *File) Held() bool { return l != nil && l.f != nil }

// Unlock gives the lock up.
func (l *File) Unlock() {
	if l.Held() {
		_ = l.f.Close()
		l.f = nil
	}
}
