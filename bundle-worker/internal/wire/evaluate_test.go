//go:build unix

package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

// withTargets opens a session of a bundle with these files.
func withTargets(t *testing.T, files map[string]string) *Session {
	t.Helper()
	dir := bundle(t, "def wire(e, p, s): return {'name': __name__}\n")
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir)
}

func evaluate(t *testing.T, s *Session, target string, replicates ...[]Input) (*contracts.Evaluation, *contracts.Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if replicates == nil {
		replicates = [][]Input{{{Name: "n", Data: []byte("3")}}, {{Name: "n", Data: []byte("5")}}}
	}
	got, err := s.Evaluate(ctx, target, replicates)
	if got != nil && got.Replicates != len(replicates) {
		t.Errorf("%s: %d replicates, want %d", target, got.Replicates, len(replicates))
	}
	return got, contracts.AsError(err)
}

const plainTargets = `
import os, sys
class Item:
    def __init__(self, value): self.value = value
    def item(self): return self.value
def mean(replicates):
    print("evaluated", len(replicates))
    return sum(int(r["n"]) for r in replicates) / len(replicates)
def order(replicates):
    return float("".join(r["n"].decode() for r in replicates))
def whole(replicates): return 7
def array(replicates): return Item(0.5)
def mapping(replicates): return {"loss": Item(1.5), "bias": -2, "undefined": float("nan")}
def nested(replicates): return {"loss": 1, "diagnostics": {"rmse": 2.5}}
def size(replicates): return sum(len(v) for r in replicates for v in r.values())
def where(replicates):
    assert os.path.samefile(os.getcwd(), os.path.dirname(os.path.dirname(__file__)))
    open(os.path.join(os.environ["TMPDIR"], "x"), "w").close()
    return 0
class Offset:
    def __init__(self, by): self.by = by
    def __call__(self, replicates): return self.by + len(replicates)
offset = Offset(10)

def nan(replicates): return float("nan")
def infinite(replicates): return {"loss": float("-inf")}
def huge(replicates): return 10 ** 400
def text(replicates): return "0.5"
def truth(replicates): return True
def nothing(replicates): pass
def pair(replicates): return (1, 2)
def lossless(replicates): return {"rmse": 1}
def worded(replicates): return {"loss": 1, "note": "good"}
def badname(replicates): return {"loss": 1, 2: 3}
def many(replicates): return {"loss": 1, **{"d%d" % i: i for i in range(1001)}}
def two(replicates, observed): return 1
def raises(replicates): raise ValueError("no data for day 3")
def missing(replicates): import nosuchmodule
def leaves(replicates): sys.exit(3)
def dies(replicates): os._exit(4)
not_callable = "text"
`

