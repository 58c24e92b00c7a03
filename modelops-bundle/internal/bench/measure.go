//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// figure is what one step cost.
type figure struct {
	wall, cpu time.Duration // cpu: user and system, of the command and what it waited for
	memory    int64         // bytes, of the largest process
	up, down  int64         // bytes of TCP's payload
	requests  int
	failed    string // why there is no figure
}

// course is a client's way through a workload and its edits in one round.
type course struct {
	*station
	client   client
	registry *registry
	relay    *relay
	record   func(step string, f figure)
}

// run takes the client through every step of the workload. What the client cannot do is
// recorded as failed and ends its course.
func run(ctx context.Context, dir string, c client, base string, edits []string, l link, programs [2]string, record func(string, figure)) error {
	registry, err := startRegistry()
	if err != nil {
		return err
	}
	defer registry.stop()
	relay, err := newRelay(registry.host, l)
	if err != nil {
		return err
	}
	defer relay.listener.Close()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &station{dir: dir, source: dir + "/source", target: dir + "/target", host: relay.host, bin: programs[0], peers: programs[1]}
	if err := s.furnish(); err != nil {
		return err
	}
	w := &course{s, c, registry, relay, record}
	if err := w.steps(ctx, base, edits); err != nil {
		return err
	}
	return ctx.Err()
}

func (w *course) steps(ctx context.Context, base string, edits []string) error {
	if err := copyTree(w.source, base, ""); err != nil {
		return err
	}
	if w.client.needsTarget {
		if err := os.Mkdir(w.target, 0o755); err != nil {
			return err
		}
	}
	if w.client.prepare != nil {
		for _, i := range w.client.prepare(w.station) {
			if _, _, err := w.measure(ctx, i); err != nil {
				return err
			}
		}
	}
	name := filepath.Base(base)
	w.push(ctx, name+" push cold")
	w.push(ctx, name+" push again")
	if !w.pull(ctx, name+" pull cold", "cold", base) || !w.pull(ctx, name+" pull warm", "warm", base) {
		return nil
	}
	for _, edit := range edits {
		name := filepath.Base(edit)
		if err := copyTree(w.source, edit, base); err != nil {
			return err
		}
		w.push(ctx, name+" push edit")
		if !w.pull(ctx, name+" pull edit", "edit", edit) {
			return nil
		}
		// Back to the base, for the next edit is one of it too.
		if err := copyTree(w.source, base, edit); err != nil {
			return err
		}
		w.push(ctx, "")
		w.pull(ctx, "", "edit", base)
	}
	return nil
}

// push measures a push; a step without a name is not recorded.
func (w *course) push(ctx context.Context, step string) {
	i, err := w.client.push(w.station)
	var f figure
	var out string
	if err == nil {
		f, out, err = w.measure(ctx, i)
	}
	if err != nil {
		f.failed = err.Error()
	}
	if w.client.ours {
		w.ref = strings.TrimSpace(out)
	}
	if step != "" && !w.client.pullOnly {
		w.record(step, f)
	}
}

// pull measures a pull and sees that what arrived is what was pushed.
func (w *course) pull(ctx context.Context, step, kind, want string) bool {
	f, out, err := w.measure(ctx, w.client.pull(w.station, kind))
	if err == nil {
		err = arrived(want, w.target, filepath.Join(w.target, "source"), strings.TrimSpace(out))
	}
	if err != nil {
		f.failed = err.Error()
	}
	if step != "" {
		w.record(step, f)
	}
	return err == nil
}

// measure runs a command to its end.
func (w *course) measure(ctx context.Context, i invocation) (figure, string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, i.argv[0], i.argv[1:]...)
	command.Dir, command.Env, command.Stdout, command.Stderr = i.dir, w.environ(i.home), &stdout, &stderr
	begin := time.Now()
	err := command.Run()
	f := figure{wall: time.Since(begin)}
	if state := command.ProcessState; state != nil {
		f.cpu = state.UserTime() + state.SystemTime()
		if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
			f.memory = int64(usage.Maxrss)
			if runtime.GOOS == "linux" {
				f.memory *= 1024
			}
		}
	}
	if err != nil {
		lines := strings.TrimSpace(stderr.String())
		return f, "", fmt.Errorf("%s: %w: %s", filepath.Base(i.argv[0]), err, lines[max(0, len(lines)-300):])
	}
	f.up, f.down = w.relay.settle()
	f.requests, err = w.registry.requests()
	return f, stdout.String(), err
}

// arrived sees that one of the places has the files of want, byte for byte.
func arrived(want string, places ...string) error {
	var err error
	for _, place := range places {
		if err = sameFiles(want, place); err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func sameFiles(want, got string) error {
	return filepath.WalkDir(want, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel := strings.TrimPrefix(path, want)
		a, err := hashFile(path)
		if err != nil {
			return err
		}
		b, err := hashFile(got + rel)
		if err == nil && a != b {
			err = fmt.Errorf("%s arrived with another content", rel)
		}
		return err
	})
}

func hashFile(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err
}
