package jobscript

import (
	"bytes"
	"crypto/rand"
	"encoding/csv"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is wrong with one machine costs no task anything: with the disk of its cache full, or
// the registry out of its reach, tasks run elsewhere. Where there is no elsewhere, that is
// the job's error.
func TestDaskWorkerFaults(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	c.study(120, slowly(0.1))
	ballast := make([]byte, 2<<20) // more than the small disk has
	_, _ = rand.Read(ballast)      // it never fails
	c.write(filepath.Join(c.dir, "ballast.bin"), string(ballast))
	cutOff := c.cutOff()
	full := c.withFullDisk()
	sound := c.worker([]string{"MODELOPS_BUNDLES_CACHE_DIR=" + t.TempDir()})
	c.threads(3)
	c.must("jobs", "submit", "study.json", "--wait")
	c.checkRows("latest", 120)
	log := c.must("jobs", "logs", "latest")
	for _, want := range []string{`is tried again".* code=unavailable .*registry`, `is tried again".* code=disk_full `} {
		if !regexp.MustCompile(want).MatchString(log) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}

	stop(t, sound)
	stop(t, full)
	_, _, _ = c.run("jobs", "submit", "study.json", "--no-cache", "--wait")
	s := c.status("latest")
	if s.State != "FAILED" || s.Tasks["failed"] != 1 || len(s.Errors) != 1 || s.Errors[0].Error.Code != "unavailable" || !regexp.MustCompile("registry .*does not answer.*on worker tcp://").MatchString(s.Errors[0].Error.Message) {
		t.Errorf("%+v", s)
	}
	stop(t, cutOff)
	c.withFullDisk()
	_, _, _ = c.run("jobs", "submit", "study.json", "--no-cache", "--wait")
	s = c.status("latest")
	if s.State != "FAILED" || s.Tasks["failed"] != 1 || len(s.Errors) != 1 || s.Errors[0].Error.Code != "disk_full" {
		t.Errorf("%+v", s)
	}
}

// A task that is tried again, and waits for a worker that goes then, runs on another.
func TestDaskRetryOutlivesItsWorker(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	c.study(10, slowly(4))
	cutOff := c.cutOff()
	first := c.worker([]string{"MODELOPS_BUNDLES_CACHE_DIR=" + t.TempDir()})
	c.threads(2)
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(s jobStatus) bool {
		return s.Tasks["succeeded"] > 0 && strings.Count(c.must("jobs", "logs", id), "is tried again") > 1
	})
	c.worker([]string{"MODELOPS_BUNDLES_CACHE_DIR=" + t.TempDir()})
	c.until(id, func(jobStatus) bool { return strings.Contains(c.must("jobs", "logs", id), "threads=3") })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	stop(t, cutOff)
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	c.checkRows(id, 10)
	if log := c.must("jobs", "logs", id); !strings.Contains(log, "the workers that it was for are gone") {
		t.Errorf("nothing waited for the worker that went:\n%s", log)
	}
}

// cutOff starts a worker whose registry does not answer.
func (c *cluster) cutOff() *exec.Cmd {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.work, "home", ".modelops", "bundle-env", "local.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	file := filepath.Join(c.work, "cut-off.yaml")
	c.write(file, regexp.MustCompile(`login_server: .*`).ReplaceAllString(string(data), fmt.Sprintf("login_server: 127.0.0.1:%d", freePort(c.t))))
	return c.worker([]string{"MODELOPS_BUNDLE_ENV_FILE=" + file, "MODELOPS_BUNDLES_CACHE_DIR=" + c.t.TempDir()}, "--name", "cut-off")
}

