//go:build unix

package localregistry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
)

// TestMain is the server's process when a test starts it.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "local-registry" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Serve(ctx, Options{Dir: os.Args[2], Options: daemon.Options{ID: os.Args[3]}}, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func launch(dir, id string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exec.Command(self, "local-registry", dir, id)
}

func newRegistry(t *testing.T) *Registry {
	t.Helper()
	r := Open(filepath.Join(t.TempDir(), "local"))
	t.Cleanup(func() {
		if _, err := r.Stop(context.Background()); err != nil {
			words, _ := os.ReadFile(r.LogPath())
			t.Errorf("stop: %v\n%s", err, words)
		}
	})
	return r
}

// ended waits until the server's process is gone.
func ended(t *testing.T, r *Registry) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := r.Idle(ctx, func() error { return nil })
		if err == nil || ctx.Err() != nil {
			return err
		}
		<-ticker.C
	}
}

func start(t *testing.T, r *Registry) daemon.Instance {
	t.Helper()
	i, _, err := r.Start(t.Context(), launch)
	if err != nil {
		t.Fatalf("%v\n%s", err, contracts.AsError(err).StderrTail)
	}
	return i
}

// push stores a manifest without layers under a tag and returns its digest.
func push(t *testing.T, i daemon.Instance, repository, tag string) string {
	t.Helper()
	base := "http://" + Host(i) + "/v2/" + repository
	config := []byte("{}" + tag)
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(config))
	response := do(t, http.MethodPost, base+"/blobs/uploads/?digest="+digest, string(config), nil)
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("blob: %s", response.Status)
	}
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/json","digest":%q,"size":%d},"layers":[]}`, mediaType, digest, len(config))
	response = do(t, http.MethodPut, base+"/manifests/"+tag, manifest, http.Header{"Content-Type": {mediaType}})
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("manifest: %s", response.Status)
	}
	return response.Header.Get("Docker-Content-Digest")
}

func resolve(t *testing.T, i daemon.Instance, repository, tag string) string {
	t.Helper()
	response := do(t, http.MethodHead, "http://"+Host(i)+"/v2/"+repository+"/manifests/"+tag, "", nil)
	return response.Header.Get("Docker-Content-Digest")
}

func do(t *testing.T, method, url, body string, header http.Header) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for key, values := range header {
		request.Header[key] = values
	}
	if host := header.Get("Host"); host != "" {
		request.Host = host
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response
}

func kill(t *testing.T, i daemon.Instance, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(i.PID, signal); err != nil {
		t.Fatal(err)
	}
}

func TestStartIsDoneOnce(t *testing.T) {
	r := newRegistry(t)
	instances := make([]daemon.Instance, 8)
	var group sync.WaitGroup
	for n := range instances {
		group.Go(func() {
			i, _, err := r.Start(t.Context(), launch)
			if err != nil {
				t.Error(err)
			}
			instances[n] = i
		})
	}
	group.Wait()
	for _, i := range instances {
		if i.ID != instances[0].ID || i.ID == "" || i.Port == 0 {
			t.Errorf("%+v and %+v", i, instances[0])
		}
	}
}

