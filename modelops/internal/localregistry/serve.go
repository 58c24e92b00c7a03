package localregistry

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"github.com/olareg/olareg/types"
)

const (
	lockPatience  = time.Second // a command that asks whether the lock is held holds it for a moment
	lookAgain     = time.Second // how often a server asks whether it is still wanted
	shutdownGrace = 10 * time.Second
)

// Options are what a server's process is told.
type Options struct {
	Dir  string
	ID   string // of the instance
	Port int    // to listen on when none is recorded; 0 for any
}

// Serve is the server's process: it serves the directory until ctx ends, a command asks
// it to stop, or its directory is gone. Of several for one directory all but the first
// end at once.
func Serve(ctx context.Context, options Options, log *slog.Logger) error {
	r := Open(options.Dir)
	if err := r.prepare(); err != nil {
		return err
	}
	lock := r.lock()
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if free, err := lock.TryLockContext(patience, pollEvery); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return failed("lock "+contracts.Quote(lock.Path()), err)
	} else if !free {
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
			Message: "local registry: another process serves " + contracts.Quote(r.dir)}
	}
	defer lock.Close()
	if wanted, err := r.wants(options.ID); err != nil || !wanted {
		log.Info("another instance or none is to run: stopping")
		return err
	}
	if err := r.sweep(); err != nil {
		return err
	}
	if err := tidy(r.data()); err != nil {
		return err
	}
	before, err := r.Instance()
	if err != nil {
		return err
	}
	listener, err := listen(cmp.Or(before.Port, options.Port), log)
	if err != nil {
		return err
	}
	i := Instance{PID: os.Getpid(), Port: listener.Addr().(*net.TCPAddr).Port, ID: options.ID, Token: rand.Text(), Started: time.Now().UTC().Truncate(time.Second)}
	if err := r.record(i); err != nil {
		_ = listener.Close()
		return err
	}
	log.Info("serving", "port", i.Port, "pid", i.PID, "data", r.data())
	if err := r.serve(ctx, listener, i, log); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// serve answers requests until it is told to stop, and then leaves only the port on
// record.
func (r *Registry) serve(ctx context.Context, listener net.Listener, i Instance, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{
		Handler:           r.handler(i, stop, log),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go r.watch(ctx, stop, i, log)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return failed("serve", err)
	case <-ctx.Done():
	}
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(graceful); err != nil {
		log.Warn("requests were cut off", "error", err)
	}
	if now, err := r.Instance(); err != nil || now.ID != i.ID {
		return nil // the record is no longer ours
	}
	return r.record(Instance{Port: i.Port})
}

// watch stops a server whose directory somebody removed: nobody could find it again.
func (r *Registry) watch(ctx context.Context, stop func(), i Instance, log *slog.Logger) {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if now, err := r.Instance(); err == nil && now.ID != i.ID {
				log.Warn("the record of this server is gone: stopping")
				stop()
				return
			}
		}
	}
}

// listen takes the port, or a free one if it cannot be had.
func listen(port int, log *slog.Logger) (net.Listener, error) {
	listener, err := listenOn(port)
	if err == nil {
		return listener, nil
	}
	log.Warn("the port cannot be had: taking a free one", "port", port, "reason", err)
	listener, err = net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, failed("listen on 127.0.0.1", err)
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
func (r *Registry) handler(i Instance, stop func(), log *slog.Logger) http.Handler {
	yes := true
	registry := olareg.New(config.Config{
		Storage: config.ConfigStorage{
			StoreType: config.StoreDir,
			RootDir:   r.data(),
			// Its collector is never run, by time or when a repository leaves its memory.
			GC: config.ConfigGC{Frequency: -1, GracePeriod: 100 * 365 * 24 * time.Hour, EmptyRepo: new(bool)},
		},
		API: config.ConfigAPI{DeleteEnabled: &yes, Blob: config.ConfigAPIBlob{DeleteEnabled: &yes}},
		Log: slog.New(atLeast{log.Handler(), slog.LevelWarn}),
	})
	mux := http.NewServeMux()
	mux.Handle("/v2/", acceptAny{durable{next: registry, dir: r.data(), log: log}})
	mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(health{Program: programName, Instance: i.ID})
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
			http.Error(w, "this registry answers to localhost only", http.StatusMisdirectedRequest)
		}
	})
}

// acceptAny spells out for the registry what a client that accepts anything accepts:
// it takes the header, and its absence, literally.
type acceptAny struct{ next http.Handler }

func (a acceptAny) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if accept := strings.Join(q.Header.Values("Accept"), ","); accept == "" || strings.Contains(accept, "*/*") {
		q.Header.Set("Accept", strings.Join([]string{
			types.MediaTypeOCI1Manifest, types.MediaTypeOCI1ManifestList,
			types.MediaTypeDocker2Manifest, types.MediaTypeDocker2ManifestList,
		}, ","))
	}
	a.next.ServeHTTP(w, q)
}

// tidy removes unfinished uploads of a process that is gone, and refuses data in which
// a repository's list of tags is damaged: the next push there would begin a new list.
func tidy(data string) error {
	return filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return failed("read "+contracts.Quote(path), err)
		case entry.IsDir() && entry.Name() == "_uploads":
			if err := os.RemoveAll(path); err != nil {
				return failed("remove "+contracts.Quote(path), err)
			}
			return fs.SkipDir
		case entry.IsDir() && entry.Name() == "blobs":
			return fs.SkipDir
		case entry.Name() == "index.json":
			return checkIndex(path)
		}
		return nil
	})
}

func checkIndex(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return failed("read "+contracts.Quote(path), err)
	}
	if !json.Valid(content) {
		return &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
			Message: "local registry: the list of tags " + contracts.Quote(path) + " is damaged",
			Hint:    "restore it from a backup; or remove that file, then the repository is empty and can be pushed to again"}
	}
	return nil
}

// atLeast drops records below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}
