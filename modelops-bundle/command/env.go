package command

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// Env is everything a program takes from the process it runs in.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // "KEY=value"
	Dir            string   // the working directory, absolute
	Terminal       bool     // stderr is a terminal
}

// OSEnv is the process's own.
func OSEnv() Env {
	dir, err := os.Getwd()
	if err != nil { // the directory was deleted; what needs it says so when it opens something there
		dir = "."
	}
	return Env{
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Environ:  os.Environ(),
		Dir:      dir,
		Terminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// Getenv is the value of an environment variable, or "".
func (e Env) Getenv(key string) string {
	for _, entry := range e.Environ {
		name, value, _ := strings.Cut(entry, "=")
		if name == key || runtime.GOOS == "windows" && strings.EqualFold(name, key) {
			return value
		}
	}
	return ""
}

// Path is name as an absolute path, taken from the working directory.
func (e Env) Path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(e.Dir, name)
}

// Signalled is the cause of a context that [SignalContext] cancelled.
type Signalled struct{ Signal os.Signal }

// Error names the signal.
func (s *Signalled) Error() string { return "stopped by signal: " + s.Signal.String() }

// SignalContext is a context that the first interrupt, hang-up or request to terminate
// cancels; the second one ends the process at once. A reader that goes away becomes an
// error of the write instead of the death of the process in the middle of its work.
func SignalContext(parent context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) { // what nohup or a shell's "&" ignores stays ignored
			signals = append(signals, s)
		}
	}
	// Caught rather than ignored: an ignored signal would stay ignored in children.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(parent)
	received := make(chan os.Signal, 1)
	signal.Notify(received, signals...)
	go func() {
		select {
		case s := <-received:
			cancel(&Signalled{s})
		case <-ctx.Done():
		}
		signal.Stop(received)
	}()
	return ctx, func() { cancel(context.Canceled) }
}