func TestKilledServerComesBack(t *testing.T) {
	r := newRegistry(t)
	before := start(t, r)
	digest := push(t, before, "team/seir", "v1")
	kill(t, before, syscall.SIGKILL)
	after, started, err := r.Start(t.Context(), launch)
	if err != nil || !started {
		t.Fatal(started, err)
	}
	if after.Port != before.Port || after.ID == before.ID {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if got := resolve(t, after, "team/seir", "v1"); got != digest {
		t.Errorf("resolved %q, pushed %q", got, digest)
	}
}

func TestStopKeepsDataAndPort(t *testing.T) {
	r := newRegistry(t)
	before := start(t, r)
	digest := push(t, before, "seir", "v1")
	if stopped, err := r.Stop(t.Context()); err != nil || !stopped {
		t.Fatal(stopped, err)
	}
	if stopped, err := r.Stop(t.Context()); err != nil || stopped {
		t.Error("a second stop:", stopped, err)
	}
	recorded, running, err := r.Probe(t.Context())
	if err != nil || running || recorded != (daemon.Instance{Port: before.Port}) {
		t.Errorf("%+v %v %v", recorded, running, err)
	}
	after := start(t, r)
	if got := resolve(t, after, "seir", "v1"); after.Port != before.Port || got != digest {
		t.Errorf("%+v, resolved %q", after, got)
	}
}

func TestTerminatedGracefully(t *testing.T) {
	r := newRegistry(t)
	i := start(t, r)
	kill(t, i, syscall.SIGTERM)
	if err := ended(t, r); err != nil {
		t.Fatal(err)
	}
	if i, err := r.Instance(); err != nil || i.PID != 0 || i.Port == 0 {
		t.Errorf("%+v %v", i, err)
	}
}

func TestTwoDirectoriesDoNotMeet(t *testing.T) {
	one, other := newRegistry(t), newRegistry(t)
	first, second := start(t, one), start(t, other)
	push(t, first, "seir", "v1")
	if got := resolve(t, second, "seir", "v1"); got != "" || first.Port == second.Port {
		t.Errorf("%q in %+v, pushed to %+v", got, second, first)
	}
}

// TestPortOfAnotherProgram is also the case of a recycled process id: the record names
// this test's own process and a port where another program answers.
func TestPortOfAnotherProgram(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"program": "mops local-registry", "instance": "another"})
	}))
	defer other.Close()
	r := newRegistry(t)
	taken := daemon.Instance{PID: os.Getpid(), Port: other.Listener.Addr().(*net.TCPAddr).Port, ID: "ours", Token: "t"}
	record, err := json.Marshal(taken)
	if err == nil {
		err = os.MkdirAll(r.Dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(r.Dir, "registry.json"), record, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, running, err := r.Probe(t.Context()); err != nil || running {
		t.Error("another program was taken for ours", err)
	}
	if stopped, err := r.Stop(t.Context()); err != nil || stopped {
		t.Error(stopped, err)
	}
	if i := start(t, r); i.Port == taken.Port {
		t.Errorf("%+v", i)
	}
}

func TestDamagedTagsAreNotOverwritten(t *testing.T) {
	r := newRegistry(t)
	push(t, start(t, r), "team/seir", "v1")
	if _, err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(r.data(), "team", "seir", "index.json")
	if err := os.WriteFile(index, []byte(`{"schemaVersion":2,"mani`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Start(t.Context(), launch)
	if e := contracts.AsError(err); e == nil || !strings.Contains(e.StderrTail, "is damaged") {
		t.Errorf("%+v", e)
	}
	if got, err := os.ReadFile(index); err != nil || string(got) != `{"schemaVersion":2,"mani` {
		t.Errorf("%s %v", got, err)
	}
}

func TestAnswersItsOwnPathsOnly(t *testing.T) {
	r := newRegistry(t)
	i := start(t, r)
	base := fmt.Sprintf("http://127.0.0.1:%d", i.Port)
	for _, test := range []struct {
		method, path string
		header       http.Header
		want         int
	}{
		{"GET", "/v2/", nil, 200},
		{"GET", "/modelops/health", nil, 200},
		{"GET", "/", nil, 404},
		{"GET", "/debug/pprof/", nil, 404},
		{"POST", "/modelops/stop", nil, 403},
		{"POST", "/modelops/stop", http.Header{"Authorization": {"Bearer "}}, 403},
		{"GET", "/v2/", http.Header{"Host": {"rebound.example:5555"}}, 421},
		{"PUT", "/v2/seir/manifests/v1", http.Header{"Origin": {"https://elsewhere.example"}}, 403},
	} {
		if got := do(t, test.method, base+test.path, "", test.header).StatusCode; got != test.want {
			t.Errorf("%s %s %v: %d, want %d", test.method, test.path, test.header, got, test.want)
		}
	}
}

func TestDestroy(t *testing.T) {
	r := newRegistry(t)
	i := start(t, r)
	push(t, i, "seir", "v1")
	if e := contracts.AsError(r.Destroy(t.Context())); e == nil || e.Code != contracts.CodeConflict {
		t.Errorf("destroyed while it ran: %v", e)
	}
	if _, err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exists, err := r.Exists(); err != nil || exists {
		t.Error(exists, err)
	}
	if got := resolve(t, start(t, r), "seir", "v1"); got != "" {
		t.Errorf("still there: %s", got)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	r := newRegistry(t)
	i := start(t, r)
	push(t, i, "seir", "v1")
	do(t, http.MethodPost, "http://"+Host(i)+"/v2/seir/blobs/uploads/", "", nil)
	kill(t, i, syscall.SIGKILL)
	uploads := filepath.Join(r.data(), "seir", "_uploads")
	if left, err := os.ReadDir(uploads); err != nil || len(left) == 0 {
		t.Fatal("the test leaves no upload:", err)
	}
	if err := os.Mkdir(r.data()+".destroyed.X", 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, r)
	for _, path := range []string{uploads, r.data() + ".destroyed.X"} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestFrozenServer: a process that lives and does not answer is named, not doubled.
func TestFrozenServer(t *testing.T) {
	r := newRegistry(t)
	i := start(t, r)
	kill(t, i, syscall.SIGSTOP)
	_, err := r.Stop(t.Context())
	kill(t, i, syscall.SIGCONT)
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeUnavailable || !strings.Contains(e.Message, fmt.Sprintf("process %d", i.PID)) {
		t.Errorf("%+v", e)
	}
}

func TestEndsWithItsDirectory(t *testing.T) {
	r := newRegistry(t)
	i := start(t, r)
	if err := os.RemoveAll(r.Dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		answer, err := http.Get("http://" + Host(i) + "/v2/")
		if err != nil {
			return
		}
		_ = answer.Body.Close()
		select {
		case <-ctx.Done():
			t.Fatal("it still answers")
		case <-ticker.C:
		}
	}
}

func TestDirectoryOfOthers(t *testing.T) {
	r := newRegistry(t)
	if err := os.Mkdir(r.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Start(t.Context(), launch)
	if err == nil || !strings.Contains(err.Error(), "is writable by everybody") {
		t.Error(err)
	}
}

// TestLateServerEnds: a server whose starter was killed may come when another runs, or
// after it was stopped. It does not take the place.
func TestLateServerEnds(t *testing.T) {
	r := newRegistry(t)
	running := start(t, r)
	late := launch(r.Dir, "LATE")
	log, err := os.OpenFile(r.LogPath(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	late.Stdout, late.Stderr = log, log
	if err := late.Start(); err != nil { // it waits for the lock
		t.Fatal(err)
	}
	if _, err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = late.Wait() // it ends by itself, whether or not it ever got the lock
	if i, running, err := r.Probe(t.Context()); err != nil || running {
		t.Errorf("%+v serves: %v", i, err)
	}
	if i := start(t, r); i.ID == "LATE" || i.Port != running.Port {
		t.Errorf("%+v", i)
	}
}
