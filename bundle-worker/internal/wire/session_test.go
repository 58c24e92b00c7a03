//go:build unix

package wire

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

// python is the interpreter itself, not a script that finds it.
func python(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func supervisor(t testing.TB) *runner.Supervisor {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return runner.NewSupervisor(program, 300*time.Millisecond)
}

// bundle is a directory with a wire of these lines, whose parameters are the names.
func bundle(t testing.TB, wire string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "wire.py"), []byte(wire), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB, dir string) *Session {
	t.Helper()
	s, err := Start(t.Context(), Launch{Supervisor: supervisor(t), Interpreter: python(t), Bundle: dir, Environ: os.Environ(), Cores: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func loaded(t testing.TB, wire string) *Session {
	t.Helper()
	s := open(t, bundle(t, wire))
	if err := s.Load(t.Context(), "wire.py:wire"); err != nil {
		t.Fatal(err)
	}
	return s
}

func task(t testing.TB, params string, seed uint64) *contracts.SimTask {
	t.Helper()
	var values contracts.Params
	if err := values.UnmarshalJSON([]byte(params)); err != nil {
		t.Fatal(err)
	}
	return &contracts.SimTask{Entrypoint: "model.sir/baseline", Params: contracts.TaskParams{ID: values.ID(), Values: values}, Seed: seed}
}

// doing is a task whose parameter "do" is what the wire is to do.
func doing(t testing.TB, do string) *contracts.SimTask {
	t.Helper()
	text, err := contracts.StringValue(do).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return task(t, `{"do":`+string(text)+`}`, 1)
}

func run(t testing.TB, s *Session, task *contracts.SimTask) (map[string]contracts.Artifact, *contracts.Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	collect := &Collector{MaxOutput: 1 << 20}
	if err := s.Run(ctx, task, collect); err != nil {
		return nil, contracts.AsError(err)
	}
	outputs, err := collect.Result()
	return outputs, contracts.AsError(err)
}

func TestRunKeepsEveryValue(t *testing.T) {
	s := loaded(t, `
import json
def wire(entrypoint, params, seed):
    return {"seen": repr((entrypoint, sorted(params.items()), seed)), "types": json.dumps({k: type(v).__name__ for k, v in params.items()})}
`)
	params := `{"i":1,"f":1.0,"e":1e5,"big":18446744073709551616,"neg":-0.0,"t":true,"s":"é \u0000 \ud83d\ude00","tiny":5e-324}`
	outputs, err := run(t, s, task(t, params, 18446744073709551615))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	want := `('model.sir/baseline', [('big', 18446744073709551616), ('e', 100000.0), ('f', 1.0), ('i', 1), ('neg', -0.0), ('s', 'é \x00 😀'), ('t', True), ('tiny', 5e-324)], 18446744073709551615)`
	if diff := cmp.Diff(want, string(outputs["seen"].Inline)); diff != "" {
		t.Error(diff)
	}
}

func TestRunTakesEveryKindOfBytes(t *testing.T) {
	s := loaded(t, `
import os
def wire(entrypoint, params, seed):
    with open(os.path.join(os.environ["MODELOPS_OUTPUT_DIR"], "by-file.txt"), "w") as f:
        f.write("from a file")
    return {"a": b"bytes", "b": bytearray(b"bytearray"), "c": memoryview(b"view"), "d": "téxt", "empty": b"", "large": b"x" * 300_000}
`)
	outputs, err := run(t, s, task(t, `{}`, 1))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	got := map[string]string{}
	for name, a := range outputs {
		if err := a.Validate(); err != nil {
			t.Errorf("%s: %+v", name, err)
		}
		got[name] = string(a.Inline)
	}
	want := map[string]string{"a": "bytes", "b": "bytearray", "c": "view", "d": "téxt", "empty": "", "large": strings.Repeat("x", 300_000), "by-file.txt": "from a file"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadFindsWiresWhereverTheyAre(t *testing.T) {
	const body = "from __future__ import annotations\ndef wire(e, p, s): return {'name': __name__}\n"
	for target, test := range map[string]struct {
		files map[string]string
		name  string
	}{
		"wire.py:wire":             {map[string]string{"wire.py": body}, "wire"},
		"wire:wire":                {map[string]string{"wire.py": body}, "wire"},
		"pkg/w.py:wire":            {map[string]string{"pkg/__init__.py": "", "pkg/w.py": "from . import other\n" + body[len("from __future__ import annotations\n"):], "pkg/other.py": ""}, "pkg.w"},
		"src/pkg/w.py:wire":        {map[string]string{"src/pkg/__init__.py": "", "src/pkg/w.py": body}, "pkg.w"},
		"pkg.w:wire":               {map[string]string{"src/pkg/__init__.py": "", "src/pkg/w.py": body}, "pkg.w"},
		"json.py:wire":             {map[string]string{"json.py": body}, "modelops_wire"},
		"my-code/the-wire.py:wire": {map[string]string{"my-code/the-wire.py": body}, "modelops_wire"},
		"wire.py:Model.wire":       {map[string]string{"wire.py": "class Model:\n  @staticmethod\n  def wire(e, p, s): return {'name': 'of a class'}\n"}, "of a class"},
	} {
		t.Run(target, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				write(t, filepath.Join(dir, name), content)
			}
			s := open(t, dir)
			if err := s.Load(t.Context(), target); err != nil {
				t.Fatalf("%+v", err)
			}
			outputs, err := run(t, s, task(t, `{}`, 1))
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if got := string(outputs["name"].Inline); got != test.name {
				t.Errorf("its name is %s, want %s", got, test.name)
			}
		})
	}
}

// TestWhateverIsPrinted prints in every way, at import and in the task.
func TestWhateverIsPrinted(t *testing.T) {
	s := loaded(t, `
import os, subprocess, sys
print("import, print")
os.write(1, b"import, descriptor 1\n")
subprocess.run(["sh", "-c", "echo import, child; echo import, child 2 >&2"])
def wire(entrypoint, params, seed):
    print("task, print")
    os.write(1, b"Content-Length: 5\r\n\r\nhello\n")
    sys.__stdout__.write("task, __stdout__\n")
    subprocess.run(["sh", "-c", "echo task, child"])
    os.write(2, b"\xff\x00\x1b[31m\n")
    if seed == 1:
        sys.stdout = open(os.devnull, "w"); os.close(1); os.close(2)
    return {"x": b"1"}
`)
	for seed := range uint64(3) {
		if _, err := run(t, s, task(t, `{}`, seed)); err != nil {
			t.Fatalf("seed %d: %+v", seed, err)
		}
		want := "task, print\nContent-Length: 5\r\n\r\nhello\ntask, __stdout__\ntask, child\n\\xff\x00\x1b[31m\n"
		if diff := cmp.Diff(want, s.Output()); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
}

func TestMegabytesOfOutput(t *testing.T) {
	s := loaded(t, `
import os
def wire(entrypoint, params, seed):
    for _ in range(1600):
        os.write(1, b"o" * 65536)
        os.write(2, b"e" * 65536)
    return {"x": b"1"}
`)
	if _, err := run(t, s, task(t, `{}`, 1)); err != nil {
		t.Fatalf("%+v", err)
	}
	if text := s.Output(); len(text) > 64<<10 || !strings.Contains(text, "bytes left out") {
		t.Errorf("%d bytes are kept", len(text))
	}
}

func TestATaskLeavesNothingToTheNext(t *testing.T) {
	s := loaded(t, `
import json, os, tempfile
def wire(entrypoint, params, seed):
    seen = {"cwd": os.getcwd(), "secret": os.environ.get("LEFT"), "tmp": os.listdir(tempfile.gettempdir()),
            "home": os.listdir(os.path.expanduser("~")), "out": os.listdir(os.environ["MODELOPS_OUTPUT_DIR"])}
    tempfile.mkstemp(); open(os.path.expanduser("~/x"), "w").close()
    os.environ["LEFT"] = "1"; os.chdir("/"); del os.environ["PATH"]
    return {"seen": json.dumps(seen)}
`)
	var first string
	for range 3 {
		outputs, err := run(t, s, task(t, `{}`, 1))
		if err != nil {
			t.Fatalf("%+v", err)
		}
		seen := string(outputs["seen"].Inline)
		if first == "" {
			first = seen
		}
		if seen != first || !strings.Contains(seen, `"tmp": [], "home": [], "out": []`) {
			t.Errorf("a later task sees %s, the first %s", seen, first)
		}
	}
}

// A process that uses more memory than it may is killed with what it started, the task
// says so, and the next process of the same bundle works.
func TestMemory(t *testing.T) {
	launch := Launch{Supervisor: supervisor(t), Interpreter: python(t), Environ: os.Environ(), Memory: 100 << 20, Bundle: bundle(t, `
def wire(entrypoint, params, seed):
    exec(params["do"])
    return {"x": str(seed)}
`)}
	for range 2 {
		s, err := Start(t.Context(), launch)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if err := s.Load(t.Context(), "wire.py:wire"); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, s, doing(t, "pass")); err != nil || s.Exceeded() {
			t.Fatalf("%+v", err)
		}
		_, failed := run(t, s, doing(t, "import signal; print('growing'); kept = bytearray(b'x' * (300 << 20)); signal.pause()"))
		if failed == nil || failed.Code != contracts.CodeOutOfMemory || failed.Retryable || !strings.Contains(failed.StderrTail, "growing") {
			t.Errorf("got %+v", failed)
		}
		if !s.Dead() || !s.Exceeded() {
			t.Error("the session lives on")
		}
	}
}

func TestAForkThatComesBackIsNotAnAnswer(t *testing.T) {
	s := loaded(t, `
import os
def wire(entrypoint, params, seed):
    child = os.fork()
    return {"x": str(seed) if child else "the child's"}
`)
	for seed := range uint64(5) {
		outputs, err := run(t, s, task(t, `{}`, seed))
		if err != nil {
			t.Fatalf("%+v", err)
		}
		if got := string(outputs["x"].Inline); got != strconv.FormatUint(seed, 10) {
			t.Errorf("seed %d got %q", seed, got)
		}
	}
}

func TestInfo(t *testing.T) {
	dir := bundle(t, "")
	write(t, filepath.Join(dir, "Some_Thing-1.2.dist-info", "entry_points.txt"), "[console_scripts]\nx = y:z\n\n[modelops.wire]\n# ours\nexecute = some.wire:run [extra]\n[other]\na=b:c\n")
	write(t, filepath.Join(dir, "old.egg-info", "PKG-INFO"), "Metadata-Version: 1.0\nName: old\nVersion: 0.9\n")
	s := open(t, dir)
	info := s.Info
	if info.Packages["some-thing"] != "1.2" || info.Packages["old"] != "0.9" {
		t.Errorf("packages are %v", info.Packages)
	}
	installed, err := s.EntryPoints(t.Context())
	if diff := cmp.Diff([]Installed{{"execute", "some.wire:run", "some-thing"}}, installed); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if !strings.HasPrefix(info.Python, "3.") || !strings.Contains(info.Platform, "-") {
		t.Errorf("%+v", info)
	}
}

// TestEveryPython runs the harness with each interpreter that is installed here as
// pythonX.Y.
func TestEveryPython(t *testing.T) {
	dir := bundle(t, "def wire(e, p, s): return {'x': str(s)}\n")
	found := 0
	for minor := 9; minor < 20; minor++ {
		interpreter, err := exec.LookPath("python3." + strconv.Itoa(minor))
		if err != nil {
			continue
		}
		out, err := exec.Command(interpreter, "-c", "import sys; print(sys.executable)").Output()
		if err != nil {
			continue // a name without the program behind it
		}
		found++
		s, err := Start(t.Context(), Launch{Supervisor: supervisor(t), Interpreter: strings.TrimSpace(string(out)), Bundle: dir, Environ: os.Environ()})
		if err != nil {
			t.Fatalf("%s: %+v", interpreter, err)
		}
		if err := s.Load(t.Context(), "wire.py:wire"); err != nil {
			t.Errorf("%s: %+v", interpreter, err)
		}
		if _, err := run(t, s, task(t, `{}`, 1)); err != nil {
			t.Errorf("%s: %+v", interpreter, err)
		}
		s.Close()
	}
	t.Logf("%d interpreters", found)
}

func BenchmarkWarmNoOp(b *testing.B) {
	s := loaded(b, "def wire(e, p, s): return {'x': b'1'}\n")
	noop := task(b, `{"beta":0.5}`, 1)
	for b.Loop() {
		if err := s.Run(b.Context(), noop, &Collector{MaxOutput: 1 << 20}); err != nil {
			b.Fatal(err)
		}
	}
}
