package contracts_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

// study is a study file with the given sets and further keys.
func study(sets string, more ...string) string {
	return `{"model":"models.sir","scenario":"baseline","parameter_sets":[` + sets + `]` + strings.Join(append([]string{""}, more...), ",") + `}`
}

func parseStudy(t testing.TB, text string) *contracts.SimulationStudy {
	t.Helper()
	s, err := contracts.ParseStudy("study.json", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s
}

func testBundle(t testing.TB) contracts.BundleRef {
	t.Helper()
	ref, err := contracts.ParseBundleRef("my-model@sha256:" + hexA)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func seeds(t testing.TB, s *contracts.SimulationStudy) []uint64 {
	t.Helper()
	var got []uint64
	for task := range s.Tasks(testBundle(t)) {
		got = append(got, task.Seed)
	}
	if len(got) != s.TaskCount() {
		t.Errorf("%d tasks, TaskCount = %d", len(got), s.TaskCount())
	}
	return got
}

func distinct(list []uint64) bool {
	sorted := slices.Sorted(slices.Values(list))
	return len(slices.Compact(sorted)) == len(list)
}

// The acceptance table of the Python suite (facts, modelops 8.3, S1 to S9).
func TestStudySeeds(t *testing.T) {
	t.Run("S1", func(t *testing.T) {
		got := seeds(t, parseStudy(t, study(`{"params":{"x":1},"seed":42},{"params":{"x":2}},{"params":{"x":3},"seed":999}`, `"n_replicates":3`)))
		if len(got) != 5 || got[0] != 42 || got[4] != 999 || !distinct(got) {
			t.Errorf("seeds = %v", got)
		}
	})
	t.Run("S2", func(t *testing.T) {
		got := seeds(t, parseStudy(t, study(`{"params":{"x":1},"seed":42},{"params":{"x":2},"seed":123}`, `"n_replicates":10`)))
		if diff := cmp.Diff([]uint64{42, 123}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("S3", func(t *testing.T) {
		if got := seeds(t, parseStudy(t, study(`{"x":1},{"x":2}`, `"n_replicates":5`))); len(got) != 10 || !distinct(got) {
			t.Errorf("seeds = %v", got)
		}
		if got := seeds(t, parseStudy(t, study(`{"params":{"x":1},"seed":1},{"params":{"x":2},"seed":null},{"x":3}`, `"n_replicates":3`))); len(got) != 7 {
			t.Errorf("seeds = %v", got)
		}
	})
	t.Run("S4", func(t *testing.T) {
		for _, seed := range []string{"0", "1", "4294967296", "18446744073709551615"} {
			s := parseStudy(t, study(`{"params":{"x":1},"seed":`+seed+`}`))
			if got := seeds(t, s); fmt.Sprint(got) != "["+seed+"]" {
				t.Errorf("seed = %v, want %s", got, seed)
			}
		}
	})
	t.Run("S5", func(t *testing.T) {
		s := parseStudy(t, study(`{"x":1.0},{"params":{"x":2.0},"seed":42}`))
		if s.ParameterSets[0].Seed != nil || *s.ParameterSets[1].Seed != 42 || !s.ParameterSets[0].Params.Equal(parseParams(t, `{"x":1.0}`)) {
			t.Errorf("sets = %+v", s.ParameterSets)
		}
	})
	t.Run("S6", func(t *testing.T) {
		s := parseStudy(t, study(""))
		if s.SamplingMethod != "manual" || s.Replicates != 1 || s.Outputs != nil || s.Targets != nil || len(s.Metadata) != 0 || s.TaskCount() != 0 {
			t.Errorf("study = %+v", s)
		}
	})
	t.Run("S7 S8 S9", func(t *testing.T) {
		s := parseStudy(t, study(`{"beta":0.08,"dur_inf":4.0},{"beta":0.08},{"params":{"beta":0.1},"seed":52}`, `"n_replicates":3`))
		want := []uint64{3746973567, 2678023210, 842548201, 1047657939, 1741120361, 2700709427, 52}
		if diff := cmp.Diff(want, seeds(t, s)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStudyTasks(t *testing.T) {
	s := parseStudy(t, study(`{"b":1},{"params":{"a":1},"seed":5},{"b":1}`, `"n_replicates":2`, `"outputs":["zebra","apple","mango"]`, `"resources":{"cores":2}`))
	var got []string
	for task := range s.Tasks(testBundle(t)) {
		got = append(got, fmt.Sprint(task.Set, task.Replicate))
		if diff := cmp.Diff([]string{"apple", "mango", "zebra"}, task.Outputs); diff != "" {
			t.Error(diff)
		}
		if task.Entrypoint != "models.sir/baseline" || task.Bundle != testBundle(t) || task.Resources.Cores != 2 || task.Params.ID != task.Params.Values.ID() {
			t.Errorf("task = %+v", task)
		}
	}
	if diff := cmp.Diff([]string{"0 0", "0 1", "1 0", "2 0", "2 1"}, got); diff != "" {
		t.Error(diff)
	}
	for range s.Tasks(testBundle(t)) {
		break // stopping early is allowed
	}
}

// A set with no keys but params and seed is the newer form when params is a mapping;
// everything else is a plain set, also with parameters that have these names.
func TestStudyForms(t *testing.T) {
	s := parseStudy(t, study(`{"params":{"x":1}},{"params":3},{"seed":7},{"x":1,"seed":7},{"params":3,"seed":7},{}`))
	want := []string{`{"x":1}`, `{"params":3}`, `{"seed":7}`, `{"seed":7,"x":1}`, `{"params":3,"seed":7}`, `{}`}
	for i, set := range s.ParameterSets {
		data, err := json.Marshal(set.Params)
		if err != nil || string(data) != want[i] || set.Seed != nil {
			t.Errorf("set %d = %s, seed %v, %v", i, data, set.Seed, err)
		}
	}
}

func TestParseStudyRefused(t *testing.T) {
	for _, c := range []struct{ name, text, field, says string }{
		{"missing keys", `{}`, "model", "(and 2 more problems)"},
		{"missing keys", `{}`, "parameter_sets", "is missing"},
		{"no mapping", `[]`, "", "is a list, not a mapping"},
		{"sets", `{"model":"m.s","scenario":"b","parameter_sets":{}}`, "parameter_sets", "not a list"},
		{"set", study(`1`), "parameter_sets.0", "not a mapping"},
		{"null parameter", study(`{"x":null}`), "parameter_sets.0.x", "is null"},
		{"list parameter", study(`{"params":{"x":[1]}}`), "parameter_sets.0.params.x", "is a list"},
		{"mapping parameter", study(`{"params":{"x":1},"other":1}`), "parameter_sets.0.params", "is a mapping"},
		{"nameless", study(`{"":1}`), "parameter_sets.0", "without a name"},
		{"negative seed", study(`{"params":{"x":1},"seed":-1}`), "parameter_sets.0.seed", "out of uint64 range"},
		{"large seed", study(`{"params":{"x":1},"seed":18446744073709551616}`), "parameter_sets.0.seed", "out of uint64 range"},
		{"float seed", study(`{"params":{"x":1},"seed":1.0}`), "parameter_sets.0.seed", "not an integer"},
		{"boolean seed", study(`{"params":{"x":1},"seed":true}`), "parameter_sets.0.seed", "not an integer"},
		{"no replicates", study(``, `"n_replicates":0`), "n_replicates", "at least 1"},
		{"half a replicate", study(``, `"n_replicates":1.5`), "n_replicates", "not an integer"},
		{"too many", study(`{"x":1},{"x":2}`, `"n_replicates":2000000000`), "n_replicates", "split the study"},
		{"far too many", study(`{"x":1},{"x":2}`, `"n_replicates":9223372036854775807`), "n_replicates", "split the study"},
		{"out of range", study(`{"x":1}`, `"n_replicates":9223372036854775808`), "n_replicates", "out of range"},
		{"outputs", study(``, `"outputs":"x"`), "outputs", "not a list"},
		{"output", study(``, `"outputs":[1]`), "outputs.0", "not a string"},
		{"blank output", study(``, `"outputs":[" "]`), "outputs.0", "blank"},
		{"output twice", study(``, `"outputs":["a","b","a"]`), "outputs", "twice"},
		{"kind", study(``, `"kind":"Sweep"`), "kind", "SimulationStudy"},
		{"metadata", study(``, `"metadata":[]`), "metadata", "not a mapping"},
		{"model", strings.Replace(study(``), "models.sir", " ", 1), "model", "is blank"},
		{"scenario", strings.Replace(study(``), "baseline", "a/b", 1), "scenario", "has a /"},
		{"key twice", `{"model":"a.b","model":"a.c"}`, "model", `key "model" is there twice`},
		{"parameter twice", study(`{"beta":1,"beta":2}`), "parameter_sets.0.beta", `key "beta" is there twice`},
		{"not finite", study(`{"x":NaN}`), "parameter_sets.0.x", "NaN is not allowed"},
		{"too large", study(`{"x":1e400}`), "parameter_sets.0.x", "too large"},
		{"memory", study(``, `"resources":{"memory":"much"}`), "resources.memory", "512Mi"},
		{"timeout", study(``, `"resources":{"timeout":"-1s"}`), "resources.timeout", "90s"},
		{"cores", study(``, `"resources":{"cores":0}`), "resources.cores", "at least 1"},
		{"commands", study(``, `"resources":{"commands":["/bin/sh"]}`), "resources.commands.0", "name alone"},
		{"resource", study(``, `"resources":{"gpu":1}`), "resources.gpu", "not a resource"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := contracts.ParseStudy("study.json", []byte(c.text))
			if err == nil {
				t.Fatalf("accepted as %+v", s)
			}
			wantCode(t, err, contracts.CodeInvalidStudy, c.says, `"study.json"`)
			if problems := contracts.AsError(err).Problems; !slices.ContainsFunc(problems, func(p contracts.Problem) bool { return p.Field == c.field && p.Hint != "" }) {
				t.Errorf("no problem of %s: %+v", c.field, problems)
			}
		})
	}
	for _, text := range []string{
		`{"kind":"CalibrationSpec"}`, `{"algorithm":"optuna","parameter_sets":[]}`, `{"target_data":{"observed_file":"x.csv"}}`, `{"max_iterations":5,"algorithm_config":{}}`,
	} {
		_, err := contracts.ParseStudy("calib.json", []byte(text))
		wantCode(t, err, contracts.CodeUnsupported, "CalibrationSpec", `"calib.json"`)
	}
	_, err := contracts.ParseStudy("s", []byte(study(strings.Repeat(`{"x":null},`, 1000)+`1`)))
	if problems := contracts.AsError(err).Problems; len(problems) != 101 || !strings.HasPrefix(problems[100].Message, "901 more") {
		t.Errorf("%d problems, the last is %v", len(problems), problems[len(problems)-1])
	}
}

func TestStudyWarnings(t *testing.T) {
	s := parseStudy(t, study(``, `"kind":"SimulationStudy"`, `"Metadata":{}`, `"extra":1`))
	if len(s.Warnings) != 2 || s.Warnings[0].Hint != "did you mean metadata?" || s.Warnings[1].Field != "extra" {
		t.Errorf("warnings = %+v", s.Warnings)
	}
}

func TestStudyMarshal(t *testing.T) {
	text := study(`{"beta":0.1053,"n":3},{"params":{"s":"<é>","b":true},"seed":18446744073709551615}`, `"sampling_method":"sobol"`, `"n_replicates":2`,
		`"outputs":["b","a"]`, `"targets":["targets.x:y"]`, `"resources":{"memory":"1Gi","timeout":90,"commands":["Rscript"]}`,
		`"metadata":{"n_samples":4,"seed":1.50,"tags":{},"big":18446744073709551616,"list":[true,null,"x"]}`)
	s := parseStudy(t, text)
	out, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back contracts.SimulationStudy
	if err := json.Unmarshal(out, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*s, back); diff != "" {
		t.Errorf("written and read (-want +got):\n%s", diff)
	}
	if back.Metadata["big"] != json.Number("18446744073709551616") || back.Metadata["seed"] != json.Number("1.5") {
		t.Errorf("metadata = %v", back.Metadata)
	}
	written, err := (&contracts.SimulationStudy{Model: "m.s", Scenario: "b", ParameterSets: s.ParameterSets}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "model": "m.s",
  "scenario": "b",
  "parameter_sets": [
    {"params": {"beta":0.1053,"n":3}},
    {"params": {"b":true,"s":"<é>"}, "seed": 18446744073709551615}
  ],
  "sampling_method": "manual",
  "n_replicates": 1,
  "outputs": null,
  "targets": null,
  "metadata": {}
}
`
	if diff := cmp.Diff(want, string(written)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []*contracts.SimulationStudy{
		{Scenario: "b"}, {Model: "m.s", Scenario: "b", Metadata: map[string]any{"x": math.NaN()}}, {Model: "\xff", Scenario: "b"},
		{Model: "m.s", Scenario: "b", Outputs: []string{"a", "a"}},
	} {
		if out, err := bad.Marshal(); err == nil {
			t.Errorf("%+v is written:\n%s", bad, out)
		} else {
			wantCode(t, err, contracts.CodeInvalidStudy)
		}
	}
}

func TestStudyCheckPython(t *testing.T) {
	s := parseStudy(t, study(``, `"targets":["targets.prevalence:prevalence_target"]`))
	if err := s.CheckPython(); err != nil {
		t.Error(err)
	}
	s = parseStudy(t, `{"model":"run.R model","scenario":"Base line","parameter_sets":[],"targets":["x"]}`) // a command bundle's
	wantCode(t, s.CheckPython(), contracts.CodeInvalidStudy, "model", "scenario", "targets.0", "(and 2 more problems)")
}

func TestResources(t *testing.T) {
	for in, want := range map[string]int64{"": 0, "1": 1, "512Mi": 512 << 20, "2GB": 2e9, "2 GB": 2e9, "1.5Gi": 3 << 29, "0.5k": 500, "4Ki": 4096, "4KiB": 4096, "1T": 1e12, "100B": 100, "1K": 1000} {
		if got, err := (contracts.Resources{Memory: in}).MemoryBytes(); err != nil || got != want {
			t.Errorf("MemoryBytes(%s) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "-1", "x", "1 Gi B", "1e9", "Gi", "1Pi", "999999999999999Ti", "0.1"} {
		if got, err := (contracts.Resources{Memory: in}).MemoryBytes(); err == nil {
			t.Errorf("MemoryBytes(%s) = %d", in, got)
		}
	}
	for in, want := range map[string]time.Duration{"": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "5": 5 * time.Second, "0.5": time.Second / 2} {
		if got, err := (contracts.Resources{Timeout: in}).TimeoutDuration(); err != nil || got != want {
			t.Errorf("TimeoutDuration(%s) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "-1", "x", "NaN", "Inf", "1e99", "0s", "-5s"} {
		if got, err := (contracts.Resources{Timeout: in}).TimeoutDuration(); err == nil {
			t.Errorf("TimeoutDuration(%s) = %v", in, got)
		}
	}
}

// largeStudy has sets parameter sets of five parameters each.
func largeStudy(sets int) []byte {
	var b strings.Builder
	for i := range sets {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"params":{"beta":%d.25,"gamma":0.5,"population":100000,"initial_infected":%d,"name":"set"}}`, i, i)
	}
	return []byte(study(b.String(), `"n_replicates":10`))
}

func BenchmarkParseStudy(b *testing.B) {
	data := largeStudy(10000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := contracts.ParseStudy("", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTasks(b *testing.B) {
	s := parseStudy(b, string(largeStudy(10000)))
	ref := testBundle(b)
	for b.Loop() {
		n := 0
		for task := range s.Tasks(ref) {
			n += task.Replicate
		}
	}
}

func BenchmarkTaskKeys(b *testing.B) {
	s := parseStudy(b, string(largeStudy(10000)))
	ref := testBundle(b)
	for b.Loop() {
		for task := range s.Tasks(ref) {
			task.Key(ref.Digest)
		}
	}
}
