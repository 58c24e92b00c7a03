package localregistry

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// durable answers "created" only when what was created is on the disk; the registry
// below it leaves that to the system.
type durable struct {
	next http.Handler
	dir  string // the registry's data
	log  *slog.Logger
}

func (d durable) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodPut && q.Method != http.MethodPost {
		d.next.ServeHTTP(w, q)
		return
	}
	answer := &held{ResponseWriter: w}
	d.next.ServeHTTP(answer, q)
	if answer.status == http.StatusCreated {
		if err := d.flush(w.Header().Get("Location")); err != nil {
			d.log.Error("what was pushed could not be made durable", "error", err)
			answer.status, answer.body = http.StatusInternalServerError, nil
		}
	}
	answer.release()
}

// flush writes to the disk what lies at a location "/v2/REPOSITORY/KIND/ALGORITHM:HEX".
func (d durable) flush(location string) error {
	parts := strings.Split(strings.TrimPrefix(location, "/v2/"), "/")
	if len(parts) < 3 {
		return nil
	}
	repository := filepath.Join(d.dir, filepath.Join(parts[:len(parts)-2]...))
	kind, digest := parts[len(parts)-2], parts[len(parts)-1]
	algorithm, hex, _ := strings.Cut(digest, ":")
	blobs := filepath.Join(repository, "blobs", algorithm)
	if err := syncFile(filepath.Join(blobs, hex)); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(blobs); err != nil {
		return err
	}
	if kind != "manifests" {
		return nil
	}
	for _, name := range []string{"index.json", "oci-layout"} {
		if err := syncFile(filepath.Join(repository, name)); err != nil {
			return err
		}
	}
	if err := atomicfile.SyncDir(filepath.Join(repository, "blobs")); err != nil {
		return err
	}
	for dir := repository; ; dir = filepath.Dir(dir) {
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
		if len(dir) <= len(d.dir) {
			return nil
		}
	}
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // Windows flushes only what may be written
	if err != nil {
		return err
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// held is an answer that waits to be sent. Those to pushes are short.
type held struct {
	http.ResponseWriter
	status int
	body   []byte
}

func (h *held) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *held) Write(p []byte) (int, error) {
	if h.status == 0 {
		h.status = http.StatusOK
	}
	h.body = append(h.body, p...)
	return len(p), nil
}

func (h *held) release() {
	if h.status != 0 {
		h.ResponseWriter.WriteHeader(h.status)
	}
	_, _ = h.ResponseWriter.Write(h.body)
}
