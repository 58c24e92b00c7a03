//go:build unix

package cli

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/serve"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/task"
	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	defaultDrain = 25 * time.Second // of the 30 s that orchestrators give
	queuePerSlot = 2
)

func serveCommand() command {
	return command{
		name: "serve", usage: "run tasks of many callers, over HTTP on a unix socket", example: "bundle-worker serve --slots 4 --until-eof",
		flags: func(set *flag.FlagSet, f *flags) {
			set.StringVar(&f.socket, "socket", "", "listen at `PATH`, in a directory of its own with mode 0700; serve/worker.sock in the bundle cache if it is not given")
			set.IntVar(&f.slots, "slots", runtime.GOMAXPROCS(0), "run at most `N` tasks at once; as many as there are cores if it is not given")
			set.IntVar(&f.queue, "queue", -1, "let `N` more wait, and refuse the rest with 429; twice the slots if it is not given")
			set.DurationVar(&f.drain, "drain", defaultDrain, "on SIGTERM, give running tasks `DURATION` to end; 25s if it is not given")
			set.IntVar(&f.parent, "parent-pid", 0, "end at once when the process `PID` is gone")
			set.BoolVar(&f.untilEOF, "until-eof", false, "end at once when stdin ends")
		},
		run: runServe,
	}
}

func runServe(ctx context.Context, p *program, _ []string) (err error) {
	if p.flags.slots < 1 || p.flags.queue < -1 || p.flags.drain < 0 || p.flags.parent < 0 {
		return wrongUsage("--slots is at least 1, and --queue, --drain and --parent-pid are not negative", "bundle-worker serve --help")
	}
	if p.flags.queue < 0 {
		p.flags.queue = queuePerSlot * p.flags.slots
	}
	log := p.logger()
	c, err := p.logConfig(log)
	if err != nil {
		return err
	}
	if p.flags.socket == "" {
		p.flags.socket = filepath.Join(c.CacheDir, "serve", "worker.sock")
	}
	socket, err := serve.Listen(p.flags.socket)
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }() // the server closes it first
	spill, err := emptied(filepath.Join(socket.Dir, "spill"))
	if err != nil {
		return err
	}
	tasks, err := p.tasks(c, task.Options{
		Slots: p.flags.slots, Warm: max(c.MaxWarm, p.flags.slots), Spare: true, Spill: spill, Log: slog.NewLogLogger(log.Handler(), slog.LevelInfo).Writer(),
	})
	if err != nil {
		return err
	}
	defer tasks.Close()
	now, err := p.endings(ctx)
	if err != nil {
		return err
	}
	b := build()
	server := &serve.Server{
		Tasks: tasks, Build: serve.Build{Version: b.Version, Contract: b.Contract},
		Slots: p.flags.slots, Queue: p.flags.queue, DrainFor: p.flags.drain, Log: log,
	}
	// Who started it reads this line, and need not poll.
	if err := p.print(map[string]string{"socket": socket.Addr().String()}, socket.Addr().String()+"\n"); err != nil {
		return err
	}
	return server.Serve(ctx, socket, now)
}

// logger writes lines of JSON on stderr.
func (p *program) logger() *slog.Logger {
	level := slog.LevelInfo
	if p.flags.quiet {
		level = slog.LevelWarn
	}
	return slog.New(slog.NewJSONHandler(p.env.Stderr, &slog.HandlerOptions{Level: level}))
}

// logConfig reads the configuration and puts it into the log.
func (p *program) logConfig(log *slog.Logger) (*config.Config, error) {
	c, err := config.Load(p.env.Getenv, p.flags.envFile)
	if err != nil {
		return nil, err
	}
	for _, warning := range c.Warnings {
		log.Warn("environment file", "file", c.EnvironmentFile, "field", warning.Field, "message", warning.Message)
	}
	for _, ignored := range c.Ignored {
		log.Warn("variable", "message", ignored)
	}
	log.Info("configuration", "values", c.Lines())
	return c, nil
}

// emptied is a directory of our own with nothing in it: what a dead server left is removed.
func emptied(dir string) (string, error) {
	err := runner.RemoveAll(dir)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return "", (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageStore, Message: "directory for outputs: " + err.Error()}).Because(err)
	}
	return dir, nil
}

// endings is closed when nothing is to be waited for any more: on a second signal, and when
// the owner is gone.
func (p *program) endings(ctx context.Context) (<-chan struct{}, error) {
	now := make(chan struct{})
	end := sync.OnceFunc(func() { close(now) })
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	first := ctx.Err() != nil // it was here before we were
	go func() {
		if !first {
			<-signals
		}
		<-signals
		end()
	}()
	if p.flags.untilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, p.env.Stdin)
			end()
		}()
	}
	if p.flags.parent != 0 {
		gone, err := serve.Owner(p.flags.parent)
		if err != nil {
			return nil, err
		}
		go func() {
			<-gone
			end()
		}()
	}
	return now, nil
}
