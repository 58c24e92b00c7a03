//go:build unix

package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// workerVariable makes the test binary a worker; its value is a directory for notes.
const workerVariable = "PROCESS_TEST_WORKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(workerVariable); dir != "" {
		actAsWorker(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// actAsWorker speaks the worker's protocol. The parameter "do" says what goes wrong.
func actAsWorker(dir string) {
	note := func(name string) bool {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = f.Close()
		}
		return err == nil
	}
	note("pid-" + strconv.Itoa(os.Getpid()))
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		task, err := contracts.ParseTask(in.Bytes())
		if err != nil {
			panic(err)
		}
		key := task.Key(content)
		result := &contracts.SimReturn{TaskID: key, Outputs: map[string]contracts.Artifact{"pid": contracts.NewArtifact("text/plain", []byte(strconv.Itoa(os.Getpid())))}}
		if task.Evaluates() {
			result.Outputs, result.Evaluation = map[string]contracts.Artifact{}, weigh(task)
		}
		first := note("seen-" + key)
		switch task.Params.Values["do"].Text() {
		case "die":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			<-time.After(time.Minute)
		case "die once":
			if first {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				<-time.After(time.Minute)
			}
		case "exit":
			fmt.Fprintln(os.Stderr, "the reason")
			os.Exit(3)
		case "envelope":
			_, _ = os.Stdout.Write(contracts.MarshalEnvelope(&contracts.Error{Code: contracts.CodeInvalidEnvironment, Message: "broken file"}))
			os.Exit(1)
		case "garbage":
			fmt.Println("hello")
			continue
		case "hang":
			child := exec.Command("sleep", "1000")
			if err := child.Start(); err != nil {
				panic(err)
			}
			note("child-" + strconv.Itoa(child.Process.Pid))
			select {}
		case "retryable":
			result.Outputs = map[string]contracts.Artifact{}
			result.Error = &contracts.Error{Code: contracts.CodeUnavailable, Message: "try again", Retryable: first}
		case "model":
			result.Outputs = map[string]contracts.Artifact{}
			result.Error = &contracts.Error{Code: contracts.CodeModel, Message: "no"}
		case "large":
			result.Outputs["large"] = contracts.NewArtifact("x/y", bytes.Repeat([]byte{'x'}, 3<<20))
		case "noise":
			for range 1 << 14 {
				fmt.Fprintln(os.Stderr, strings.Repeat("n", 100))
			}
		}
		line, err := json.Marshal(result)
		if err != nil {
			panic(err)
		}
		if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
			return
		}
	}
}

var content = contracts.DigestOf([]byte("content"))

type harness struct {
	t     *testing.T
	notes string
	e     *Executor
}

func newHarness(t *testing.T, processes int) *harness {
	t.Helper()
	h := &harness{t: t, notes: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.e = &Executor{Program: self, Environ: append(os.Environ(), workerVariable+"="+h.notes), Outputs: filepath.Join(t.TempDir(), "outputs"),
		Processes: processes, Log: slog.New(slog.DiscardHandler)}
	return h
}

func task(i int, do string) jobs.Task {
	values := contracts.Params{"i": contracts.IntValue(int64(i)), "do": contracts.StringValue(do)}
	sim := contracts.SimTask{Bundle: contracts.BundleRef{Repository: "m", Digest: content}, Entrypoint: "m.n/s", Seed: uint64(i),
		Params: contracts.TaskParams{ID: values.ID(), Values: values}}
	return jobs.Task{Key: sim.Key(content), Sim: sim}
}

// run runs the tasks and returns their results by key.
func (h *harness) run(ctx context.Context, tasks ...jobs.Task) (map[string]*contracts.SimReturn, error) {
	h.t.Helper()
	in, out := make(chan jobs.Task), make(chan jobs.Result)
	done := make(chan error, 1)
	go func() { done <- h.e.Run(ctx, in, out); close(out) }()
	go func() {
		defer close(in)
		for _, task := range tasks {
			select {
			case in <- task:
			case <-ctx.Done():
				return
			}
		}
	}()
	results := map[string]*contracts.SimReturn{}
	for r := range out {
		if _, twice := results[r.Task.Key]; twice {
			h.t.Errorf("task %s has two results", r.Task.Key)
		}
		results[r.Task.Key] = r.Return
	}
	return results, <-done
}

// noted are the notes that begin with a prefix, without it.
func (h *harness) noted(prefix string) []string {
	h.t.Helper()
	entries, err := os.ReadDir(h.notes)
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if rest, ok := strings.CutPrefix(entry.Name(), prefix); ok {
			names = append(names, rest)
		}
	}
	return names
}

// gone waits until the processes that were noted are no more.
func (h *harness) gone(prefix string) {
	h.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for _, pid := range h.noted(prefix) {
		n, err := strconv.Atoi(pid)
		if err != nil {
			h.t.Fatal(err)
		}
		for syscall.Kill(n, 0) == nil && !zombie(n) {
			select {
			case <-ticker.C:
			case <-h.t.Context().Done():
				h.t.Fatalf("process %d is still there", n)
			}
		}
	}
}

// zombie says whether a process is dead and only its parent has not noticed: the test's
// container may have no init that would.
func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(data), ") ")
	return err == nil && strings.HasPrefix(after, "Z")
}

