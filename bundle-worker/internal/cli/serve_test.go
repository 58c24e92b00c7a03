//go:build unix

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

func TestServeTasks(t *testing.T) {
	h := newHost(t)
	ref := h.push("my-model", does)
	d := h.serve("--slots", "1")

	first := d.run(doing(ref, "print('hello')", 7), "", "Modelops-Job", "job-1")
	if first.Error != nil || string(first.Outputs["seed"].Inline) != "7" || first.StderrTail != "hello\n" || first.Environment == nil {
		t.Fatalf("%+v", first)
	}
	second := d.run(doing(ref, "pass", 8), "", "Modelops-Environment", first.EnvironmentDigest)
	if string(second.Outputs["count"].Inline) != "2" || second.Environment != nil || second.EnvironmentDigest != first.EnvironmentDigest {
		t.Errorf("the second task is not in the first's process, or tells of a known environment: %+v", second)
	}
	if cold := d.run(doing(ref, "pass", 9), "?process=cold"); string(cold.Outputs["count"].Inline) != "1" {
		t.Errorf("a cold task is the process's %s.", cold.Outputs["count"].Inline)
	}
	failed := d.run(doing(ref, "raise ValueError('no' * 10_000)", 1), "")
	if failed.Error == nil || failed.Error.Code != contracts.CodeModel || failed.Error.Message != strings.Repeat("no", 10_000) {
		t.Errorf("%+v", failed.Error)
	}

	for name, test := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"no task":           {"POST", "/v1/tasks", `{"bundle_ref": 1}`, 400, "bundle_ref"},
		"no JSON":           {"POST", "/v1/tasks", `{`, 400, "protocol_error"},
		"huge JSON":         {"POST", "/v1/tasks", strings.Repeat(" ", 64<<20+1), 413, "too large"},
		"unknown parameter": {"POST", "/v1/tasks?output=x", `{}`, 400, `parameter \"output\"`},
		"relative outputs":  {"POST", "/v1/tasks?outputs=x", `{}`, 400, "absolute"},
		"unknown process":   {"POST", "/v1/tasks?process=x", `{}`, 400, "warm or cold"},
		"unknown path":      {"GET", "/v2", ``, 404, ""},
		"wrong method":      {"GET", "/v1/tasks", ``, 405, ""},
		"healthy":           {"GET", "/v1/health", ``, 200, `"status":"ready"`},
	} {
		a, err := d.request(t.Context(), test.method, test.path, []byte(test.body))
		if err != nil || a.status != test.status || !strings.Contains(string(a.body), test.says) {
			t.Errorf("%s: %d %s, %v", name, a.status, a.body, err)
		}
	}

	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(d.get("/metrics").body))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, metric := range families["modelops_worker_tasks_total"].GetMetric() {
		counts[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
	}
	if counts["ok"] != 3 || counts["model_error"] != 1 {
		t.Errorf("counted are %v", counts)
	}
	if n := families["modelops_worker_overhead_seconds"].GetMetric()[0].GetHistogram().GetSampleCount(); n != 4 {
		t.Errorf("the histogram has %d tasks", n)
	}

	d.signal(syscall.SIGTERM)
	if code := d.await(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	logged := false
	for line := range strings.Lines(d.log.String()) {
		var entry struct{ Msg, Job, Task string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a line of the log is no JSON: %s", line)
		}
		if len(line) > 4000 {
			t.Errorf("a line of the log has %d bytes", len(line))
		}
		logged = logged || entry.Msg == "task done" && entry.Job == "job-1" && entry.Task == first.TaskID
	}
	if !logged {
		t.Errorf("the task is not in the log:\n%s", d.log)
	}
}

// Large outputs go to a directory, or to the storage, where the archive of results looks for
// them and from where a target reads them.
func TestServeLargeOutputs(t *testing.T) {
	h := newHost(t)
	ref := bundletest.Push(t, h.registry, "my-model", bundletest.Files{"wire.py": does, "fit/target.py": `
def size(replicates):
    return sum(len(data) for replicate in replicates for data in replicate.values())
`})
	d := h.serve()
	large := doing(ref, "outputs.update(large=b'x' * 600_000, small=b'y')", 1)

	dir := h.path("outputs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	byFile := d.run(large, "?outputs="+dir)
	if a := byFile.Outputs["large"]; a.Ref != "file:"+a.Checksum || !there(filepath.Join(dir, a.Checksum)) {
		t.Errorf("%+v, %+v", byFile.Error, a.Ref)
	}

	// What is larger than a message may be comes by file, and is not held in memory.
	used := d.forgetPeak()
	huge := d.run(doing(ref, "outputs.update(huge=b'x' * (100 << 20))", 1), "?outputs="+dir)
	if a := huge.Outputs["huge"]; huge.Error != nil || a.Size != 100<<20 || !there(filepath.Join(dir, a.Checksum)) {
		t.Errorf("%+v, %+v", huge.Error, a.Ref)
	}
	if more := d.peak() - used; more > mayUse {
		t.Errorf("the worker used %d KiB more", more)
	}

	stored := d.run(large, "?outputs=storage")
	a := stored.Outputs["large"]
	if stored.Error != nil || a.Ref != contracts.BlobRef(a.Checksum) || stored.Outputs["small"].Ref != "" {
		t.Fatalf("%+v: %+v", stored.Error, a)
	}
	store, err := blobstore.OpenDir(h.path("storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	data, err := blobstore.Read(t.Context(), store, contracts.BlobKey(contracts.ResultsPrefix(stored.ContentDigest), a.Checksum), 1<<20)
	if err != nil || len(data) != 600_000 {
		t.Errorf("the storage has %d bytes, %v", len(data), err)
	}
	if left, err := os.ReadDir(h.path("cache/serve/spill")); err != nil || len(left) != 0 {
		t.Errorf("left over are %v, %v", left, err)
	}

	target := contracts.SimTask{Bundle: ref, Entrypoint: "fit.target:size", Params: contracts.TaskParams{ID: contracts.Params{}.ID(), Values: contracts.Params{}},
		Replicates: []contracts.Replicate{{Task: stored.TaskID, Outputs: stored.Outputs}}}
	if e := d.run(target, "?outputs=storage"); e.Error != nil || e.Evaluation == nil || e.Evaluation.Loss < 600_000 {
		t.Errorf("the target says %+v, %+v", e.Evaluation, e.Error)
	}

	if err := os.RemoveAll(h.path("storage")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.path("storage"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := h.serve("--socket", h.path("other/s"))
	if lost := other.run(large, "?outputs=storage"); lost.Error == nil || len(lost.Outputs) != 0 {
		t.Errorf("without storage there is %+v", lost)
	}
}

// Storage that fails while the task runs makes it one to try again.
func TestServeStorageLost(t *testing.T) {
	h := newHost(t)
	ref := h.push("my-model", does)
	d := h.serve()
	storage := h.path("storage")
	lost := d.run(doing(ref, "import shutil; shutil.rmtree("+strconv.Quote(storage)+", True); open("+strconv.Quote(storage)+", 'w').close(); outputs.update(large=b'x' * 600_000)", 1), "?outputs=storage")
	if e := lost.Error; e == nil || !e.Retryable || e.Stage != contracts.StageStore || !strings.Contains(e.Message, `output "large" could not be stored`) || len(lost.Outputs) != 0 {
		t.Errorf("%+v", e)
	}
}

// What is too much is refused, and nobody's task suffers.
func TestServeBackPressure(t *testing.T) {
	h := newHost(t)
	ref := h.push("my-model", does)
	d := h.serve("--slots", "2", "--queue", "2")
	gate := h.path("gate")
	waits := "\nwhile not os.path.exists(" + strconv.Quote(gate) + "): time.sleep(0.01)"
	results := make(chan *contracts.SimReturn, 4)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			a, err := d.post(context.Background(), doing(ref, waits, seed), "")
			if err != nil || a.status != http.StatusOK {
				t.Errorf("%v, %d: %s", err, a.status, a.body)
				return
			}
			result, err := contracts.ParseReturn(a.body)
			if err != nil {
				t.Error(err)
			}
			results <- result
		})
	}
	until(t, "two run and two wait", func() bool {
		body := string(d.get("/v1/health").body)
		return strings.Contains(body, `"waiting":2`) && strings.Contains(body, `"running":2`)
	})
	a, err := d.post(t.Context(), doing(ref, "pass", 9), "")
	if err != nil || a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), `"retryable":true`) {
		t.Errorf("%v, %d: %s", err, a.status, a.body)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	close(results)
	for result := range results {
		if result.Error != nil {
			t.Errorf("%+v", result.Error)
		}
	}
}

// A closed request ends its task with all that it started, and no other.
func TestServeCancel(t *testing.T) {
	h := newHost(t)
	ref := h.push("my-model", does)
	d := h.serve("--slots", "2")
	notes := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := d.post(ctx, doing(ref, hang(notes), 1), "")
		done <- err
	}()
	until(t, "the task runs", func() bool { return there(filepath.Join(notes, "ready-1")) })
	cancel()
	<-done
	allGone(t, notes)
	if r := d.run(doing(ref, "pass", 2), ""); r.Error != nil {
		t.Errorf("%+v", r.Error)
	}
	until(t, "the task counts as cancelled", func() bool {
		return strings.Contains(string(d.get("/metrics").body), `modelops_worker_tasks_total{code="cancelled"} 1`)
	})
}

// When its owner is killed, and when it is killed itself, a worker leaves nothing.
func TestServeDiesWithItsOwner(t *testing.T) {
	for _, how := range []string{"--until-eof", "--parent-pid", "killed"} {
		t.Run(how, func(t *testing.T) {
			h := newHost(t)
			ref := h.push("my-model", does)
			owner := exec.Command("sleep", "1000")
			stdin, err := owner.StdinPipe() // held by this process alone; the worker's own is another
			if err != nil {
				t.Fatal(err)
			}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			owner.ExtraFiles = []*os.File{w}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			_, _ = w.Close(), stdin.Close()
			var args []string
			switch how {
			case "--until-eof":
				args = []string{how}
			case "--parent-pid":
				args = []string{how, strconv.Itoa(owner.Process.Pid)}
			}
			d := h.serveWith(r, args...)
			_ = r.Close()
			notes := t.TempDir()
			for seed := range uint64(2) {
				go func() { _, _ = d.post(context.Background(), doing(ref, hang(notes), seed), "") }()
			}
			until(t, "both run", func() bool { return there(filepath.Join(notes, "ready-0")) && there(filepath.Join(notes, "ready-1")) })
			victim := owner.Process
			if how == "killed" {
				victim = d.cmd.Process
			}
			if err := victim.Kill(); err != nil {
				t.Fatal(err)
			}
			d.await()
			allGone(t, notes)
			until(t, "nothing temporary is left", func() bool {
				entries, err := os.ReadDir(h.path("tmp"))
				return err == nil && len(entries) == 0
			})
			_ = owner.Process.Kill()
			_ = owner.Wait()
		})
	}
}

func TestServeSocket(t *testing.T) {
	h := newHost(t)
	socket := h.path("dir/s")
	refused := func(says string, args ...string) {
		t.Helper()
		out, err := h.command(append([]string{"serve", "--json", "--quiet"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), says) {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	d := h.serve("--socket", socket)
	refused(`"code":"conflict"`, "--socket", socket)
	if a := d.get("/v1/health"); a.status != http.StatusOK {
		t.Errorf("after that the first says %d", a.status)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	d.signal(syscall.SIGKILL)
	d.await()
	if !there(socket) {
		t.Fatal("a killed worker removes its socket?")
	}
	if a := h.serve("--socket", socket).get("/v1/health"); a.status != http.StatusOK {
		t.Errorf("a socket of the dead is not taken over: %d", a.status)
	}

	if err := os.Mkdir(h.path("shown"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused("others may look", "--socket", h.path("shown/s"))
	if err := os.Mkdir(h.path("mine"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.path("mine/s"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("no socket is in its place", "--socket", h.path("mine/s"))
	refused("bytes, and may have", "--socket", h.path("mine/"+strings.Repeat("s", 100)))
	refused("--slots is at least 1", "--slots", "0")
	refused("process of --parent-pid is not there", "--socket", h.path("p/s"), "--parent-pid", "2147483646")
}

// A bundle is fetched once for all tasks that ask for it, and tasks of other bundles go on
// meanwhile.
func TestServePreparesOnce(t *testing.T) {
	h := newHost(t)
	slow, quick := h.push("slow", does+"# slow\n"), h.push("quick", does+"# quick\n")
	d := h.serve("--slots", "1", "--queue", "20")
	if r := d.run(doing(quick, "pass", 1), ""); r.Error != nil {
		t.Fatalf("%+v", r.Error)
	}
	h.registry.Requests()
	n := &node{t: t, registry: h.registry}
	n.hold()
	results := make(chan answer)
	const tasks = 6
	for seed := range uint64(tasks) {
		go func() {
			a, err := d.post(context.Background(), doing(slow, "pass", seed), "")
			if err != nil {
				t.Error(err)
			}
			results <- a
		}()
	}
	<-n.arrived
	gone, cancel := context.WithCancel(t.Context()) // one of those that wait gives up
	go func() {
		_, err := d.post(gone, doing(slow, "pass", 99), "")
		results <- answer{body: []byte(err.Error())}
	}()
	until(t, "all wait for the bundle", func() bool { return strings.Contains(string(d.get("/v1/health").body), `"preparing":7`) })
	cancel()
	<-results
	if r := d.run(doing(quick, "pass", 2), ""); r.Error != nil || string(r.Outputs["count"].Inline) != "2" {
		t.Errorf("%+v", r)
	}
	close(n.held)
	for range tasks {
		if r, err := contracts.ParseReturn((<-results).body); err != nil || r.Error != nil {
			t.Errorf("%+v, %v", r, err)
		}
	}
	seen := map[string]int{}
	for _, request := range h.registry.Requests() {
		if seen[request]++; seen[request] > 1 {
			t.Errorf("the registry was asked twice for %s", request)
		}
	}
}
