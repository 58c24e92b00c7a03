package command_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

// screen is a terminal that tests look at from another goroutine.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// transfer runs a command that moves three of four files, and ends when until holds.
func transfer(t *testing.T, terminal bool, until string, args ...string) string {
	t.Helper()
	stderr := &screen{}
	app := command.New(&cli.App{Name: "prog", Commands: []*cli.Command{{Name: "move", Usage: "move", Action: func(c *cli.Context) error {
		p := command.NewTransfer(c, "push")
		defer p.End()
		p.Plan(4, 4<<20)
		p.Done(2, 2<<20)
		p.Skip(1, 1<<20)
		deadline := time.After(10 * time.Second)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for !strings.Contains(stderr.String(), until) {
			select {
			case <-ticker.C:
			case <-deadline:
				return errors.New("it is not shown")
			}
		}
		command.Warn(c, "by the way")
		p.End()
		return nil
	}}}})
	env := command.Env{Stdin: strings.NewReader(""), Stdout: &bytes.Buffer{}, Stderr: stderr, Terminal: terminal}
	if code := command.Main(context.Background(), env, app, append([]string{"prog", "move"}, args...)); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	return stderr.String()
}

func TestTransfer(t *testing.T) {
	got := transfer(t, true, "of 4 files")
	if !strings.HasPrefix(got, "\r\x1b[Kpush: 3.0 MiB of 4.0 MiB, 3 of 4 files, ") || !strings.Contains(got, "/s, ") || !strings.Contains(got, " left") {
		t.Errorf("a terminal shows %q", got)
	}
	if !strings.Contains(got, "\r\x1b[Kwarning: by the way\npush: ") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("what is said meanwhile does not stand above the line, or the line stays: %q", got)
	}
	if got := transfer(t, false, "push"); got != "push: 4 files, 4.0 MiB\nwarning: by the way\n" {
		t.Errorf("elsewhere it is %q", got)
	}
	for _, flag := range []string{"--json", "--quiet"} {
		for _, terminal := range []bool{true, false} {
			if got := transfer(t, terminal, "", flag); got != "warning: by the way\n" {
				t.Errorf("with %s it is %q", flag, got)
			}
		}
	}
}
