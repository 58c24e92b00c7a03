//go:build unix

// Package serve runs tasks for many callers: HTTP over a unix socket that only its owner can
// reach.
//
//	POST /v1/tasks    a task as `exec` reads it; the answer is its result
//	GET  /v1/health   ready or draining, and which build this is
//	GET  /metrics     figures in Prometheus' text format
//
// A task is over when its answer is there; closing the request cancels it. What is more than
// can run or wait is refused with 429, what comes while the server drains with 503: neither
// was begun. A model's error is no error of the server: it is in the result, with 200.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/task"
	"github.com/modelops-suite/modelops-go/contracts"
)

// Tasks is what runs tasks; a *task.Runner is one.
type Tasks interface {
	Run(ctx context.Context, task *contracts.SimTask, ask task.Ask) *contracts.SimReturn
	// Drain has tasks that do not run yet end with an error.
	Drain()
	Stats() task.Stats
}

// Server serves tasks. The fields are set before Serve and stay as they are.
type Server struct {
	Tasks    Tasks
	Build    Build
	Slots    int           // tasks that run at once
	Queue    int           // tasks that may wait beside them
	DrainFor time.Duration // for tasks that run, once the server is to end
	Log      *slog.Logger

	door    *door
	metrics *metrics
	dying   context.Context // ends when tasks that run are to be killed
}

// Build says which build this is.
type Build struct {
	Version  string `json:"version"`
	Contract string `json:"contract"`
}

// The headers of a request.
const (
	// JobHeader names the job of a task, for the log.
	JobHeader = "Modelops-Job"
	// EnvironmentHeader has the digest of an environment that the caller knows: a result
	// of that environment does not describe it again.
	EnvironmentHeader = "Modelops-Environment"
)

const (
	maxTask       = 64 << 20 // bytes of a task's JSON
	retryAfter    = "1"      // seconds
	headersWithin = 10 * time.Second
	lastAnswers   = time.Second // for answers that are being written at the end
)

// Serve serves until ctx ends. Then what runs is finished within DrainFor, and what comes
// is refused. It is killed when that is over, or when now is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener, now <-chan struct{}) error {
	dying, kill := context.WithCancelCause(context.Background())
	defer kill(nil)
	s.door, s.metrics, s.dying = newDoor(s.Slots+s.Queue), newMetrics(), dying
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: headersWithin, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	s.Log.Info("ready", "socket", l.Addr().String(), "slots", s.Slots, "queue", s.Queue)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	case <-now:
	}
	left := s.door.close()
	s.Tasks.Drain()
	s.Log.Info("draining", "running", s.Tasks.Stats().Running)
	timer := time.NewTimer(s.DrainFor)
	defer timer.Stop()
	select {
	case <-left:
	case <-timer.C:
		s.Log.Warn("the time to drain is over", "running", s.Tasks.Stats().Running)
	case <-now:
	}
	kill(&contracts.Error{
		Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, Retryable: true,
		Message: "the worker was shut down before the task was done",
	})
	<-left
	s.shut(server)
	s.Log.Info("stopped")
	return nil
}

// shut lets answers that are being written go out, and closes the socket.
func (s *Server) shut(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/tasks", s.serveTask)
	mux.HandleFunc("GET /v1/health", s.serveHealth)
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	return mux
}

// health is the document of /v1/health.
type health struct {
	Status string `json:"status"` // ready or draining
	Build
	Slots     int `json:"slots"`
	Queue     int `json:"queue"`
	Preparing int `json:"preparing"`
	Waiting   int `json:"waiting"`
	Running   int `json:"running"`
}

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	stats := s.Tasks.Stats()
	h := health{"ready", s.Build, s.Slots, s.Queue, stats.Preparing, stats.Waiting, stats.Running}
	status := http.StatusOK
	if s.door.closed() {
		h.Status, status = "draining", http.StatusServiceUnavailable
	}
	answer(w, status, h)
}

func (s *Server) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(s.metrics.text(s.Build, s.Tasks.Stats(), s.door.closed())) // a caller that is gone reads nothing
}

