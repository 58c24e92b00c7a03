//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// host is a machine with a registry, a storage and a cache of its own.
type host struct {
	testing.TB
	registry *bundletest.Registry
	dir      string
	environ  []string
}

func newHost(t testing.TB) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") // a socket's path is short, and t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("chmod", "-R", "u+w", dir).Run()
		_ = os.RemoveAll(dir)
	})
	h := &host{TB: t, registry: bundletest.NewRegistry(t), dir: dir}
	for _, name := range []string{"tmp", "home"} {
		if err := os.Mkdir(h.path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	python, err := exec.Command("python3", "-c", "import os, sys; print(os.path.dirname(sys.executable))").Output()
	if err != nil {
		t.Fatal(err)
	}
	h.environ = []string{
		"PATH=" + strings.TrimSpace(string(python)) + ":" + os.Getenv("PATH"), // the interpreter itself, and no script that looks for one
		"HOME=" + h.path("home"), "TMPDIR=" + h.path("tmp"), "GORACE=atexit_sleep_ms=0",
		"MODELOPS_BUNDLE_ENV_FILE=" + h.environment(h.registry.Host), "MODELOPS_BUNDLES_CACHE_DIR=" + h.path("cache"), "MODELOPS_VENVS_DIR=" + h.path("venvs"),
	}
	return h
}

// environment writes an environment file for a registry, and is its path.
func (h *host) environment(registry string) string {
	h.Helper()
	file := fmt.Sprintf("environment: test\nregistry:\n  provider: docker\n  login_server: %s\nstorage:\n  provider: fs\n  container: %s\n", registry, h.path("storage"))
	if err := os.WriteFile(h.path("env.yaml"), []byte(file), 0o600); err != nil {
		h.Fatal(err)
	}
	return h.path("env.yaml")
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// command is the program itself.
func (h *host) command(args ...string) *exec.Cmd {
	h.Helper()
	self, err := os.Executable()
	if err != nil {
		h.Fatal(err)
	}
	return &exec.Cmd{Path: self, Args: append([]string{"bundle-worker"}, args...), Env: h.environ}
}

// push pushes a bundle with this wire.
func (h *host) push(name, wire string) contracts.BundleRef {
	h.Helper()
	return bundletest.Push(h, h.registry, name, bundletest.Files{"wire.py": wire})
}

// doing is a task whose parameter "do" says what its wire does.
func doing(ref contracts.BundleRef, do string, seed uint64) contracts.SimTask {
	values := contracts.Params{"do": contracts.StringValue(do)}
	return contracts.SimTask{Bundle: ref, Entrypoint: "m.n/s", Params: contracts.TaskParams{ID: values.ID(), Values: values}, Seed: seed}
}

// does is a wire that does what its parameter says.
const does = `
import os, signal, subprocess, sys, time
count = 0
def wire(entrypoint, params, seed):
    global count
    count += 1
    outputs = {"seed": str(seed), "count": str(count)}
    exec(params["do"], globals(), {"outputs": outputs, "seed": seed})
    return outputs
`

// daemon is a bundle-worker that serves.
type daemon struct {
	*host
	cmd    *exec.Cmd
	client *http.Client
	log    *bytes.Buffer // of stderr, once it has ended
	ended  chan struct{}
}

func (h *host) serve(args ...string) *daemon {
	h.Helper()
	return h.serveWith(nil, args...)
}

func (h *host) serveWith(stdin *os.File, args ...string) *daemon {
	h.Helper()
	return h.start(h.command(append([]string{"serve", "--json"}, args...)...), stdin)
}

// start starts a daemon, and waits until it is ready.
func (h *host) start(cmd *exec.Cmd, stdin *os.File) *daemon {
	h.Helper()
	d := &daemon{host: h, cmd: cmd, log: &bytes.Buffer{}, ended: make(chan struct{})}
	if stdin != nil {
		d.cmd.Stdin = stdin
	}
	d.cmd.Stderr = d.log
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		h.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		h.Fatal(err)
	}
	var first struct{ Socket string }
	line, readErr := bufio.NewReader(out).ReadBytes('\n')
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	h.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
		if h.Failed() {
			h.Logf("the worker's log:\n%s", d.log)
		}
	})
	if err := json.Unmarshal(line, &first); err != nil || first.Socket == "" {
		_ = d.cmd.Process.Kill()
		<-d.ended
		h.Fatalf("the worker is not ready: %v, %v: %s%s", readErr, err, line, d.log)
	}
	d.client = clientOf(first.Socket)
	return d
}

func clientOf(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
}

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (d *daemon) request(ctx context.Context, method, path string, body []byte, header ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://worker"+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := d.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, data}, err
}

func (d *daemon) get(path string) answer {
	d.Helper()
	a, err := d.request(context.Background(), "GET", path, nil)
	if err != nil {
		d.Fatal(err)
	}
	return a
}

// run runs a task.
func (d *daemon) run(task contracts.SimTask, query string, header ...string) *contracts.SimReturn {
	d.Helper()
	a, err := d.post(context.Background(), task, query, header...)
	if err != nil {
		d.Fatal(err)
	}
	result, err := contracts.ParseReturn(a.body)
	if err != nil || a.status != http.StatusOK {
		d.Fatalf("%d: %s: %v", a.status, a.body, err)
	}
	return result
}

func (d *daemon) post(ctx context.Context, task contracts.SimTask, query string, header ...string) (answer, error) {
	data, err := json.Marshal(task)
	if err != nil {
		return answer{}, err
	}
	return d.request(ctx, "POST", "/v1/tasks"+query, data, header...)
}

// await waits until the daemon has ended, and is its exit code.
func (d *daemon) await() int {
	d.Helper()
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		d.Fatal("the worker does not end")
	}
	return d.cmd.ProcessState.ExitCode()
}

func (d *daemon) signal(s syscall.Signal) {
	d.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.Fatal(err)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("it did not come to that: %s", what)
		case <-tick.C:
		}
	}
}

// pids reads the numbers that tasks left in files of a directory.
func pids(t testing.TB, dir string) []int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(strings.TrimSuffix(entry.Name(), ".pid")); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// noGone waits until none of the processes that left their number in the directory runs.
func allGone(t testing.TB, dir string) {
	t.Helper()
	for _, pid := range pids(t, dir) {
		until(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !running(pid) })
	}
}

// hang is what a task does that leaves its number, and those of a child and of a daemon, in
// the directory, and never ends.
func hang(dir string) string {
	return fmt.Sprintf(`
def note(pid): open(%q + "/%%d.pid" %% pid, "w").close()
note(os.getpid())
note(subprocess.Popen(["sleep", "1000"]).pid)
note(subprocess.Popen(["setsid", "sleep", "1000"]).pid)
open(%q + "/ready-%%d" %% seed, "w").close()
time.sleep(1000)
`, dir, dir)
}

func there(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
