package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	lockPatience  = time.Second // a command that asks whether the lock is held holds it for a moment
	lookAgain     = time.Second // how often a server asks whether it is still wanted
	shutdownGrace = 10 * time.Second
)

// Options are what a server's process is told.
type Options struct {
	ID   string // of the instance
	Port int    // to listen on when none is recorded; 0 for any
}

// Server is what a daemon serves.
type Server interface {
	// Prepare is called before anything is served, by the one process that may.
	Prepare(ctx context.Context) error
	// Routes adds what is answered, beside the questions that every daemon answers.
	Routes(mux *http.ServeMux)
	// Close is called at the end, after the last answer.
	Close() error
}

// Serve is the server's process: it serves until ctx ends, a command asks it to stop, or
// its directory is gone. Of several for one directory all but the first end at once.
func (d *Daemon) Serve(ctx context.Context, options Options, server Server, log *slog.Logger) error {
	if err := d.prepare(); err != nil {
		return err
	}
	lock := d.lock()
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if free, err := lock.TryLockContext(patience, pollEvery); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return d.failed("lock "+contracts.Quote(lock.Path()), err)
	} else if !free {
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
			Message: d.Title + ": another process serves " + contracts.Quote(d.Dir)}
	}
	defer lock.Close()
	if wanted, err := d.wants(options.ID); err != nil || !wanted {
		log.Info("another instance or none is to run: stopping")
		return err
	}
	if err := server.Prepare(ctx); err != nil {
		return errors.Join(err, server.Close())
	}
	err := d.listenAndServe(ctx, options, server, log)
	if closeErr := server.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		log.Info("stopped")
	}
	return err
}

func (d *Daemon) listenAndServe(ctx context.Context, options Options, server Server, log *slog.Logger) error {
	before, err := d.Instance()
	if err != nil {
		return err
	}
	listener, err := d.listen(cmp.Or(before.Port, options.Port), log)
	if err != nil {
		return err
	}
	i := Instance{PID: os.Getpid(), Port: listener.Addr().(*net.TCPAddr).Port, ID: options.ID, Token: rand.Text(), Started: time.Now().UTC().Truncate(time.Second)}
	if err := d.record(i); err != nil {
		_ = listener.Close()
		return err
	}
	log.Info("serving", "port", i.Port, "pid", i.PID, "data", d.Dir)
	return d.serve(ctx, listener, i, server, log)
}

// serve answers requests until it is told to stop, and then leaves only the port on
// record.
func (d *Daemon) serve(ctx context.Context, listener net.Listener, i Instance, what Server, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{
		Handler:           d.handler(i, what, stop),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go d.watch(ctx, stop, i, log)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return d.failed("serve", err)
	case <-ctx.Done():
	}
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(graceful); err != nil {
		log.Warn("requests were cut off", "error", err)
	}
	if now, err := d.Instance(); err != nil || now.ID != i.ID {
		return nil // the record is no longer ours
	}
	return d.record(Instance{Port: i.Port})
}

// watch stops a server whose directory somebody removed: nobody could find it again. It
// also keeps its log from growing without end.
func (d *Daemon) watch(ctx context.Context, stop func(), i Instance, log *slog.Logger) {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if now, err := d.Instance(); err == nil && now.ID != i.ID {
				log.Warn("the record of this server is gone: stopping")
				stop()
				return
			}
			if err := d.boundLog(); err != nil {
				log.Warn("the log grows", "error", err)
			}
		}
	}
}

// listen takes the port, or a free one if it cannot be had.
func (d *Daemon) listen(port int, log *slog.Logger) (net.Listener, error) {
	listener, err := listenOn(port)
	if err == nil {
		return listener, nil
	}
	log.Warn("the port cannot be had: taking a free one", "port", port, "reason", err)
	listener, err = net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, d.failed("listen on 127.0.0.1", err)
	}
	return listener, nil
}

func listenOn(port int) (net.Listener, error) {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	// "localhost" is also ::1, and clients may try that first.
	other, err := net.DialTimeout("tcp6", fmt.Sprintf("[::1]:%d", port), time.Second)
	if err != nil {
		return listener, nil
	}
	_ = other.Close()
	_ = listener.Close()
	return nil, errors.New("another program listens on it at [::1]")
}

// handler is all that the server answers.
func (d *Daemon) handler(i Instance, what Server, stop func()) http.Handler {
	mux := http.NewServeMux()
	what.Routes(mux)
	mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(health{Program: d.program(), Instance: i.ID})
	})
	mux.HandleFunc("POST "+stopPath, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer "+i.Token {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		stop()
	})
	return http.NewCrossOriginProtection().Handler(ownHost(i.Port, mux))
}

// ownHost refuses requests that a page in a browser was tricked into sending here, by a
// name of its own that leads to this machine.
func ownHost(port int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.Host {
		case fmt.Sprintf("localhost:%d", port), fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("[::1]:%d", port):
			next.ServeHTTP(w, q)
		default:
			http.Error(w, "this server answers to localhost only", http.StatusMisdirectedRequest)
		}
	})
}
