//go:build unix

package wire

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

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
	for name, test := range wrongs() {
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
		"shadows others": {map[string]string{"wire.py": "1/0\n", "traceback.py": "raise SystemError\n", "re.py": "", "types.py": "", "json.py": "x = 1\n"}, "wire.py:wire", contracts.CodeImport, "ZeroDivisionError", "division by zero", "line 1"},
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

// wrong is something that a wire does, and the error that must come of it.
type wrong struct {
	do        string
	code      contracts.Code
	typ       string
	message   string
	traceback string
	hint      string
	dead      bool
}

func wrongs() map[string]wrong {
	return map[string]wrong{
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
	}
}
