package localregistry

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
	"time"

	"github.com/gofrs/flock"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

// Registry is the registry of one directory, whether it runs or not.
type Registry struct{ dir string }

// Open is the registry in the directory dir. Nothing is read or made.
func Open(dir string) *Registry { return &Registry{dir: dir} }

// Instance is a server process, as registry.json has it. After a graceful end only
// Port is left.
type Instance struct {
	PID     int       `json:"pid,omitempty"`
	Port    int       `json:"port"`
	ID      string    `json:"instance,omitempty"` // new for every process, and no secret
	Token   string    `json:"token,omitempty"`    // who knows it may stop the process
	Started time.Time `json:"started,omitzero"`
}

// Host is what clients are given: localhost and the port.
func (i Instance) Host() string { return fmt.Sprintf("localhost:%d", i.Port) }

// The files, see the package comment.
func (r *Registry) data() string       { return filepath.Join(r.dir, "registry") }
func (r *Registry) statePath() string  { return filepath.Join(r.dir, "registry.json") }
func (r *Registry) wantedPath() string { return filepath.Join(r.dir, "registry.start") }
func (r *Registry) lock() *flock.Flock { return flock.New(filepath.Join(r.dir, "registry.lock")) }

// LogPath is the file that the server's process writes to.
func (r *Registry) LogPath() string { return filepath.Join(r.dir, "registry.log") }

// Exists says whether there is a registry, running or not.
func (r *Registry) Exists() (bool, error) {
	_, err := os.Stat(r.data())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, failed("look at "+contracts.Quote(r.data()), err)
	}
	return err == nil, nil
}

// Instance is what is recorded; the zero value when nothing is.
func (r *Registry) Instance() (Instance, error) {
	data, err := os.ReadFile(r.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return Instance{}, nil
	}
	if err != nil {
		return Instance{}, failed("read "+contracts.Quote(r.statePath()), err)
	}
	var i Instance
	if err := json.Unmarshal(data, &i); err != nil || i.Port < 0 || i.Port > 65535 {
		return Instance{}, &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision,
			Message: contracts.Quote(r.statePath()) + " is damaged",
			Hint:    "remove it; the registry's data is not touched by that, but its port may become another"}
	}
	return i, nil
}

func (r *Registry) record(i Instance) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(r.statePath(), append(data, '\n'), 0o600); err != nil {
		return failed("write "+contracts.Quote(r.statePath()), err)
	}
	return nil
}

// Probe says whether the recorded server runs and answers.
func (r *Registry) Probe(ctx context.Context) (Instance, bool, error) {
	i, err := r.Instance()
	if err != nil || i.ID == "" {
		return i, false, err
	}
	return i, answers(ctx, i), nil
}

// want says which instance is to run; "" for none. Only who holds start.lock says so.
func (r *Registry) want(id string) error {
	if id == "" {
		if err := os.Remove(r.wantedPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failed("remove "+contracts.Quote(r.wantedPath()), err)
		}
		return nil
	}
	if err := atomicfile.Write(r.wantedPath(), []byte(id), 0o600); err != nil {
		return failed("write "+contracts.Quote(r.wantedPath()), err)
	}
	return nil
}

// wants says whether the instance is to run. Asked while holding the lock, the answer
// holds: who changes it looks at the lock afterwards.
func (r *Registry) wants(id string) (bool, error) {
	data, err := os.ReadFile(r.wantedPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, failed("read "+contracts.Quote(r.wantedPath()), err)
	}
	return string(data) == id, nil
}

// settled is the recorded server if it answers, and an error if its process lives and
// does not answer. One that is about to begin or to end is given a moment.
func (r *Registry) settled(ctx context.Context) (i Instance, running bool, err error) {
	patience, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if i, running, err = r.Probe(ctx); err != nil || running {
			return i, running, err
		}
		if held, err := r.held(); err != nil || !held {
			return i, false, err
		}
		select {
		case <-patience.Done():
			return i, false, r.unresponsive(i)
		case <-ticker.C:
		}
	}
}

func (r *Registry) unresponsive(i Instance) error {
	return &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision,
		Message:    fmt.Sprintf("local registry: process %d serves %s and does not answer on port %d", i.PID, contracts.Quote(r.data()), i.Port),
		Hint:       fmt.Sprintf("if it stays so, end process %d and run mops infra up; its log is %s", i.PID, r.LogPath()),
		StderrTail: tail(r.LogPath(), 0)}
}

// held says whether a server's process is alive.
func (r *Registry) held() (bool, error) {
	if _, err := os.Stat(r.dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	lock := r.lock()
	free, err := lock.TryLock()
	if err != nil {
		return false, failed("lock "+contracts.Quote(lock.Path()), err)
	}
	_ = lock.Close()
	return !free, nil
}

// prepare makes the directory, or refuses one that others can change.
func (r *Registry) prepare() error {
	if err := environment.CheckDirectory(r.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(r.data(), 0o700); err != nil {
		return failed("make "+contracts.Quote(r.data()), err)
	}
	return environment.CheckDirectory(r.data())
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
	programName = "mops local-registry"
	healthPath  = "/modelops/health"
	stopPath    = "/modelops/stop"
)

// answers says whether the very instance i answers on its port.
func answers(ctx context.Context, i Instance) bool {
	body, err := ask(ctx, http.MethodGet, i, healthPath)
	if err != nil {
		return false
	}
	var h health
	return json.Unmarshal(body, &h) == nil && h.Program == programName && h.Instance == i.ID
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

// failed is the envelope for a step that the system refused.
func failed(step string, err error) error {
	reason := err
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathError.Err
	}
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision, Message: fmt.Sprintf("local registry: %s: %v", step, reason)}
	if errors.Is(err, fs.ErrPermission) {
		e.Code = contracts.CodeDenied
	}
	return e.Because(err)
}
