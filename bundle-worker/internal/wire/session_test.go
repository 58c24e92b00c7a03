//go:build unix

package wire

import (
	"context"
	"errors"
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

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == runner.GuardArgument {
		os.Exit(runner.Guard(os.Args[2:]))
	}
	os.Exit(m.Run())
}

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

// TestErrorsAreTheModelsOwn has the wire do what goes wrong, in one process as far as it
// survives.
func TestErrorsAreTheModelsOwn(t *testing.T) {
	const wire = `
import os, sys, signal, subprocess, threading, time
def deep(): raise ValueError("beta is negative")
def wire(entrypoint, params, seed):
    print("about to fail")
    exec(params["do"], globals(), locals())
    return {"x": b""}
`
	for name, test := range map[string]struct {
		do        string
		code      contracts.Code
		typ       string
		message   string
		traceback string
		hint      string
		dead      bool
	}{
		"exception":       {do: `deep()`, code: contracts.CodeModel, typ: "ValueError", message: "beta is negative", traceback: "in deep"},
		"missing module":  {do: `import starsim`, code: contracts.CodeImport, typ: "ModuleNotFoundError", message: "No module named 'starsim'", traceback: "ModuleNotFoundError", hint: `"starsim"`},
		"masked module":   {do: "try:\n  import starsim.x\nexcept ImportError:\n  {}['incidence']", code: contracts.CodeModel, typ: "KeyError", message: "'incidence' (first: ModuleNotFoundError: No module named 'starsim')", traceback: "During handling", hint: ""},
		"caused by":       {do: "try:\n  import starsim\nexcept ImportError as e:\n  raise RuntimeError('no model') from e", code: contracts.CodeImport, typ: "RuntimeError", message: "no model (first: ModuleNotFoundError: No module named 'starsim')", hint: `"starsim"`},
		"sys.exit":        {do: `sys.exit(3)`, code: contracts.CodeExit, typ: "SystemExit", message: "the model called sys.exit(3) instead of answering"},
		"sys.exit(0)":     {do: `sys.exit()`, code: contracts.CodeExit, typ: "SystemExit", message: "the model called sys.exit() instead"},
		"interrupt":       {do: `raise KeyboardInterrupt`, code: contracts.CodeModel, typ: "KeyboardInterrupt", message: "KeyboardInterrupt"},
		"memory":          {do: `bytearray(1 << 60)`, code: contracts.CodeModel, typ: "MemoryError", message: "MemoryError"},
		"recursion":       {do: "f = lambda: g()\ng = lambda: f()\nglobals().update(f=f, g=g)\nf()", code: contracts.CodeModel, typ: "RecursionError", message: "maximum recursion depth"},
		"text of error":   {do: "class E(Exception):\n  def __str__(self): raise ValueError\nraise E", code: contracts.CodeModel, typ: "E", message: "(its text could not be had: ValueError)"},
		"surrogates":      {do: `raise ValueError('a\udc80b')`, code: contracts.CodeModel, typ: "ValueError", message: "a\ufffdb"},
		"long text":       {do: `raise ValueError('x' * 10_000_000)`, code: contracts.CodeModel, typ: "ValueError", message: "[...]"},
		"os._exit":        {do: `os._exit(0)`, code: contracts.CodeExit, message: "ended with exit code 0 before it answered", dead: true},
		"os._exit(7)":     {do: `os._exit(7)`, code: contracts.CodeExit, message: "exit code 7", dead: true},
		"segfault":        {do: `os.kill(os.getpid(), signal.SIGSEGV)`, code: contracts.CodeSignal, message: "SIGSEGV", dead: true},
		"abort":           {do: `os.abort()`, code: contracts.CodeSignal, message: "SIGABRT", dead: true},
		"killed":          {do: `os.kill(os.getpid(), signal.SIGKILL)`, code: contracts.CodeSignal, message: "SIGKILL", dead: true},
		"guard killed":    {do: `os.kill(os.getppid(), signal.SIGKILL); time.sleep(1000)`, code: contracts.CodeSignal, message: "was lost", dead: true},
		"closes all":      {do: `os.closerange(3, 1024); time.sleep(1000)`, code: contracts.CodeProtocol, message: "closed", dead: true},
		"writes nonsense": {do: `os.write(201, b"Content-Length: 999999999999\r\n\r\n"); time.sleep(1000)`, code: contracts.CodeProtocol, message: "Content-Length is over the limit", dead: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := loaded(t, wire)
			_, e := run(t, s, doing(t, test.do))
			if e == nil {
				t.Fatal("no error")
			}
			if e.Code != test.code || e.Type != test.typ || !strings.Contains(e.Message, test.message) ||
				!strings.Contains(e.Traceback, test.traceback) || !strings.Contains(e.Hint, test.hint) {
				t.Errorf("got %s %s %.300q\n%.1000s\n%s", e.Code, e.Type, e.Message, e.Traceback, e.Hint)
			}
			if strings.Contains(e.Traceback, "harness.py") {
				t.Errorf("the traceback shows the harness:\n%s", e.Traceback)
			}
			if !strings.HasPrefix(e.StderrTail, "about to fail\n") {
				t.Errorf("its output is %.200q", e.StderrTail)
			}
			if len(e.Message) > 70_000 || len(e.Traceback) > 70_000 {
				t.Errorf("%d bytes of message, %d of traceback", len(e.Message), len(e.Traceback))
			}
			if s.Dead() != test.dead {
				t.Errorf("dead is %v", s.Dead())
			}
			if s.Dead() {
				return
			}
			if _, err := run(t, s, task(t, `{"do":"pass"}`, 1)); err != nil {
				t.Errorf("the next task: %+v", err)
			}
		})
	}
}

