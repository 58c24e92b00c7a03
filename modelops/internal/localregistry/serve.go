package localregistry

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"github.com/olareg/olareg/types"
)

// Options are what a server's process is told.
type Options struct {
	Dir string
	daemon.Options
}

// Serve is the server's process, see [daemon.Daemon.Serve].
func Serve(ctx context.Context, options Options, log *slog.Logger) error {
	r := Open(options.Dir)
	return r.Daemon.Serve(ctx, options.Options, &server{r, log}, log)
}

// server is the registry as a daemon serves it.
type server struct {
	*Registry
	log *slog.Logger
}

// Prepare makes the directory of the data, or refuses one that others can change, and
// tidies up after a process that died.
func (s *server) Prepare(context.Context) error {
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return failed("make "+contracts.Quote(s.data()), err)
	}
	if err := environment.CheckDirectory(s.data()); err != nil {
		return err
	}
	if err := s.sweep(); err != nil {
		return err
	}
	return tidy(s.data())
}

// Close does nothing: an answer was given when what was pushed was on the disk.
func (s *server) Close() error { return nil }

// Routes adds the registry.
func (s *server) Routes(mux *http.ServeMux) {
	yes := true
	registry := olareg.New(config.Config{
		Storage: config.ConfigStorage{
			StoreType: config.StoreDir,
			RootDir:   s.data(),
			// Its collector is never run, by time or when a repository leaves its memory.
			GC: config.ConfigGC{Frequency: -1, GracePeriod: 100 * 365 * 24 * time.Hour, EmptyRepo: new(bool)},
		},
		API: config.ConfigAPI{DeleteEnabled: &yes, Blob: config.ConfigAPIBlob{DeleteEnabled: &yes}},
		Log: slog.New(atLeast{s.log.Handler(), slog.LevelWarn}),
	})
	mux.Handle("/v2/", acceptAny{durable{next: registry, dir: s.data(), log: s.log}})
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