func TestEvaluate(t *testing.T) {
	s := withTargets(t, map[string]string{"fit/__init__.py": "", "fit/plain.py": plainTargets})
	for name, want := range map[string]contracts.Evaluation{
		"mean":    {Loss: 4},
		"order":   {Loss: 35},
		"whole":   {Loss: 7},
		"array":   {Loss: 0.5},
		"mapping": {Loss: 1.5, Diagnostics: map[string]float64{"bias": -2}},
		"nested":  {Loss: 1, Diagnostics: map[string]float64{"rmse": 2.5}},
		"where":   {Loss: 0},
		"offset":  {Loss: 12},
	} {
		got, err := evaluate(t, s, "fit.plain:"+name)
		if err != nil {
			t.Errorf("%s: %+v", name, err)
			continue
		}
		want.Replicates = 2
		if want.Diagnostics == nil {
			want.Diagnostics = map[string]float64{}
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := evaluate(t, s, "fit.plain:mean"); err != nil || !strings.Contains(s.Output(), "evaluated 2") {
		t.Errorf("what it prints is %q, %v", s.Output(), err)
	}
	// The wire is another matter.
	if err := s.Load(t.Context(), "wire.py:wire"); err != nil {
		t.Fatal(err)
	}
	if outputs, err := run(t, s, task(t, `{}`, 1)); err != nil || string(outputs["name"].Inline) != "wire" {
		t.Errorf("%v, %v", outputs, err)
	}
}

func TestEvaluateFiles(t *testing.T) {
	s := withTargets(t, map[string]string{"fit/__init__.py": "", "fit/plain.py": plainTargets})
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	inline := Input{Name: "small", Data: make([]byte, 1<<20)}
	got, err := evaluate(t, s, "fit.plain:size", []Input{{Name: "large", File: file}, inline, {Name: "empty", Data: []byte{}}}, []Input{})
	if err != nil || got.Loss != 4<<20 {
		t.Errorf("got %+v, %+v", got, err)
	}
}

func TestEvaluateFailures(t *testing.T) {
	s := withTargets(t, map[string]string{"fit/__init__.py": "", "fit/plain.py": plainTargets, "fit/broken.py": "import nosuchmodule\n"})
	for _, test := range []struct {
		target string
		code   contracts.Code
		says   string
	}{
		{"fit.plain:nan", contracts.CodeOutput, "its loss is nan, not a finite number"},
		{"fit.plain:infinite", contracts.CodeOutput, "its loss is -inf"},
		{"fit.plain:huge", contracts.CodeOutput, "its loss is inf"},
		{"fit.plain:text", contracts.CodeOutput, "its loss is a value of type str, not a number"},
		{"fit.plain:truth", contracts.CodeOutput, "type bool"},
		{"fit.plain:nothing", contracts.CodeOutput, "its loss is None"},
		{"fit.plain:pair", contracts.CodeOutput, "type tuple"},
		{"fit.plain:lossless", contracts.CodeOutput, "a mapping without loss"},
		{"fit.plain:worded", contracts.CodeOutput, `type str for "note"`},
		{"fit.plain:badname", contracts.CodeOutput, "whose name is 2"},
		{"fit.plain:many", contracts.CodeOutput, "1001 further numbers"},
		{"fit.plain:two", contracts.CodeOutput, "it takes (replicates, observed)"},
		{"fit.plain:not_callable", contracts.CodeOutput, "type str"},
		{"fit.plain:raises", contracts.CodeModel, "no data for day 3"},
		{"fit.plain:missing", contracts.CodeImport, "nosuchmodule"},
		{"fit.plain:leaves", contracts.CodeExit, "sys.exit(3)"},
		{"fit.plain:nosuch", contracts.CodeImport, "the module fit.plain has no nosuch"},
		{"fit.broken:f", contracts.CodeImport, "nosuchmodule"},
		{"nosuch.module:f", contracts.CodeImport, "nosuch"},
		{"fit.plain:dies", contracts.CodeExit, "exit code 4"},
	} {
		_, err := evaluate(t, s, test.target)
		if err == nil || err.Code != test.code || !strings.Contains(err.Message, test.says) || !strings.HasPrefix(err.Message, `target "`+test.target+`": `) {
			t.Errorf("%s: got %+v", test.target, err)
			continue
		}
		if test.code == contracts.CodeOutput && !strings.Contains(err.Hint, "a finite number") {
			t.Errorf("%s: hint %q", test.target, err.Hint)
		}
		if test.target == "fit.plain:raises" && (err.Type != "ValueError" || !strings.Contains(err.Traceback, "in raises")) {
			t.Errorf("got %+v", err)
		}
	}
	if !s.Dead() {
		t.Error("the process that ended is taken for alive")
	}
}

func TestEvaluateTimeLimit(t *testing.T) {
	s := withTargets(t, map[string]string{"fit/__init__.py": "", "fit/slow.py": "def f(replicates):\n    while True: pass\n"})
	late := &contracts.Error{Code: contracts.CodeTimeout, Message: "too slow"}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, late)
	defer cancel()
	_, err := s.Evaluate(ctx, "fit.slow:f", [][]Input{{}})
	if e := contracts.AsError(err); e.Code != contracts.CodeTimeout || e.Message != `target "fit.slow:f": too slow` || !errors.Is(err, late) || !s.Dead() {
		t.Errorf("got %+v", err)
	}
}

// A package of the shape of modelops-calabaria, and a polars that reads what it needs.
const standIn = `
from dataclasses import dataclass
import functools
import polars

@dataclass(frozen=True)
class TargetEvaluation:
    name: str
    loss: float
    weight: float
    weighted_loss: float
    aligned_data: object = None

class Target:
    def __init__(self, model_output, data, weight=1.0):
        self.model_output, self.data, self.weight = model_output, data, weight
    def evaluate(self, replicated_sim_outputs):
        frames = [outputs[self.model_output] for outputs in replicated_sim_outputs]
        assert all(isinstance(frame, polars.Frame) for frame in frames), frames
        loss = sum(abs(frame.value - self.data) for frame in frames)
        return TargetEvaluation(self.model_output, loss, self.weight, loss * self.weight)

def calibration_target(model_output, data):
    def decorate(function):
        @functools.wraps(function)
        def wrapper():
            return function(data)
        return wrapper
    return decorate
`

const standInPolars = `
class Frame:
    def __init__(self, how, value): self.how, self.value = how, value
def read_ipc(f): return Frame("ipc", float(f.read()[6:]))
def read_ipc_stream(f): return Frame("stream", float(f.read()[4:]))
def read_parquet(f): return Frame("parquet", float(f.read()[4:]))
def read_json(f): return Frame("json", float(f.read()[1:-1]))
def read_csv(f): return Frame("csv", float(f.read()))
`

const calabariaTargets = `
from calabaria import Target, calibration_target
@calibration_target(model_output="peak", data={"observed": "data/observed.csv"})
def peak(data_paths):
    return Target("peak", 10.0 if data_paths["observed"] == "data/observed.csv" else None, weight=2.0)
@calibration_target(model_output="nosuch", data={})
def missing(data_paths):
    return Target("nosuch", 10.0)
@calibration_target(model_output="peak", data={})
def lossless(data_paths):
    target = Target("peak", 10.0)
    target.evaluate = lambda replicates: type("E", (), {"loss": None, "weight": 1.0})()
    return target
`

// Targets that make something that evaluates data frames are given those.
func TestEvaluateFrames(t *testing.T) {
	files := map[string]string{"calabaria.py": standIn, "polars.py": standInPolars, "fit/__init__.py": "", "fit/targets.py": calabariaTargets}
	s := withTargets(t, files)
	peak := func(data string) []Input {
		return []Input{{Name: "log", Data: []byte("\x00 no table")}, {Name: "peak", Data: []byte(data)}}
	}
	got, err := evaluate(t, s, "fit.targets:peak", peak("ARROW112"), peak("\xff\xff\xff\xff13"), peak("PAR114"), peak("[15]"), peak("16"))
	want := &contracts.Evaluation{Loss: 2 + 3 + 4 + 5 + 6, Diagnostics: map[string]float64{"weight": 2, "weighted_loss": 40}, Replicates: 5}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%+v (-want +got):\n%s", err, diff)
	}
	for _, test := range []struct {
		target, data string
		code         contracts.Code
		says         string
	}{
		{"missing", "1", contracts.CodeModel, "nosuch; the outputs are log, peak"},
		{"lossless", "1", contracts.CodeOutput, "its loss is None"},
		{"peak", "PAR1broken", contracts.CodeOutput, `polars cannot read the output "peak" as a table`},
	} {
		_, err := evaluate(t, s, "fit.targets:"+test.target, peak(test.data))
		if err == nil || err.Code != test.code || !strings.Contains(err.Message, test.says) {
			t.Errorf("%s: got %+v", test.target, err)
		}
	}
	delete(files, "polars.py")
	files["calabaria.py"] = strings.Replace(standIn, "import polars\n", "", 1)
	_, err = evaluate(t, withTargets(t, files), "fit.targets:peak", peak("ARROW112"))
	if err == nil || err.Code != contracts.CodeImport || !strings.Contains(err.Hint, `"polars"`) {
		t.Errorf("without polars: %+v", err)
	}
}
