//go:build unix

package dask

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		"b = json.loads(sys.stdin.readline())\nsay({'batch': b['batch'], 'returns': [['"+key+"', {'task_id': '"+key+"', 'bundle': 'b@sha256:"+key+"', 'outputs': {}, 'error': {'code': 'model_error', 'stage': 'run', 'message': 'no'}}, None]]})\nsys.stdin.read()\n")
	results := make(chan jobs.Result, 1)
	if err := e.Run(t.Context(), oneTask("model/baseline"), results); err != nil {
		t.Fatal(err)
	}
	if got := <-results; got.Return.Error.Code != contracts.CodeModel {
		t.Errorf("%+v", got.Return.Error)
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
