package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	pollEvery    = 20 * time.Millisecond
	maxLog       = 1 << 20 // above this size the log is begun anew; the former one is kept
)

// Launch makes the command that runs [Daemon.Serve] for the directory dir as the instance id.
// Its output and its detachment are the caller's business.
type Launch func(dir, id string) *exec.Cmd

// Start makes the server run, and returns when it answers. started says whether this
// call has started it.
func (d *Daemon) Start(ctx context.Context, launch Launch) (i Instance, started bool, err error) {
	if err := d.prepare(); err != nil {
		return Instance{}, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	unlock, err := d.exclusive(ctx)
	if err != nil {
		return Instance{}, false, err
	}
	defer unlock()
	if i, running, err := d.settled(ctx); err != nil || running {
		return i, false, err
	}
	i, err = d.launch(ctx, launch)
	return i, err == nil, err
}

// exclusive keeps other commands from starting or stopping the server.
func (d *Daemon) exclusive(ctx context.Context) (unlock func(), err error) {
	lock := flock.New(filepath.Join(d.Dir, "start.lock"))
	if _, err := lock.TryLockContext(ctx, pollEvery); err != nil {
		if ctx.Err() != nil {
			return nil, &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision,
				Message: d.Title + ": another command is starting or stopping it", Hint: "wait for that command, and try again"}
		}
		return nil, d.failed("lock "+contracts.Quote(lock.Path()), err)
	}
	return func() { _ = lock.Close() }, nil
}

// launch starts a process and waits until it answers.
func (d *Daemon) launch(ctx context.Context, launch Launch) (Instance, error) {
	log, from, err := d.openLog()
	if err != nil {
		return Instance{}, err
	}
	defer log.Close()
	id := rand.Text()
	if err := d.want(id); err != nil {
		return Instance{}, err
	}
	cmd := launch(d.Dir, id)
	cmd.Stdout, cmd.Stderr = log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return Instance{}, d.failed("start "+contracts.Quote(cmd.Path), err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		// Another instance serves as well: one whose starter was killed before it answered.
		if i, running, err := d.Probe(ctx); err == nil && running {
			return i, nil
		}
		select {
		case err := <-ended:
			if held, heldErr := d.held(); heldErr == nil && held {
				continue
			}
			return Instance{}, d.notStarted(fmt.Sprintf("its process ended at once (%v)", err), from)
		case <-ctx.Done():
			_ = cmd.Process.Kill() // ours, and not yet waited for: the id cannot be another's
			return Instance{}, d.notStarted("it did not answer in time", from)
		case <-ticker.C:
		}
	}
}

func (d *Daemon) notStarted(reason string, from int64) error {
	return &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision,
		Message:    d.Title + " did not start: " + reason,
		Hint:       "see the end of its log below; the whole of it is " + d.LogPath(),
		StderrTail: tail(d.LogPath(), from)}
}

// openLog opens the log for a new process, and says where its part begins.
func (d *Daemon) openLog() (log *os.File, from int64, err error) {
	if err := d.boundLog(); err != nil {
		return nil, 0, err
	}
	log, err = os.OpenFile(d.LogPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, d.failed("write "+contracts.Quote(d.LogPath()), err)
	}
	if from, err = log.Seek(0, io.SeekEnd); err != nil {
		_ = log.Close()
		return nil, 0, d.failed("write "+contracts.Quote(d.LogPath()), err)
	}
	return log, from, nil
}

// boundLog copies a log that has become large to NAME.log.1 and empties it. The server, and
// what it started, go on writing to it: all of them append.
func (d *Daemon) boundLog() error {
	info, err := os.Stat(d.LogPath())
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() <= maxLog {
		return nil
	}
	if err == nil {
		err = copyFile(d.LogPath(), d.LogPath()+".1")
	}
	if err == nil {
		err = os.Truncate(d.LogPath(), 0)
	}
	if err != nil {
		return d.failed("begin "+contracts.Quote(d.LogPath())+" anew", err)
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// tail is the end of a log, from an offset on. What cannot be read is left out: it
// only explains another error.
func tail(path string, from int64) string {
	const most = 4 << 10
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size()-from > most {
		from = info.Size() - most
	}
	data, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, from, most), most))
	if err != nil {
		return ""
	}
	return string(data)
}

// Stop ends the server, and returns when its process is gone; the data stays. stopped
// says whether there was one.
func (d *Daemon) Stop(ctx context.Context) (stopped bool, err error) {
	if _, err := os.Stat(d.Dir); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	unlock, err := d.exclusive(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := d.want(""); err != nil {
		return false, err
	}
	i, running, err := d.settled(ctx)
	if err != nil || !running {
		return false, err
	}
	if _, err := ask(ctx, http.MethodPost, i, stopPath); err != nil {
		// It may be ending already, or have stopped answering since it was found.
		if _, running, settledErr := d.settled(ctx); settledErr != nil || !running {
			return true, settledErr
		}
		return false, d.failed("ask it to stop", err)
	}
	return true, d.waitUntilGone(ctx, i)
}

// waitUntilGone waits for the end of the server. None takes its place: none is wanted.
func (d *Daemon) waitUntilGone(ctx context.Context, i Instance) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		held, err := d.held()
		if err != nil || !held {
			return err
		}
		select {
		case <-ctx.Done():
			return d.unresponsive(i)
		case <-ticker.C:
		}
	}
}

// Idle runs work while the server does not run and nobody can start it. That it runs is a
// conflict.
func (d *Daemon) Idle(ctx context.Context, work func() error) error {
	unlock, err := d.exclusive(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.want(""); err != nil {
		return err
	}
	held, err := d.held()
	if err != nil {
		return err
	}
	if held {
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
			Message: d.Title + ": it runs, and its data cannot be removed", Hint: "mops infra down"}
	}
	return work()
}
