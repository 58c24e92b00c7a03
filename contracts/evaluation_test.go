package contracts_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

var hexB = strings.Repeat("b", 64)

func evaluationTask(t *testing.T, keys ...string) *contracts.SimTask {
	t.Helper()
	values := parseParams(t, `{"x":1.0}`)
	task := &contracts.SimTask{Bundle: testBundle(t), Entrypoint: "targets.fit:peak", Params: contracts.TaskParams{ID: xID, Values: values}, Set: 2}
	for _, key := range keys {
		task.Replicates = append(task.Replicates, contracts.Replicate{Task: key, Outputs: map[string]contracts.Artifact{
			"peak": contracts.NewArtifact("text/csv", []byte("day\n"+key[:1])), "empty": contracts.NewArtifact("text/csv", nil),
		}})
	}
	return task
}

func TestEvaluationRoundTrip(t *testing.T) {
	task := evaluationTask(t, hexA, hexB)
	data, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	back, err := contracts.ParseTask(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(task, back); diff != "" {
		t.Errorf("written and read (-want +got):\n%s", diff)
	}
	if !back.Evaluates() {
		t.Error("it is no evaluation any more")
	}

	result := &contracts.SimReturn{TaskID: hexA, Outputs: map[string]contracts.Artifact{},
		Evaluation: &contracts.Evaluation{Loss: 0.1 + 0.2, Diagnostics: map[string]float64{"tiny": 5e-324, "zero": 0}, Replicates: 2}}
	if data, err = json.Marshal(result); err != nil {
		t.Fatal(err)
	}
	got, err := contracts.ParseReturn(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(result, got); diff != "" {
		t.Errorf("written and read (-want +got):\n%s", diff)
	}
}

// A number that is null is none, and not 0.
func TestEvaluationNull(t *testing.T) {
	r, err := contracts.ParseReturn([]byte(`{"task_id":"` + hexA + `","evaluation":{"loss":1,"diagnostics":{"a":null,"b":2},"n_replicates":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"b": 2}, r.Evaluation.Diagnostics); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, loss := range []string{"null", "true", `"1"`, "[1]"} {
		_, err := contracts.ParseReturn([]byte(`{"task_id":"` + hexA + `","evaluation":{"loss":` + loss + `,"n_replicates":1}}`))
		wantCode(t, err, contracts.CodeProtocol, "loss")
	}
}

func TestEvaluationKeyGolden(t *testing.T) {
	const want = "1e68b22e931801e9ccf302195d7e6810108cba18ac27aedc5c76406d006d5303"
	if got := evaluationTask(t, hexA, hexB).Key("sha256:" + hexA); got != want {
		t.Errorf("Key = %s, want %s: losses that are stored under the old key would be lost", got, want)
	}
}

func TestEvaluationKeyDistinguishes(t *testing.T) {
	const content = "sha256:" + hexA
	keys := []string{
		contracts.EvaluationKey(content, "targets.fit:peak", []string{hexA, hexB}),
		contracts.EvaluationKey(content, "targets.fit:peak", []string{hexB, hexA}),
		contracts.EvaluationKey(content, "targets.fit:peak", []string{hexA}),
		contracts.EvaluationKey(content, "targets.fit:size", []string{hexA, hexB}),
		contracts.EvaluationKey(contracts.Digest("sha256:"+hexB), "targets.fit:peak", []string{hexA, hexB}),
		(&contracts.SimTask{Entrypoint: "targets.fit:peak"}).Key(content),
	}
	slices.Sort(keys)
	if n := len(slices.Compact(keys)); n != 6 {
		t.Errorf("%d different keys of 6", n)
	}
	// Outputs follow from the runs' keys.
	task := evaluationTask(t, hexA, hexB)
	key := task.Key(content)
	task.Replicates[0].Outputs, task.Seed, task.Set = nil, 9, 9
	if task.Key(content) != key {
		t.Error("what is not of its identity changes the key")
	}
}

func TestTargetTwice(t *testing.T) {
	s := parseStudy(t, study(`{"x":1}`, `"targets":["targets.fit:peak","targets.fit:peak"]`))
	wantCode(t, s.CheckPython(), contracts.CodeInvalidStudy, "there already")
}
