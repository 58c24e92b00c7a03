//go:build unix

package runner_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/guard"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
)

const workerArgument = "__worker" // the test binary as a worker that will be killed

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workerArgument {
		os.Exit(worker(os.Args[2]))
	}
	os.Exit(m.Run())
}

// worker runs a shell script and waits, until somebody kills it.
func worker(script string) int {
	s := supervisor(time.Second)
	p, err := s.Start(runner.Spec{Path: "/bin/sh", Args: []string{"-c", script}, Dir: "/", Env: os.Environ(), Stdout: os.Stdout})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p.Wait()
	return 0
}

func supervisor(grace time.Duration) *runner.Supervisor {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return runner.NewSupervisor(program, grace)
}

func start(t *testing.T, s *runner.Supervisor, script string) *runner.Process {
	t.Helper()
	p, err := s.Start(runner.Spec{
		Path: "/bin/sh", Args: []string{"-c", script}, Dir: t.TempDir(),
		Env: []string{"PATH=" + os.Getenv("PATH")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	return p
}

func TestExit(t *testing.T) {
	s := supervisor(time.Second)
	for script, want := range map[string]runner.Exit{
		"exit 0":                        {},
		"exit 7":                        {Code: 7},
		"exit 137":                      {Code: 137},
		"kill -SEGV $$":                 {Signal: syscall.SIGSEGV},
		"kill -KILL $$":                 {Signal: syscall.SIGKILL},
		"(sleep 1000 &) ; exit 3":       {Code: 3},
		"trap '' TERM; (exit 9) ; exit": {Code: 9},
	} {
		t.Run(script, func(t *testing.T) {
			got := start(t, s, script).Wait()
			got.Core = false
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStartNamesAProgramThatCannotRun(t *testing.T) {
	s := supervisor(time.Second)
	_, err := s.Start(runner.Spec{Path: "/nonexistent/model", Dir: "/"})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/model: no such file") {
		t.Errorf("got %v", err)
	}
}

// TestNothingOutlivesTheProcess has a process leave others behind in every way it can.
func TestNothingOutlivesTheProcess(t *testing.T) {
	s := supervisor(200 * time.Millisecond)
	ways := map[string]string{
		"child in the background":      `sleep 1000 & echo $! >&3`,
		"daemon with its own session":  `setsid sh -c 'echo $$ >&3; exec sleep 1000' & `,
		"daemon twice removed":         `setsid sh -c '(setsid sh -c "echo \$\$ >&3; exec sleep 1000" &) ; exit' ; `,
		"daemon without environment":   `env -i setsid sh -c 'echo $$ >&3; exec sleep 1000' & `,
		"child that ignores the end":   `sh -c 'trap "" TERM; echo $$ >&3; while :; do sleep 1000; done' & `,
		"child that keeps the streams": `sh -c 'echo $$ >&3; exec sleep 1000' & `,
	}
	ends := map[string]struct {
		script string
		end    func(*runner.Process)
	}{
		"it ends":    {"exit 0", func(p *runner.Process) { p.Wait() }},
		"it stops":   {"trap '' TERM; sleep 1000", func(p *runner.Process) { p.Stop() }},
		"is killed":  {"kill -STOP $$; sleep 1000", func(p *runner.Process) { p.Kill() }},
		"is stopped": {"kill -STOP $$; sleep 1000", func(p *runner.Process) { p.Stop() }},
	}
	for way, leave := range ways {
		for how, end := range ends {
			t.Run(way+", "+how, func(t *testing.T) {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				gate, open := newGate(t)
				p, err := s.Start(runner.Spec{
					Path: "/bin/sh", Args: []string{"-c", leave + "\nread go <&4\n" + end.script}, Dir: "/",
					Env: []string{"PATH=" + os.Getenv("PATH")}, Files: []*os.File{w, gate},
				})
				w.Close()
				if err != nil {
					t.Fatal(err)
				}
				line, err := bufio.NewReader(r).ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				pid, err := strconv.Atoi(strings.TrimSpace(line))
				if err != nil {
					t.Fatal(err)
				}
				open()
				end.end(p)
				if alive(pid) {
					t.Errorf("process %d is still there", pid)
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				if alive(p.Pid) {
					t.Error("the process itself is still there")
				}
			})
		}
	}
}

// newGate is a file whose first line can be read once it is opened.
func newGate(t *testing.T) (gate *os.File, open func()) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, func() {
		if _, err := io.WriteString(w, "go\n"); err != nil {
			t.Error(err)
		}
	}
}

func alive(pid int) bool {
	state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !fileExists("/proc/self/stat")
	}
	return !strings.Contains(string(state), ") Z ")
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestWorkerKilled kills the worker itself with SIGKILL, and its guard in a second turn.
func TestWorkerKilled(t *testing.T) {
	const script = `setsid sh -c 'echo $$; exec sleep 1000' & sh -c 'echo $$; exec sleep 1000' & echo $$; echo $PPID; wait`
	for _, victim := range []string{"worker", "guard"} {
		t.Run(victim, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], workerArgument, script)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pids []int
			lines := bufio.NewScanner(out)
			for len(pids) < 4 && lines.Scan() {
				pid, err := strconv.Atoi(lines.Text())
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
			if victim == "worker" {
				err = cmd.Process.Kill()
			} else {
				err = syscall.Kill(guardOf(t, cmd.Process.Pid, pids), syscall.SIGKILL)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, out) // ends when everybody who holds it is gone
			_ = cmd.Wait()
			eventually(t, func() bool {
				for _, pid := range pids {
					if alive(pid) {
						return false
					}
				}
				return true
			})
		})
	}
}

// guardOf is the one of pids whose parent is the worker.
func guardOf(t *testing.T, worker int, pids []int) int {
	t.Helper()
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err == nil && strings.Contains(string(stat), "PPid:\t"+strconv.Itoa(worker)+"\n") {
			return pid
		}
	}
	t.Fatal("no guard among the processes")
	return 0
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("it did not come to that")
		case <-tick.C:
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	s := supervisor(time.Second)
	p := start(t, s, `echo first; head -c 104857600 /dev/zero; printf 'tail \033[31m\377\n' >&2`)
	p.Wait()
	text := p.Output.Text()
	if len(text) > 64<<10 {
		t.Errorf("%d bytes are kept", len(text))
	}
	if !strings.HasPrefix(text, "first\n") || !strings.HasSuffix(text, "tail \x1b[31m\\xff\n") {
		t.Errorf("beginning %q, end %q", text[:20], text[len(text)-20:])
	}
	if want := strconv.Itoa(100<<20 + 6 + 12 - 64<<10); !strings.Contains(text, "[… "+want+" bytes left out …]") {
		t.Errorf("it does not say that %s bytes are missing", want)
	}
}

func TestOutputOfOneTaskAtATime(t *testing.T) {
	s := supervisor(time.Second)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	gate, open := newGate(t)
	p, err := s.Start(runner.Spec{
		Path: "/bin/sh", Args: []string{"-c", `echo one; echo . >&3; read go <&4; echo two`}, Dir: "/",
		Files: []*os.File{w, gate},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(r)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.Output.Sync()
	if text := p.Output.Text(); !strings.HasPrefix(text, "one\n") {
		t.Errorf("what was written before the answer is %q", text)
	}
	p.Output.Reset()
	open()
	p.Wait()
	if text := p.Output.Text(); text != "two\n" {
		t.Errorf("after a reset it is %q", text)
	}
}

func TestEnviron(t *testing.T) {
	own := []string{
		"PATH=/bin", "LANG=C.UTF-8", "LC_ALL=C", "TZ=UTC", "MKL_NUM_THREADS=4", "LD_LIBRARY_PATH=/opt/lib",
		"REGISTRY_PASSWORD=canary", "REGISTRY_USERNAME=canary", "AZURE_STORAGE_CONNECTION_STRING=canary", "GITHUB_TOKEN=canary",
		"AZURE_CLIENT_SECRET=canary", "AWS_SECRET_ACCESS_KEY=canary", "MODELOPS_BUNDLE_REGISTRY=canary", "PIP_INDEX_URL=canary",
		"PYTHONPATH=canary", "PYTHONSTARTUP=canary", "LD_PRELOAD=canary", "HOME=canary", "DOCKER_CONFIG=canary", "SSH_AUTH_SOCK=canary",
		"HTTPS_PROXY=canary", "KUBECONFIG=canary",
	}
	want := []string{
		"BLIS_NUM_THREADS=2", "GOTO_NUM_THREADS=2", "HOME=/h", "JULIA_NUM_THREADS=2", "LANG=C.UTF-8", "LC_ALL=C",
		"LD_LIBRARY_PATH=/opt/lib", "LOKY_MAX_CPU_COUNT=2", "MC_CORES=2", "MKL_NUM_THREADS=2", "NUMBA_NUM_THREADS=2",
		"NUMEXPR_NUM_THREADS=2", "OMP_NUM_THREADS=2", "OPENBLAS_NUM_THREADS=2", "PATH=/bin", "POLARS_MAX_THREADS=2",
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONFAULTHANDLER=1", "PYTHONHASHSEED=0", "PYTHONNOUSERSITE=1", "PYTHONUNBUFFERED=1",
		"PYTHONUTF8=1", "PYTHON_CPU_COUNT=2", "RAYON_NUM_THREADS=2", "TF_NUM_INTEROP_THREADS=2", "TF_NUM_INTRAOP_THREADS=2",
		"TZ=UTC", "VECLIB_MAXIMUM_THREADS=2",
	}
	if diff := cmp.Diff(want, runner.Environ(own, 2, map[string]string{"HOME": "/h"})); diff != "" {
		t.Error(diff)
	}
	unstated := runner.Environ(own, 0, nil)
	for _, want := range []string{"MKL_NUM_THREADS=4", "OMP_NUM_THREADS=1"} {
		if !slices.Contains(unstated, want) {
			t.Errorf("without cores there is no %s in %q", want, unstated)
		}
	}
}

// TestProcessHasNothingElse looks at a process from within: its descriptors and its
// environment.
func TestProcessHasNothingElse(t *testing.T) {
	t.Setenv("REGISTRY_PASSWORD", "canary")
	s := supervisor(time.Second)
	p := start(t, s, `env; cat /proc/$PPID/environ /proc/$PPID/cmdline | tr '\0' ' '; echo; echo descriptors:; exec ls /proc/self/fd`)
	p.Wait()
	text := p.Output.Text()
	if strings.Contains(text, "canary") {
		t.Errorf("a secret is in\n%s", text)
	}
	_, descriptors, _ := strings.Cut(text, "descriptors:\n")
	if !slices.Equal(strings.Fields(descriptors), []string{"0", "1", "2", "3"}) { // the last is what ls reads
		t.Errorf("its descriptors are\n%s", text)
	}
}

func TestScratchIsRemovedWhateverIsInIt(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	scratch, err := runner.NewScratch()
	if err == nil {
		err = scratch.Make()
	}
	if err != nil {
		t.Fatal(err)
	}
	task, err := scratch.Task()
	if err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(task.Temp, "a", "b")
	if err := os.MkdirAll(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(locked, "f"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{locked, filepath.Dir(locked)} {
		if err := os.Chmod(dir, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := task.Remove(); err != nil {
		t.Error(err)
	}
	if err := scratch.Remove(); err != nil {
		t.Error(err)
	}
	if fileExists(scratch.Dir) {
		t.Error("it is still there")
	}
}

// Whatever a task leaves, the next one's directories have other paths and are empty.
func TestScratchOfTheNextTask(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for name, leave := range map[string]func(task *runner.Task) error{
		"nothing":                 func(task *runner.Task) error { return nil },
		"a file":                  func(task *runner.Task) error { return os.WriteFile(filepath.Join(task.Home, "f"), nil, 0o600) },
		"a file beside them":      func(task *runner.Task) error { return os.WriteFile(filepath.Join(task.Dir, "f"), nil, 0o600) },
		"a directory":             func(task *runner.Task) error { return os.Mkdir(filepath.Join(task.Output, "d"), 0o700) },
		"a missing one":           func(task *runner.Task) error { return os.Remove(task.Output) },
		"one nobody may write to": func(task *runner.Task) error { return os.Chmod(task.Temp, 0o500) },
		"a link in place of one":  func(task *runner.Task) error { return errors.Join(os.Remove(task.Temp), os.Symlink("/", task.Temp)) },
		"a file in place of one": func(task *runner.Task) error {
			return errors.Join(os.Remove(task.Temp), os.WriteFile(task.Temp, nil, 0o700))
		},
		"nothing of the directory": func(task *runner.Task) error { return os.RemoveAll(task.Dir) },
	} {
		t.Run(name, func(t *testing.T) {
			scratch, err := runner.NewScratch()
			if err == nil {
				err = scratch.Make()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = scratch.Remove() }()
			first, err := scratch.Task()
			if err != nil {
				t.Fatal(err)
			}
			if err := leave(first); err != nil {
				t.Fatal(err)
			}
			if err := first.Remove(); err != nil {
				t.Fatal(err)
			}
			second, err := scratch.Task()
			if err != nil {
				t.Fatal(err)
			}
			if second.Dir == first.Dir || fileExists(first.Dir) {
				t.Errorf("%s is the directory of two tasks, or still there", first.Dir)
			}
			for _, dir := range []string{second.Temp, second.Home, second.Output} {
				info, err := os.Lstat(dir)
				if err != nil || info.Mode() != os.ModeDir|0o700 {
					t.Errorf("%s: %v, %v", dir, info, err)
				}
				if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
					t.Errorf("%s has %v, %v", dir, entries, err)
				}
			}
		})
	}
}

// TestGuardIsInitialisedEarly has a program that links far more be a guard, and looks which
// packages were initialised until then.
func TestGuardIsInitialisedEarly(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, guard.Argument)
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	out, _ := cmd.CombinedOutput() // without the number of descriptors it ends at once
	var packages []string
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "init" {
			packages = append(packages, words[1])
		}
	}
	if !slices.Contains(packages, "os") {
		t.Fatalf("it does not say what was initialised:\n%s", out)
	}
	for _, late := range []string{"reflect", "testing", "regexp", "encoding/json", "github.com/google/go-cmp/cmp"} {
		if slices.Contains(packages, late) {
			t.Errorf("%s is initialised before the guard", late)
		}
	}
}
