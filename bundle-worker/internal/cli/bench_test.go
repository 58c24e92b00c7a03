//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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

// BenchmarkColdStart runs a task in a new process of its bundle until its result is there:
// by exec, from that program's own start, and by serve. Beside them it runs the interpreter
// alone, which imports the same wire and prints what it answers.
func BenchmarkColdStart(b *testing.B) {
	h := newHost(b)
	program, python := realProgram(b, h)
	task := doing(h.push("my-model", noOp), "", 1)
	document, err := json.Marshal(task)
	if err != nil {
		b.Fatal(err)
	}
	exec1 := func() time.Duration {
		return runOnce(b, &exec.Cmd{Path: program, Args: []string{"bundle-worker", "exec", "--quiet"}, Env: h.environ, Stdin: bytes.NewReader(document)})
	}
	exec1() // fetches the bundle
	entries, err := filepath.Glob(h.path("cache/bundles/*/wire.py"))
	if err != nil || len(entries) != 1 {
		b.Fatalf("%v, %v", entries, err)
	}
	bare := func() time.Duration {
		cmd := exec.Command(python, "-c", "import json, wire; print(json.dumps(wire.wire('m.n/s', json.loads('{}'), 1)))")
		cmd.Dir, cmd.Env = filepath.Dir(entries[0]), []string{"PYTHONDONTWRITEBYTECODE=1"}
		return runOnce(b, cmd)
	}
	d := h.serve("--slots", "1", "--quiet")
	served := func() time.Duration {
		began := time.Now()
		d.run(task, "?process=cold")
		return time.Since(began)
	}
	served()
	const rounds = 41
	taken := map[string][]time.Duration{}
	for b.Loop() {
		for range rounds {
			taken["python"] = append(taken["python"], bare())
			taken["exec"] = append(taken["exec"], exec1())
		}
		for range rounds {
			taken["serve"] = append(taken["serve"], served())
			bare() // meanwhile the next process gets ready
		}
	}
	base := quantile(taken["python"], 0.5)
	for name, all := range taken {
		b.ReportMetric(quantile(all, 0.5).Seconds()*1e3, name+"-ms")
		b.ReportMetric(float64(quantile(all, 0.5))/float64(base), name+"×python")
	}
}

// runOnce runs a program, and is how long it took to print its first line.
func runOnce(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	began := time.Now()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	taken := time.Since(began)
	if err != nil || bytes.Contains(line, []byte(`"error"`)) {
		b.Fatalf("%v: %s", err, line)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return taken
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