// withFullDisk starts a worker whose cache is on a disk of a megabyte, which goes with it:
// it is mounted in a namespace of the worker's own.
func (c *cluster) withFullDisk() *exec.Cmd {
	c.t.Helper()
	disk := c.t.TempDir()
	isolate := []string{"unshare", "--mount"}
	if os.Geteuid() != 0 {
		isolate = append(isolate, "--map-root-user")
	}
	mount := fmt.Sprintf("mount -t tmpfs -o size=1m,mode=700 none %s", disk)
	if out, err := exec.Command(isolate[0], append(isolate[1:], "sh", "-c", mount)...).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			c.t.Skipf("no small disk can be mounted here: %s", out)
		}
		c.t.Fatalf("no small disk can be mounted here: %s", out)
	}
	shell := filepath.Join(c.work, "with-disk")
	c.write(shell, fmt.Sprintf("#!/bin/sh\nexec %s sh -c '%s && exec %s \"$@\"' - \"$@\"\n", strings.Join(isolate, " "), mount, c.python))
	if err := os.Chmod(shell, 0o700); err != nil {
		c.t.Fatal(err)
	}
	other := *c
	other.python = shell
	return other.worker([]string{"MODELOPS_BUNDLES_CACHE_DIR=" + disk}, "--name", "full")
}

// slowly is a model that takes so many seconds.
func slowly(seconds float64) string {
	return fmt.Sprintf("import time\ndef wire(entrypoint, params, seed):\n    time.sleep(%g)\n    return {'rows': b'x\\n%%d\\n' %% params['i']}\n", seconds)
}

// stop ends a worker, and waits for that.
func stop(t *testing.T, worker *exec.Cmd) {
	t.Helper()
	_ = worker.Process.Signal(syscall.SIGTERM)
	eventually(t, "the worker has ended", func() bool { return syscall.Kill(worker.Process.Pid, 0) != nil })
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("it did not come to it that %s", what)
		}
	}
}

// checkRows makes sure that a job of [person.study] has each result once, and nothing else.
func (p *person) checkRows(id string, tasks int) {
	p.t.Helper()
	if s := p.status(id); s.State != "SUCCEEDED" || s.Tasks["succeeded"] != tasks {
		p.t.Fatalf("%+v\n%s", s, p.must("jobs", "logs", id))
	}
	dir := filepath.Join(p.t.TempDir(), "tables")
	p.must("jobs", "results", id, "--format", "csv", "--output", dir)
	data, err := os.ReadFile(filepath.Join(dir, "rows.csv"))
	if err != nil {
		p.t.Fatal(err)
	}
	records, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil || len(records) != tasks+1 {
		p.t.Fatalf("%d rows, %v", len(records)-1, err)
	}
	asked, got := slices.Index(records[0], "i"), slices.Index(records[0], "x")
	for n, row := range records[1:] {
		if row[asked] != fmt.Sprint(n+1) || row[got] != row[asked] {
			p.t.Fatalf("row %d is %q", n, row)
		}
	}
}