func TestOutputErrors(t *testing.T) {
	const wire = `
import os
def wire(entrypoint, params, seed):
    out = os.environ["MODELOPS_OUTPUT_DIR"]
    return eval(params["do"])
`
	for do, want := range map[string]string{
		`None`:                           "the wire answered None, not a dictionary",
		`[1]`:                            "a value of type list, not a dictionary",
		`{"a": 1}`:                       `output "a" is a value of type int, not bytes`,
		`{"a": None}`:                    `output "a" is None, not bytes`,
		`{"a": {"b": b"c"}}`:             `output "a" is a value of type dict, not bytes`,
		`{1: b""}`:                       "whose name is a value of type int",
		`{}`:                             "without an output",
		`{"": b""}`:                      "a name that is empty",
		`{"a\x1b[31m": b""}`:             `output "a\x1b[31m" has a name`,
		`{"../a": b""}`:                  "no relative path",
		`{"/a": b""}`:                    "no relative path",
		`{"a": b"x" * (1 << 20) + b"y"}`: "has 1048577 bytes, and may have 1048576",
		`{"a": "\udc80"}`:                `output "a" is text that is not valid Unicode`,
		`os.symlink("/etc/passwd", out + "/link") or {}`:           `output "link" is a symbolic link, not a regular file`,
		`os.symlink("/etc", out + "/dir") or {}`:                   `output "dir" is a symbolic link`,
		`os.mkfifo(out + "/pipe") or {}`:                           `output "pipe" is a pipe`,
		`open(out + "/a", "w").close() or {"a": b"twice"}`:         `output "a" is there twice`,
		`{"table": b"", "metadata": '{"error": "no such model"}'}`: "no such model",
	} {
		t.Run(do, func(t *testing.T) {
			s := loaded(t, wire)
			_, e := run(t, s, doing(t, do))
			if e == nil || e.Code != contracts.CodeOutput || !strings.Contains(e.Message, want) {
				t.Errorf("got %+v, want %q", e, want)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	for name, test := range map[string]struct {
		files   map[string]string
		target  string
		code    contracts.Code
		typ     string
		message string
		trace   string
	}{
		"missing module": {map[string]string{"wire.py": "print('importing')\nimport starsim\n"}, "wire.py:wire", contracts.CodeImport, "ModuleNotFoundError", "No module named 'starsim'", `wire.py", line 2`},
		"of a module":    {map[string]string{"wire.py": "from model import sir\n", "model/__init__.py": "", "model/sir.py": "import numpyy\n"}, "wire.py:wire", contracts.CodeImport, "ModuleNotFoundError", "No module named 'numpyy'", `sir.py", line 1`},
		"syntax":         {map[string]string{"wire.py": "def wire(:\n"}, "wire.py:wire", contracts.CodeImport, "SyntaxError", "invalid syntax", "def wire(:"},
		"raises":         {map[string]string{"wire.py": "1/0\n"}, "wire.py:wire", contracts.CodeImport, "ZeroDivisionError", "division by zero", "line 1"},
		"no function":    {map[string]string{"wire.py": "def run(e, p, s): pass\n"}, "wire.py:wire", contracts.CodeWireMissing, "", "wire.py has no wire", ""},
		"no file":        {nil, "pkg/w.py:wire", contracts.CodeWireMissing, "", "the bundle has no file pkg/w.py", ""},
		"no callable":    {map[string]string{"wire.py": "wire = 3\n"}, "wire.py:wire", contracts.CodeWireMissing, "", "is a value of type int and cannot be called", ""},
		"no module":      {nil, "pkg.wire:wire", contracts.CodeImport, "ModuleNotFoundError", "No module named 'pkg'", ""},
		"exits":          {map[string]string{"wire.py": "import sys; sys.exit(4)\n"}, "wire.py:wire", contracts.CodeExit, "SystemExit", "sys.exit(4)", ""},
		"kills itself":   {map[string]string{"wire.py": "import os; os._exit(5)\n"}, "wire.py:wire", contracts.CodeExit, "", "exit code 5", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				write(t, filepath.Join(dir, name), content)
			}
			e := contracts.AsError(open(t, dir).Load(t.Context(), test.target))
			if e == nil || e.Code != test.code || e.Type != test.typ || !strings.Contains(e.Message, test.message) || !strings.Contains(e.Traceback, test.trace) {
				t.Fatalf("got %+v", e)
			}
			if strings.Contains(e.Traceback, "harness.py") || strings.Contains(e.Traceback, "importlib") {
				t.Errorf("the traceback shows more than the model:\n%s", e.Traceback)
			}
			if name == "missing module" && e.StderrTail != "importing\n" {
				t.Errorf("its output is %q", e.StderrTail)
			}
		})
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

func TestTimeoutAndCancel(t *testing.T) {
	limit := errors.New("the limit")
	for name, do := range map[string]string{
		"sleeps":          `time.sleep(1000)`,
		"is busy":         "while True: pass",
		"stops itself":    `os.kill(os.getpid(), signal.SIGSTOP)`,
		"ignores SIGTERM": `signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)`,
		"has children":    `subprocess.Popen(["sleep", "1000"], start_new_session=True); time.sleep(1000)`,
		"has a thread":    `threading.Thread(target=time.sleep, args=(1000,)).start(); time.sleep(1000)`,
	} {
		t.Run(name, func(t *testing.T) {
			s := loaded(t, "import os, signal, subprocess, threading, time\ndef wire(e, p, seed):\n    print('started', flush=True)\n    "+do+"\n")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, limit)
			defer cancel()
			err := s.Run(ctx, task(t, `{}`, 1), &Collector{MaxOutput: 1})
			if !errors.Is(err, limit) {
				t.Errorf("got %v", err)
			}
			if !s.Dead() {
				t.Error("the process is still there")
			}
			if name == "sleeps" && !strings.Contains(s.Output(), `wire.py", line 4 in wire`) {
				t.Errorf("its output does not show where it was:\n%s", s.Output())
			}
		})
	}
}

func TestInfo(t *testing.T) {
	dir := bundle(t, "")
	write(t, filepath.Join(dir, "Some_Thing-1.2.dist-info", "entry_points.txt"), "[console_scripts]\nx = y:z\n\n[modelops.wire]\n# ours\nexecute = some.wire:run [extra]\n[other]\na=b:c\n")
	write(t, filepath.Join(dir, "old.egg-info", "PKG-INFO"), "Metadata-Version: 1.0\nName: old\nVersion: 0.9\n")
	info := open(t, dir).Info
	if info.Packages["some-thing"] != "1.2" || info.Packages["old"] != "0.9" {
		t.Errorf("packages are %v", info.Packages)
	}
	if diff := cmp.Diff([]Installed{{"execute", "some.wire:run", "some-thing"}}, info.EntryPoints); diff != "" {
		t.Error(diff)
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

func TestCollectorSpills(t *testing.T) {
	dir, from := t.TempDir(), t.TempDir()
	small, large := strings.Repeat("a,b\n1,2\n", 10), strings.Repeat("a,b\n1,2\n", 300_000)
	write(t, filepath.Join(from, "sub", "large.csv"), large)
	write(t, filepath.Join(from, "small"), small)
	c := &Collector{Dir: dir, MaxOutput: 1 << 30}
	if err := c.Directory(from); err != nil {
		t.Fatal(err)
	}
	if err := c.Bytes("again", []byte(large)); err != nil {
		t.Fatal(err)
	}
	outputs, err := c.Result()
	if err != nil {
		t.Fatal(err)
	}
	want := contracts.NewArtifact("text/csv", []byte(large))
	for _, name := range []string{"sub/large.csv", "again"} {
		got := outputs[name]
		if got.Ref != "file:"+want.Checksum || got.Checksum != want.Checksum || got.Size != want.Size || got.ContentType != "text/csv" || got.Inline != nil {
			t.Errorf("%s is %+v", name, got)
		}
	}
	if outputs["small"].Ref != "" {
		t.Error("a small output is not inline")
	}
	data, err := os.ReadFile(filepath.Join(dir, want.Checksum))
	if err != nil || string(data) != large {
		t.Errorf("%d bytes are stored: %v", len(data), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left: %v", len(entries), err)
	}
}

func TestCollectorKeepsWhatIsAskedFor(t *testing.T) {
	c := &Collector{MaxOutput: 10, Only: []string{"a"}}
	for _, name := range []string{"a", "b"} {
		if err := c.Bytes(name, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	outputs, err := c.Result()
	if err != nil || len(outputs) != 1 {
		t.Errorf("%v %v", outputs, err)
	}
	c.Only = []string{"a", "c"}
	_, err = c.Result()
	if e := contracts.AsError(err); e == nil || !strings.Contains(e.Message, `no output "c"; it answered "a, b"`) {
		t.Errorf("got %v", err)
	}
}

func TestCommand(t *testing.T) {
	for name, test := range map[string]struct {
		script  string
		outputs map[string]string
		code    contracts.Code
		message string
	}{
		"reads the task":        {script: `cat > "$MODELOPS_OUTPUT_DIR/task"; mkdir "$MODELOPS_OUTPUT_DIR/sub"; echo 1 > "$MODELOPS_OUTPUT_DIR/sub/x.csv"; echo log`, outputs: map[string]string{"sub/x.csv": "1\n"}},
		"ignores it":            {script: `echo 1 > "$MODELOPS_OUTPUT_DIR/a"`, outputs: map[string]string{"a": "1\n"}},
		"fails":                 {script: `echo why >&2; exit 9`, code: contracts.CodeExit, message: "exit code 9"},
		"is killed":             {script: `kill -TERM $$`, code: contracts.CodeSignal, message: "SIGTERM"},
		"no output":             {script: `true`, code: contracts.CodeOutput, message: "without an output"},
		"a link":                {script: `ln -s /etc/passwd "$MODELOPS_OUTPUT_DIR/a"`, code: contracts.CodeOutput, message: "symbolic link"},
		"reads nothing of ours": {script: `env | grep -i -E 'canary|registry' && exit 1; echo 1 > "$MODELOPS_OUTPUT_DIR/a"`, outputs: map[string]string{"a": "1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			collect := &Collector{MaxOutput: 1 << 20}
			l := CommandLaunch{Supervisor: supervisor(t), Command: []string{"./run.sh"}, Bundle: dir, Environ: append(os.Environ(), "REGISTRY_PASSWORD=canary")}
			output, err := RunCommand(t.Context(), l, task(t, `{"beta":0.5}`, 18446744073709551615), collect)
			var artifacts map[string]contracts.Artifact
			if err == nil {
				artifacts, err = collect.Result()
			}
			if e := contracts.AsError(err); test.code != "" {
				if e == nil || e.Code != test.code || !strings.Contains(e.Message, test.message) {
					t.Errorf("got %+v", e)
				}
				if name == "fails" && (e.StderrTail != "why\n" || output != "why\n") {
					t.Errorf("its output is %q", e.StderrTail)
				}
				return
			} else if e != nil {
				t.Fatalf("%+v\n%s", e, output)
			}
			if name == "reads the task" {
				got, err := contracts.ParseTask(artifacts["task"].Inline)
				if err == nil && (got.Seed != 18446744073709551615 || got.Params.Values["beta"].Text() != "0.5") {
					t.Errorf("the task was %s", artifacts["task"].Inline)
				}
				delete(artifacts, "task")
			}
			got := map[string]string{}
			for name, a := range artifacts {
				got[name] = string(a.Inline)
			}
			if diff := cmp.Diff(test.outputs, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCommandThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plain.sh"), "echo\n")
	if err := os.WriteFile(filepath.Join(dir, "interpreter.sh"), []byte("#!/nonexistent/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"no-such-program-here": `command "no-such-program-here" is not on this worker's PATH`,
		"./none":               "no such file",
		"./plain.sh":           "permission denied",
		"./interpreter.sh":     "no such file",
	} {
		_, err := RunCommand(t.Context(), CommandLaunch{Supervisor: supervisor(t), Command: []string{command}, Bundle: dir}, task(t, `{}`, 1), &Collector{MaxOutput: 1})
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeDependencies || !strings.Contains(e.Message, want) || e.Hint == "" {
			t.Errorf("%s: %+v", command, e)
		}
	}
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