func (s *Server) serveTask(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	switch entry := s.door.enter(); entry {
	case full:
		s.metrics.refuse(entry)
		w.Header().Set("Retry-After", retryAfter)
		refuse(w, http.StatusTooManyRequests, &contracts.Error{
			Code: contracts.CodeUnavailable, Stage: contracts.StageRun, Retryable: true,
			Message: "the worker is busy: " + strconv.Itoa(s.Slots) + " tasks run at once, and " + strconv.Itoa(s.Queue) + " may wait",
		})
		return
	case shut:
		s.metrics.refuse(entry)
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusServiceUnavailable, &contracts.Error{
			Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, Retryable: true,
			Message: "the worker is shutting down and takes no more tasks",
		})
		return
	}
	defer s.door.leave()
	task, ask, err := read(w, r)
	if err != nil {
		refuse(w, statusOf(err), contracts.AsError(err))
		return
	}
	result := s.run(r.Context(), task, ask)
	s.metrics.done(result, time.Since(began))
	s.log(r, result, time.Since(began))
	if result.EnvironmentDigest != "" && r.Header.Get(EnvironmentHeader) == result.EnvironmentDigest {
		result.Environment = nil
	}
	answer(w, http.StatusOK, result)
}

// run runs the task for as long as the caller is there and the server may.
func (s *Server) run(caller context.Context, task *contracts.SimTask, ask task.Ask) *contracts.SimReturn {
	ctx, cancel := context.WithCancelCause(s.dying)
	defer cancel(nil)
	stop := context.AfterFunc(caller, func() {
		cancel(&contracts.Error{
			Code: contracts.CodeCancelled, Stage: contracts.StageRun,
			Message: "the task was cancelled: its request was closed",
		})
	})
	defer stop()
	return s.Tasks.Run(ctx, task, ask)
}

func (s *Server) log(r *http.Request, result *contracts.SimReturn, elapsed time.Duration) {
	attributes := []any{
		"job", r.Header.Get(JobHeader), "task", result.TaskID, "bundle", result.Bundle,
		"seconds", elapsed.Seconds(), "simulation_seconds", result.Seconds,
	}
	if e := result.Error; e != nil {
		message := fmt.Sprintf("%.1000s", e.Message) // of up to 64 KiB: who collects logs cuts long lines
		s.Log.Warn("task failed", append(attributes, "code", e.Code, "stage", e.Stage, "retryable", e.Retryable, "message", message)...)
		return
	}
	s.Log.Info("task done", attributes...)
}

// read reads a request. The error is a [contracts.Error].
func read(w http.ResponseWriter, r *http.Request) (*contracts.SimTask, task.Ask, error) {
	ask, err := readAsk(r)
	if err != nil {
		return nil, ask, err
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTask))
	if err != nil {
		return nil, ask, (&contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageCommand, Message: "the task cannot be read: " + err.Error()}).Because(err)
	}
	task, err := contracts.ParseTask(data)
	return task, ask, err
}

// storageWord asks for the environment's storage instead of a directory.
const storageWord = "storage"

// readAsk reads the query: outputs is a directory of this machine or storage, inputs is a
// directory, process is warm or cold.
func readAsk(r *http.Request) (ask task.Ask, err error) {
	query := r.URL.Query()
	for name := range query {
		switch name {
		case "outputs", "inputs", "process":
		default:
			return ask, wrong("there is no parameter "+contracts.Quote(name), "the parameters are outputs, inputs and process")
		}
	}
	ask.Outputs, ask.Inputs = query.Get("outputs"), query.Get("inputs")
	if ask.Outputs == storageWord {
		ask.Outputs, ask.Storage = "", true
	}
	for name, dir := range map[string]string{"outputs": ask.Outputs, "inputs": ask.Inputs} {
		if dir != "" && !filepath.IsAbs(dir) {
			return ask, wrong(name+" is "+contracts.Quote(dir), "it is the absolute path of a directory on the worker's machine; outputs may also be storage")
		}
	}
	switch process := query.Get("process"); process {
	case "", "warm":
	case "cold":
		ask.Cold = true
	default:
		return ask, wrong("process is "+contracts.Quote(process), "it is warm or cold")
	}
	return ask, nil
}

func wrong(message, hint string) error {
	return &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageCommand, Message: message, Hint: hint}
}

func statusOf(err error) int {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

func refuse(w http.ResponseWriter, status int, e *contracts.Error) {
	answer(w, status, contracts.Envelope{Error: e})
}

func answer(w http.ResponseWriter, status int, doc any) {
	data, err := json.Marshal(doc)
	if err != nil {
		status, data = http.StatusInternalServerError, contracts.MarshalEnvelope(contracts.AsError(err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // a caller that is gone reads nothing
}