// ask runs a program of Python's with a client of the scheduler, and returns what it prints.
func (c *cluster) ask(program string) string {
	c.t.Helper()
	cmd := exec.Command(c.python, "-c", "from distributed import Client\nclient = Client('"+c.address+"')\n"+program)
	cmd.Env = c.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// threads waits until the workers have so many.
func (c *cluster) threads(count int) {
	c.t.Helper()
	c.ask(fmt.Sprintf("client.wait_for_workers(%d, timeout=60)", count))
}

// mumbling is a bundle-worker that spoils what the real one answers, by the task's parameter.
const mumbling = `#!/usr/bin/env python3
import http.client, http.server, json, os, socket, socketserver, subprocess, sys

REAL = %q
at = sys.argv.index("--socket") + 1 if "--socket" in sys.argv else 0
if not at:
    os.execv(REAL, [REAL, *sys.argv[1:]])
path = sys.argv[at]
real = subprocess.Popen([REAL, *sys.argv[1:at], path + "2", *sys.argv[at + 1:]], stdout=subprocess.PIPE)
real.stdout.readline()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        task = self.rfile.read(int(self.headers["Content-Length"]))
        connection = http.client.HTTPConnection("worker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(path + "2")
        connection.request("POST", self.path, task, dict(self.headers))
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        i = json.loads(task)["params"]["values"]["i"]
        if i == 3:
            body = b"no JSON\n\n\""
        elif i == 5:
            body = body[:-9]
        elif i == 7:
            body = body.replace(json.loads(body)["task_id"].encode(), b"f" * 64)
        elif i == 9:
            body = b" " * (129 << 20)
        elif i == 11:
            body = b"\xff\x00" * 99
        elif i == 13:
            status, body = 400, b'{"error":{"code":"unsupported","stage":"run","message":"no thirteens"}}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 99


with Server(path, Answer) as server:
    import threading
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(path, flush=True)
    real.wait()
`

// What a bundle-worker answers that is no result, or too large, or another task's, is that
// task's error: the others of its batch, and the session with the cluster, go on.
func TestDaskBrokenAnswers(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	mumbler := filepath.Join(c.work, "mumbler")
	c.write(mumbler, fmt.Sprintf(mumbling, filepath.Join(bin, "bundle-worker")))
	if err := os.Chmod(mumbler, 0o700); err != nil {
		t.Fatal(err)
	}
	c.worker([]string{"MODELOPS_BUNDLE_WORKER=" + mumbler}, "--nthreads", "2")
	c.study(100, quick)
	_, _, _ = c.run("jobs", "submit", "study.json", "--wait")
	s := c.status("latest")
	counts := map[string]int{}
	for _, fault := range s.Errors {
		counts[string(fault.Error.Code)] += fault.Count
	}
	if s.State != "PARTIAL" || s.Tasks["succeeded"] != 94 || counts["protocol_error"] != 5 || counts["unsupported"] != 1 {
		t.Errorf("%+v", s)
	}
	if log := c.must("jobs", "logs", "latest"); strings.Count(log, "msg=connected") != 1 {
		t.Errorf("%s", log)
	}
}

// Memory that a worker uses itself is watched by its nanny, which kills it: its tasks run
// again. Memory that a task uses is watched by bundle-worker: more than it may have is its
// own error, which another try would not mend.
func TestDaskMemory(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	nanny := c.start("dask_worker", nil, c.address, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--nthreads", "1", "--nworkers", "1", "--memory-limit", "600MB", "--local-directory", t.TempDir())
	c.study(60, slowly(0.1))
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 10 })
	c.ask("def grow(dask_worker):\n    dask_worker.hoard = [b'x' * (1 << 20) for _ in range(1000)]\nclient.run(grow, on_error='ignore')")
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	c.checkRows(id, 60)
	words, err := os.ReadFile(nanny.Stdout.(*os.File).Name())
	if err != nil || !strings.Contains(string(words), "memory budget") {
		t.Errorf("the nanny did not kill its worker: %v\n%s", err, words)
	}

	c.study(10, "def wire(entrypoint, params, seed):\n    hoard = b'x' * (400 << 20 if params['i'] == 3 else 1)\n    return {'rows': b'x\\n%d\\n' % params['i']}\n")
	study := filepath.Join(c.dir, "study.json")
	data, err := os.ReadFile(study)
	if err != nil {
		t.Fatal(err)
	}
	c.write(study, strings.Replace(string(data), "{", `{"resources":{"memory":"200Mi"},`, 1))
	_, _, _ = c.run("jobs", "submit", "study.json", "--wait")
	s := c.status("latest")
	if s.State != "PARTIAL" || s.Tasks["failed"] != 1 || s.Tasks["succeeded"] != 9 || len(s.Errors) != 1 {
		t.Fatalf("%+v", s)
	}
	e := s.Errors[0].Error
	if e.Code != "out_of_memory" || e.Retryable || !strings.Contains(e.Message, "limit is 200 MiB") || !strings.Contains(e.Hint, "another try ends alike") {
		t.Errorf("%+v", e)
	}
	if log := c.must("jobs", "logs", "latest"); strings.Contains(log, "is tried again") {
		t.Errorf("%s", log)
	}
}

