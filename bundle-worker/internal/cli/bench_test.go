//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

const noOp = "def wire(entrypoint, params, seed):\n    return {\"x\": str(seed)}\n"

// program is the real program, which is smaller than the tests', and a python3 that is the
// interpreter itself.
func realProgram(b *testing.B, h *host) (program, python string) {
	b.Helper()
	if dir := os.Getenv("MODELOPS_TEST_BIN"); dir != "" {
		program = filepath.Join(dir, "bundle-worker")
	} else {
		program = h.path("bundle-worker")
		if out, err := exec.Command("go", "build", "-o", program, "../../cmd/bundle-worker").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		b.Fatal(err)
	}
	python = strings.TrimSpace(string(out))
	return program, python
}

func quantile(all []time.Duration, q float64) time.Duration {
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))]
}

// BenchmarkColdStart runs a task from the program's start to the result's last byte, and
// beside it the interpreter alone, which imports the same wire and prints what it answers.
func BenchmarkColdStart(b *testing.B) {
	h := newHost(b)
	program, python := realProgram(b, h)
	task, err := json.Marshal(contracts.SimTask{Bundle: h.push("my-model", noOp), Entrypoint: "m.n/s", Params: contracts.TaskParams{ID: contracts.Params{}.ID(), Values: contracts.Params{}}, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	worker := func() {
		cmd := &exec.Cmd{Path: program, Args: []string{"bundle-worker", "exec", "--quiet"}, Env: h.environ, Stdin: bytes.NewReader(task)}
		out, err := cmd.Output()
		if result, parseErr := contracts.ParseReturn(out); err != nil || parseErr != nil || result.Error != nil {
			b.Fatalf("%v, %v: %s", err, parseErr, out)
		}
	}
	worker() // fetches the bundle
	entries, err := filepath.Glob(h.path("cache/bundles/*/wire.py"))
	if err != nil || len(entries) != 1 {
		b.Fatalf("%v, %v", entries, err)
	}
	bare := func() {
		cmd := exec.Command(python, "-c", "import json, wire; print(json.dumps(wire.wire('m.n/s', json.loads('{}'), 1)))")
		cmd.Dir, cmd.Env = filepath.Dir(entries[0]), []string{"PYTHONDONTWRITEBYTECODE=1"}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	const rounds = 41
	var ours, theirs []time.Duration
	for b.Loop() {
		for range rounds {
			began := time.Now()
			bare()
			theirs = append(theirs, time.Since(began))
			began = time.Now()
			worker()
			ours = append(ours, time.Since(began))
		}
	}
	o, t := quantile(ours, 0.5), quantile(theirs, 0.5)
	b.ReportMetric(float64(o)/float64(t), "×python")
	b.ReportMetric(o.Seconds()*1e3, "worker-ms")
	b.ReportMetric(t.Seconds()*1e3, "python-ms")
	b.ReportMetric(float64(quantile(ours, 0.1))/float64(quantile(theirs, 0.1)), "×python-p10")
}

// BenchmarkServeNoOp runs tasks that do nothing in a warm process, from the request's first
// byte to the answer's last.
func BenchmarkServeNoOp(b *testing.B) {
	h := newHost(b)
	ref := h.push("my-model", noOp)
	d := h.serve("--slots", "1", "--quiet")
	task := doing(ref, "", 1)
	d.run(task, "")
	const rounds = 2000
	var all []time.Duration
	for b.Loop() {
		for range rounds {
			began := time.Now()
			if a, err := d.post(b.Context(), task, ""); err != nil || a.status != 200 {
				b.Fatalf("%v: %s", err, a.body)
			}
			all = append(all, time.Since(began))
		}
	}
	b.ReportMetric(quantile(all, 0.5).Seconds()*1e3, "median-ms")
	b.ReportMetric(quantile(all, 0.99).Seconds()*1e3, "p99-ms")
}