func TestRun(t *testing.T) {
	h := newHarness(t, 3)
	var tasks []jobs.Task
	for i := range 200 {
		tasks = append(tasks, task(i, "succeed"))
	}
	results, err := h.run(t.Context(), tasks...)
	if err != nil || len(results) != 200 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, task := range tasks {
		if r := results[task.Key]; r == nil || r.Error != nil || r.TaskID != task.Key {
			t.Fatalf("task %d: %+v", task.Sim.Seed, r)
		}
	}
	if n := len(h.noted("pid-")); n == 0 || n > 3 {
		t.Errorf("%d worker processes, want at most 3", n)
	}
	h.gone("pid-")
}

func TestFaults(t *testing.T) {
	for do, want := range map[string]struct {
		code      contracts.Code
		says      string
		processes int
	}{
		"succeed":   {"", "", 1},
		"large":     {"", "", 1},
		"noise":     {"", "", 1},
		"model":     {contracts.CodeModel, "no", 1},
		"die":       {contracts.CodeSignal, "signal 9", 2},
		"die once":  {"", "", 2},
		"exit":      {contracts.CodeWorkerStopped, "exit code 3", 2},
		"envelope":  {contracts.CodeInvalidEnvironment, "broken file", 1},
		"garbage":   {contracts.CodeProtocol, "answer", 1},
		"retryable": {contracts.CodeUnavailable, "try again", 1},
	} {
		t.Run(do, func(t *testing.T) {
			h := newHarness(t, 1)
			odd := task(1, do)
			results, err := h.run(t.Context(), odd)
			if err != nil || len(results) != 1 {
				t.Fatalf("%d results, %v", len(results), err)
			}
			r := results[odd.Key]
			if want.code == "" && r.Error != nil || want.code != "" && (r.Error == nil || r.Error.Code != want.code || !strings.Contains(r.Error.Message, want.says)) {
				t.Errorf("error = %+v, want %s saying %q", r.Error, want.code, want.says)
			}
			if do == "exit" && (r.Error == nil || !strings.Contains(r.Error.StderrTail, "the reason")) {
				t.Errorf("stderr is lost: %+v", r.Error)
			}
			if n := len(h.noted("pid-")); n != want.processes {
				t.Errorf("%d processes, want %d", n, want.processes)
			}
			h.gone("pid-")
		})
	}
}

// What happens to one task happens to no other.
func TestFaultsAmongOthers(t *testing.T) {
	h := newHarness(t, 2)
	var tasks []jobs.Task
	for i := range 60 {
		tasks = append(tasks, task(i, []string{"succeed", "die", "garbage", "die once", "exit", "succeed"}[i%6]))
	}
	results, err := h.run(t.Context(), tasks...)
	if err != nil || len(results) != 60 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, task := range tasks {
		if failed := results[task.Key].Error != nil; failed != (i%6 == 1 || i%6 == 2 || i%6 == 4) {
			t.Errorf("task %d: %+v", i, results[task.Key].Error)
		}
	}
}

// When the context ends, so do the workers and what is in their process groups.
func TestCancel(t *testing.T) {
	h := newHarness(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for len(h.noted("child-")) < 2 {
			<-ticker.C
		}
		cancel()
	}()
	results, err := h.run(ctx, task(1, "hang"), task(2, "hang"), task(3, "hang"))
	if !errors.Is(err, context.Canceled) || len(results) != 0 {
		t.Errorf("%d results, %v", len(results), err)
	}
	h.gone("pid-")
	h.gone("child-")
}

func TestCannotStart(t *testing.T) {
	h := newHarness(t, 2)
	h.e.Program = filepath.Join(t.TempDir(), "absent")
	results, err := h.run(t.Context(), task(1, ""), task(2, ""))
	if e := contracts.AsError(err); e == nil || !strings.Contains(e.Message, "absent") || len(results) != 0 {
		t.Errorf("%d results, %v", len(results), err)
	}
}

// When the driver is killed, the workers go too: Linux tells them, elsewhere their input
// ends.
func TestDriverKilled(t *testing.T) {
	notes := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	driver := exec.Command(self, "-test.run=^TestActAsDriver$")
	driver.Env = append(os.Environ(), driverVariable+"="+notes)
	if err := driver.Start(); err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, notes: notes}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for len(h.noted("child-")) < 2 {
		<-ticker.C
	}
	if err := driver.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = driver.Wait()
	h.gone("pid-")
	for _, pid := range h.noted("child-") { // the real worker sees to these
		n, _ := strconv.Atoi(pid)
		_ = syscall.Kill(n, syscall.SIGKILL)
	}
}

const driverVariable = "PROCESS_TEST_DRIVER"

// TestActAsDriver is what TestDriverKilled kills.
func TestActAsDriver(t *testing.T) {
	notes := os.Getenv(driverVariable)
	if notes == "" {
		return
	}
	h := newHarness(t, 2)
	h.notes = notes
	h.e.Environ = append(os.Environ(), workerVariable+"="+notes)
	_, _ = h.run(t.Context(), task(1, "hang"), task(2, "hang"))
}

func TestTail(t *testing.T) {
	var lines bytes.Buffer
	w := &tail{log: slog.New(slog.NewTextHandler(&lines, nil))}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 2000 {
			fmt.Fprintf(w, "%060d\n", i)
		}
	})
	wg.Wait()
	if s := w.String(); len(s) != maxTail || !strings.HasSuffix(s, fmt.Sprintf("%060d\n", 1999)) {
		t.Errorf("tail has %d bytes", len(s))
	}
	if n := strings.Count(lines.String(), "\n"); n != 2000 {
		t.Errorf("%d lines in the log, want 2000", n)
	}
}
