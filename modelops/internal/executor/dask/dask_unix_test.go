//go:build unix

package dask

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// bridging is an executor whose bridge is a script, which has said that it is ready.
func bridging(t *testing.T, script string) *Executor {
	t.Helper()
	dir := t.TempDir()
	python, worker := filepath.Join(dir, "python"), filepath.Join(dir, "bundle-worker")
	prelude := "#!/usr/bin/env python3\nimport json, select, sys\n" +
		"def say(line): print(json.dumps(line), flush=True)\n" +
		"def result(key): return json.dumps({'task_id': key, 'outputs': {}, 'error': {'code': 'model_error', 'stage': 'run', 'message': 'no'}})\n" +
		"def ready(): say({'ready': {'distributed': '1.0', 'workers': [{'address': 'a', 'threads': 1}]}})\n"
	for file, text := range map[string]string{
		python: prelude + script,
		worker: "#!/bin/sh\ncase $1 in ensure-python) echo " + python + ";; *) echo plugin;; esac\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return &Executor{Worker: worker, Home: dir, Job: "job-1", Environ: os.Environ(), Log: slog.New(slog.DiscardHandler)}
}

const key = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"

func oneTask(entrypoint string) chan jobs.Task {
	tasks := make(chan jobs.Task, 1)
	tasks <- jobs.Task{Key: key, Sim: contracts.SimTask{Entrypoint: entrypoint}}
	close(tasks)
	return tasks
}

// A bridge that ends each time that it is given what is to run is not begun again for ever.
func TestFruitlessSessions(t *testing.T) {
	e := bridging(t, "sys.stdin.readline()\nready()\nsys.stdin.readline()\nsys.exit(3)\n")
	err := e.Run(t.Context(), oneTask("model/baseline"), make(chan jobs.Result))
	if failure, is := errors.AsType[*contracts.Error](err); !is || !strings.Contains(failure.Message, "exit status 3") {
		t.Errorf("%v", err)
	}
}

// What a worker says before the bridge is ready is no end of the bridge.
func TestUnusableBeforeReady(t *testing.T) {
	e := bridging(t, "sys.stdin.readline()\nsay({'unusable': {'worker': 'b', 'why': 'broken'}})\nready()\n"+
		"b = json.loads(sys.stdin.readline())\nsay({'batch': b['batch'], 'returns': [['"+key+"', result('"+key+"'), None]]})\nsys.stdin.read()\n")
	results := make(chan jobs.Result, 1)
	if err := e.Run(t.Context(), oneTask("model/baseline"), results); err != nil {
		t.Fatal(err)
	}
	if got := <-results; got.Return.Error.Code != contracts.CodeModel {
		t.Errorf("%+v", got.Return.Error)
	}
}

// What is no result costs its task, after it was tried elsewhere, and nobody else: neither the
// session nor what came in the same line. A batch may come in several lines.
func TestBrokenAnswers(t *testing.T) {
	e := bridging(t, `
sys.stdin.readline()
ready()
for line in sys.stdin:
    b = json.loads(line)
    keys = [key for key, _ in b["tasks"]]
    first = not b["avoid"]
    answers = {"1": "no JSON\x00\n", "2": json.dumps({"task_id": "f" * 64, "outputs": {}, "evaluation": {"loss": 1, "n_replicates": 1}}), "3": "[1, 2", "4": "", "5": result("5" * 64), "6": "{}" if first else result("6" * 64)}
    for key in keys:
        say({"batch": b["batch"], "worker": "w", "returns": [[key, answers[key[0]], None]], "more": key != keys[-1]})
`)
	tasks, results := make(chan jobs.Task, 6), make(chan jobs.Result, 6)
	for n := range cap(tasks) {
		tasks <- jobs.Task{Key: strings.Repeat(strconv.Itoa(n+1), 64), Sim: contracts.SimTask{Entrypoint: "model/baseline"}}
	}
	close(tasks)
	var log strings.Builder
	e.Log = slog.New(slog.NewTextHandler(&log, nil))
	if err := e.Run(t.Context(), tasks, results); err != nil {
		t.Fatal(err)
	}
	close(results)
	got := map[string]string{}
	for r := range results {
		got[r.Task.Key[:1]] = string(r.Return.Error.Code)
		if r.Return.TaskID != r.Task.Key {
			t.Errorf("%s has the result of %s", r.Task.Key, r.Return.TaskID)
		}
	}
	broken, sound := string(contracts.CodeProtocol), string(contracts.CodeModel)
	want := map[string]string{"1": broken, "2": broken, "3": broken, "4": broken, "5": sound, "6": sound}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := strings.Count(log.String(), "msg=connected"); n != 1 {
		t.Errorf("%d sessions:\n%s", n, log.String())
	}
}

// What a batch has not begun runs before it ends, and that was no try; what ended in it counts
// at once. What the batch says at its end of either is no news.
func TestPartedBatch(t *testing.T) {
	e := bridging(t, `
sys.stdin.readline()
say({"ready": {"distributed": "1.0", "workers": []}})  # one batch at a time, so that the first task is alone in one
order = lambda: json.loads(sys.stdin.readline())
answer = lambda task: [task[0], result(task[0]), None]
first = order()
say({"batch": first["batch"], "worker": "w", "returns": [answer(first["tasks"][0])]})
say({"workers": [{"address": "v", "threads": 1}, {"address": "w", "threads": 1}]})
whole = order()
ended, slow, *left = whole["tasks"]
said = {"batch": whole["batch"], "worker": "w", "left": [key for key, _ in left]}
say({**said, "returns": [answer(ended)], "more": True})
rest = order()
assert rest["first"] and not whole["first"] and rest["tasks"] == left and not rest["avoid"], rest
say({"batch": rest["batch"], "worker": "v", "returns": [answer(task) for task in rest["tasks"]]})
say({**said, "returns": [answer(ended), answer(slow)]})
sys.stdin.read()
`)
	tasks, results := make(chan jobs.Task, 6), make(chan jobs.Result, 12)
	for n := range cap(tasks) {
		tasks <- jobs.Task{Key: strings.Repeat(strconv.Itoa(n+1), 64), Sim: contracts.SimTask{Entrypoint: "model/baseline"}}
	}
	close(tasks)
	if err := e.Run(t.Context(), tasks, results); err != nil {
		t.Fatal(err)
	}
	close(results)
	var got []string
	for r := range results {
		if r.Return.Error.Code != contracts.CodeModel {
			t.Errorf("%s: %v", r.Task.Key, r.Return.Error)
		}
		got = append(got, r.Task.Key[:1])
	}
	if diff := cmp.Diff([]string{"1", "2", "4", "5", "6", "3"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A task that is too large for bundle-worker is an error of its own.
func TestLargeTask(t *testing.T) {
	e := bridging(t, "sys.stdin.readline()\nready()\nsys.stdin.read()\n")
	results := make(chan jobs.Result, 1)
	if err := e.Run(t.Context(), oneTask(strings.Repeat("x", documentMost)), results); err != nil {
		t.Fatal(err)
	}
	if got := <-results; got.Return.Error.Code != contracts.CodeUnsupported || !strings.Contains(got.Return.Error.Message, "64 MiB") {
		t.Errorf("%v", got.Return.Error)
	}
}

// While it waits for a cluster, it says so.
func TestWaiting(t *testing.T) {
	e := bridging(t, "sys.stdin.readline()\nsay({'waiting': 'the scheduler has no workers'})\nsys.stdin.read()\n")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx, oneTask("model/baseline"), nil) }()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for e.Waiting() == nil {
		select {
		case <-ticker.C:
		case err := <-ended:
			t.Fatal(err)
		}
	}
	if got := e.Waiting(); got.For != "the scheduler has no workers" || got.Until == "" {
		t.Errorf("%+v", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Cancelling ends a write that the bridge does not take.
func TestCancelWhileWriting(t *testing.T) {
	e := bridging(t, "sys.stdin.readline()\nready()\np = select.poll()\np.register(0, 0)\np.poll()\n") // until it is hung up on
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("cancelled"))
	defer cancel()
	if err := e.Run(ctx, oneTask(strings.Repeat("x", 1<<20)), make(chan jobs.Result)); err == nil || err.Error() != "cancelled" {
		t.Errorf("%v", err)
	}
}
