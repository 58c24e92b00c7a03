// Package daemon runs a server on this machine, in a process of its own that outlives the
// command that started it: the local registry is one, the local Dask cluster another.
//
// A server called NAME has these files in its directory:
//
//	NAME.json   the process that serves, and the port, which is used again
//	NAME.log    what the process wrote; NAME.log.1 what it wrote before that became large
//	NAME.lock   held by the process for as long as it lives
//	NAME.start  the instance that is to run; absent when none is
//	start.lock  held by a command that starts or stops it
//
// The lock, not the process id, says whether a server is alive, and the instance id
// that a server answers says whether what listens on the port is ours: no other program
// is mistaken for it, and no process that happens to have its id is ever signalled.
// A process whose starter was killed, and that comes late, finds that another instance
// or none is to run, and ends.
// [Daemon.Start] starts it, [Daemon.Serve] is the process.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

// Daemon is the server of one directory, whether it runs or not.
type Daemon struct {
	Dir   string
	Name  string // of its files
	Title string // as people know it
}

// Instance is a server process, as NAME.json has it. After a graceful end only
// Port is left.
type Instance struct {
	PID     int       `json:"pid,omitempty"`
	Port    int       `json:"port"`
	ID      string    `json:"instance,omitempty"` // new for every process, and no secret
	Token   string    `json:"token,omitempty"`    // who knows it may stop the process
	Started time.Time `json:"started,omitzero"`
}

func (d *Daemon) file(kind string) string { return filepath.Join(d.Dir, d.Name+kind) }

func (d *Daemon) statePath() string  { return d.file(".json") }
func (d *Daemon) wantedPath() string { return d.file(".start") }
func (d *Daemon) lock() *flock.Flock { return flock.New(d.file(".lock")) }

// LogPath is the file that the server's process writes to.
func (d *Daemon) LogPath() string { return d.file(".log") }

// Instance is what is recorded; the zero value when nothing is.
func (d *Daemon) Instance() (Instance, error) {
	data, err := os.ReadFile(d.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return Instance{}, nil
	}
	if err != nil {
		return Instance{}, d.failed("read "+contracts.Quote(d.statePath()), err)
	}
	var i Instance
	if err := json.Unmarshal(data, &i); err != nil || i.Port < 0 || i.Port > 65535 {
		return Instance{}, &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision,
			Message: contracts.Quote(d.statePath()) + " is damaged",
			Hint:    "remove it; no data is touched by that, but its port may become another"}
	}
	return i, nil
}

func (d *Daemon) record(i Instance) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(d.statePath(), append(data, '\n'), 0o600); err != nil {
		return d.failed("write "+contracts.Quote(d.statePath()), err)
	}
	return nil
}

// Probe says whether the recorded server runs and answers.
func (d *Daemon) Probe(ctx context.Context) (Instance, bool, error) {
	i, err := d.Instance()
	if err != nil || i.ID == "" {
		return i, false, err
	}
	return i, d.answers(ctx, i), nil
}

// want says which instance is to run; "" for none. Only who holds start.lock says so.
func (d *Daemon) want(id string) error {
	if id == "" {
		if err := os.Remove(d.wantedPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.failed("remove "+contracts.Quote(d.wantedPath()), err)
		}
		return nil
	}
	if err := atomicfile.Write(d.wantedPath(), []byte(id), 0o600); err != nil {
		return d.failed("write "+contracts.Quote(d.wantedPath()), err)
	}
	return nil
}

// wants says whether the instance is to run. Asked while holding the lock, the answer
// holds: who changes it looks at the lock afterwards.
func (d *Daemon) wants(id string) (bool, error) {
	data, err := os.ReadFile(d.wantedPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, d.failed("read "+contracts.Quote(d.wantedPath()), err)
	}
	return string(data) == id, nil
}

// settled is the recorded server if it answers, and an error if its process lives and
// does not answer. One that is about to begin or to end is given a moment.
func (d *Daemon) settled(ctx context.Context) (i Instance, running bool, err error) {
	patience, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if i, running, err = d.Probe(ctx); err != nil || running {
			return i, running, err
		}
		if held, err := d.held(); err != nil || !held {
			return i, false, err
		}
		select {
		case <-patience.Done():
			return i, false, d.unresponsive(i)
		case <-ticker.C:
		}
	}
}

func (d *Daemon) unresponsive(i Instance) error {
	return &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision,
		Message:    fmt.Sprintf("%s: process %d serves %s and does not answer on port %d", d.Title, i.PID, contracts.Quote(d.Dir), i.Port),
		Hint:       fmt.Sprintf("if it stays so, end process %d and run mops infra up; its log is %s", i.PID, d.LogPath()),
		StderrTail: tail(d.LogPath(), 0)}
}

// held says whether a server's process is alive.
func (d *Daemon) held() (bool, error) {
	if _, err := os.Stat(d.Dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	lock := d.lock()
	free, err := lock.TryLock()
	if err != nil {
		return false, d.failed("lock "+contracts.Quote(lock.Path()), err)
	}
	_ = lock.Close()
	return !free, nil
}

// prepare makes the directory, or refuses one that others can change.
func (d *Daemon) prepare() error {
	if err := environment.CheckDirectory(d.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return d.failed("make "+contracts.Quote(d.Dir), err)
	}
	return environment.CheckDirectory(d.Dir)
}

const (
	healthTimeout = 3 * time.Second // of one question to a server on this machine
	settleTimeout = 3 * time.Second // for a process to begin or end
)

// health is a server's answer to the question who it is.
type health struct {
	Program  string `json:"program"`
	Instance string `json:"instance"`
}

const (
	healthPath = "/modelops/health"
	stopPath   = "/modelops/stop"
)

// program is how the server calls itself.
func (d *Daemon) program() string { return "mops " + strings.ReplaceAll(d.Title, " ", "-") }

// answers says whether the very instance i answers on its port.
func (d *Daemon) answers(ctx context.Context, i Instance) bool {
	body, err := ask(ctx, http.MethodGet, i, healthPath)
	if err != nil {
		return false
	}
	var h health
	return json.Unmarshal(body, &h) == nil && h.Program == d.program() && h.Instance == i.ID
}

// ask sends one request to a server on this machine, by no proxy.
func ask(ctx context.Context, method string, i Instance, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	url := fmt.Sprintf("http://127.0.0.1:%d%s", i.Port, path)
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+i.Token)
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, 4<<10))
}

func (d *Daemon) failed(step string, err error) error { return Failed(d.Title, step, err) }

// Failed is the envelope for a step of a server that the system refused.
func Failed(title, step string, err error) error {
	reason := err
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathError.Err
	}
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision, Message: fmt.Sprintf("%s: %s: %v", title, step, reason)}
	if errors.Is(err, fs.ErrPermission) {
		e.Code = contracts.CodeDenied
	}
	return e.Because(err)
}
