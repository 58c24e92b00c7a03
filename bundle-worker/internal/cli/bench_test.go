//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
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

// BenchmarkStart starts the program, and oras beside it.
func BenchmarkStart(b *testing.B) {
	oras := filepath.Join(os.Getenv("MODELOPS_TEST_PEERS"), "oras")
	if _, err := os.Stat(oras); err != nil {
		b.Fatalf("MODELOPS_TEST_PEERS names no directory with oras: run make bench-worker: %v", err)
	}
	h := newHost(b)
	program, _ := realProgram(b, h)
	const rounds = 101
	var own, other []time.Duration
	for b.Loop() {
		for range rounds {
			own = append(own, runAll(b, &exec.Cmd{Path: program, Args: []string{"bundle-worker", "version"}, Env: h.environ}))
			other = append(other, runAll(b, &exec.Cmd{Path: oras, Args: []string{"oras", "version"}, Env: h.environ}))
		}
	}
	b.ReportMetric(quantile(own, 0.5).Seconds()*1e3, "start-ms")
	b.ReportMetric(float64(quantile(own, 0.5))/float64(quantile(other, 0.5)), "start×oras")
}

// BenchmarkEnsureLocal asks for a bundle that is there, and is held against the start of the
// program and twice what it takes to look at each file.
func BenchmarkEnsureLocal(b *testing.B) {
	for _, files := range []int{300, 20_000} {
		b.Run(strconv.Itoa(files), func(b *testing.B) {
			h := newHost(b)
			program, _ := realProgram(b, h)
			content := bundletest.Files{"wire.py": noOp}
			for i := range files - 1 {
				content[fmt.Sprintf("src/pkg%02d/file_%05d.txt", i%20, i)] = strconv.Itoa(i)
			}
			ref := bundletest.Push(b, h.registry, "my-model", content).String()
			ensure := func() time.Duration {
				return runAll(b, &exec.Cmd{Path: program, Args: []string{"bundle-worker", "ensure-local", "--quiet", ref}, Env: h.environ})
			}
			ensure() // fetches the bundle
			paths := h.filesIn("cache/bundles")
			if len(paths) != files {
				b.Fatalf("%d files are there", len(paths))
			}
			const rounds = 25
			var start, present, floor []time.Duration
			for b.Loop() {
				for range rounds {
					start = append(start, runAll(b, &exec.Cmd{Path: program, Args: []string{"bundle-worker", "version"}, Env: h.environ}))
					present = append(present, ensure())
					began := time.Now()
					for _, path := range paths {
						var st unix.Stat_t
						if err := unix.Lstat(path, &st); err != nil {
							b.Fatal(err)
						}
					}
					floor = append(floor, time.Since(began))
				}
			}
			bar := quantile(start, 0.5) + 2*quantile(floor, 0.5)
			for name, all := range map[string][]time.Duration{"start": start, "lstat": floor, "present": present} {
				b.ReportMetric(quantile(all, 0.5).Seconds()*1e3, name+"-ms")
			}
			b.ReportMetric(float64(quantile(present, 0.5))/float64(bar), "×(start+2lstat)")
		})
	}
}

// BenchmarkCrowd has 64 processes ask for one absent bundle of four files of 64 MiB, and
// one alone beside them: of a registry on the same machine, where that so many programs start
// takes its own time, and of one behind a link of 100 Mbit/s.
func BenchmarkCrowd(b *testing.B) {
	h := newHost(b)
	program, _ := realProgram(b, h)
	ref := bundletest.Push(b, h.registry, "my-model", incompressible(4, 64<<20))
	measure := func(b *testing.B, rounds int) {
		var alone, crowd, starts []time.Duration
		for b.Loop() {
			for range rounds {
				alone = append(alone, h.crowd(program, 1, ref))
				crowd = append(crowd, h.crowd(program, 64, ref))
				began := time.Now()
				var group sync.WaitGroup
				for range 64 {
					group.Go(func() { _ = exec.Command(program, "version").Run() })
				}
				group.Wait()
				starts = append(starts, time.Since(began))
			}
		}
		b.ReportMetric(quantile(alone, 0.5).Seconds()*1e3, "alone-ms")
		b.ReportMetric(quantile(starts, 0.5).Seconds()*1e3, "64starts-ms")
		b.ReportMetric(float64(quantile(crowd, 0.5))/float64(quantile(alone, 0.5)), "last×alone")
	}
	b.Run("loopback", func(b *testing.B) { measure(b, 5) })
	h.environment(h.link(100_000_000 / 8))
	b.Run("100Mbit", func(b *testing.B) { measure(b, 1) })
}

// link is a way to the registry that so many bytes come through in a second.
func (h *host) link(rate int) (host string) {
	h.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = listener.Close() })
	var one sync.Mutex
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", h.registry.Host)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go func() {
				defer near.Close()
				for part := make([]byte, 64<<10); ; {
					n, err := far.Read(part)
					one.Lock()
					time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
					one.Unlock()
					if _, writeErr := near.Write(part[:n]); err != nil || writeErr != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
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

// runAll runs a program, and is how long that took.
func runAll(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v", cmd.Args, err)
	}
	return time.Since(began)
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