// A worker that is killed leaves neither the program that it unpacked, nor processes, and
// removes what others left that were killed together with their bundle-worker.
func TestDaskKilledWorkerLeavesNothing(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	local, tmp := t.TempDir(), t.TempDir()
	dead := filepath.Join(tmp, "modelops-serve-dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	c.write(filepath.Join(dead, "serve.sock.lock"), "")
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dead, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	nanny := c.start("dask_worker", []string{"PATH=/usr/bin:/bin", "TMPDIR=" + tmp}, c.address, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--nthreads", "2", "--nworkers", "1", "--local-directory", local)
	c.study(60, slowly(0.2))
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 5 })
	below := func(text string) []int {
		found, err := processesBelow(nanny.Process.Pid, text)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	all := below("")
	workers := below("multiprocessing.spawn")
	if n := len(programs(t, local)); n != 1 || len(workers) != 1 {
		t.Fatalf("%d programs, workers %v", n, workers)
	}
	if err := syscall.Kill(workers[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all that the worker had started is gone", func() bool {
		return !slices.ContainsFunc(all, func(pid int) bool { return pid != nanny.Process.Pid && runs(pid, "serve\x00", "/modelops-task-") })
	})
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 25 })
	if found := append(programs(t, local), programs(t, tmp)...); len(found) != 1 {
		t.Errorf("programs lie in %q", found)
	}
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	c.checkRows(id, 60)
	eventually(t, "nothing lies about", func() bool {
		return len(append(programs(t, local), programs(t, tmp)...)) == 0 && len(below("serve\x00")) == 0
	})
	if _, err := os.Stat(dead); err == nil {
		t.Error("the directory of a dead server lies about")
	}
}

// runs says whether the process still is one of these.
func runs(pid int, texts ...string) bool {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // none of one that has ended
	return slices.ContainsFunc(texts, func(text string) bool { return bytes.Contains(line, []byte(text)) })
}

// programs are the files below a directory that are called bundle-worker.
func programs(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() == "bundle-worker" {
			found = append(found, path)
		}
		return nil // what goes meanwhile is not there
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A driver that dies with its machine takes the plugin, and the environment's secrets in it,
// off the cluster: it ends what runs, and workers that come get nothing. The job is resumed
// as ever.
func TestDaskDriverGone(t *testing.T) {
	for _, version := range []string{"2022.12.1", "2026.8.0"} {
		t.Run(version, func(t *testing.T) {
			c := newCluster(t, version, false)
			worker := c.worker(nil)
			c.study(60, slowly(0.2))
			id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
			c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 5 })
			driver := c.status(id).Driver.PID
			machine, err := processesBelow(driver, "")
			if err != nil || len(machine) < 2 {
				t.Fatalf("%v, %v", machine, err)
			}
			for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} { // none sees another die
				for _, pid := range machine {
					if err := syscall.Kill(pid, signal); err != nil {
						t.Fatal(err)
					}
				}
			}
			eventually(t, "bundle-worker has ended", func() bool {
				found, err := processesBelow(worker.Process.Pid, "serve\x00")
				return err == nil && len(found) == 0
			})
			const plugins = "print(sorted(n for n in client.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.worker_plugins, *dask_scheduler.plugins]) if 'job-' in n))"
			if left := c.ask(plugins); left != "[]" {
				t.Errorf("plugins %s are left", left)
			}
			c.must("jobs", "resume", id, "--wait")
			c.checkRows(id, 60)
			if left := c.ask(plugins); left != "[]" {
				t.Errorf("plugins %s are left at the end", left)
			}
		})
	}
}

// While there is no scheduler, or no worker, the job's status says so. Whoever comes late is
// used, and needed: the one that was there first leaves.
func TestDaskStatusOfWaiting(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	c.study(100, slowly(0.1))
	stop(t, c.scheduler)
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	waits := func(text string) {
		t.Helper()
		c.until(id, func(s jobStatus) bool { return s.Waiting != nil && strings.Contains(s.Waiting.For, text) })
		if said := c.must("jobs", "status", id); !strings.Contains(said, "waiting   ") || !strings.Contains(said, text) {
			t.Errorf("%s", said)
		}
	}
	waits("scheduler " + c.address + " does not answer")
	c.schedule()
	waits("scheduler " + c.address + " has no workers")
	first := c.worker(nil)
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 10 && s.Waiting == nil })
	// The scheduler is never given more than two batches for a thread.
	if n := c.ask("print(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))"); n != "1" && n != "2" {
		t.Errorf("the scheduler has %s batches for one thread", n)
	}
	c.worker(nil)
	c.threads(2)
	stop(t, first)
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	c.checkRows(id, 100)
}
