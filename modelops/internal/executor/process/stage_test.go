//go:build unix

package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// weigh is what the worker of the tests says about replicates: how many bytes their
// outputs have, and how many of these came by file.
func weigh(task *contracts.SimTask) *contracts.Evaluation {
	inputs := os.Args[slices.Index(os.Args, "--inputs")+1]
	e := &contracts.Evaluation{Replicates: len(task.Replicates), Diagnostics: map[string]float64{}}
	for _, replicate := range task.Replicates {
		for _, artifact := range replicate.Outputs {
			data := artifact.Inline
			if checksum, ok := strings.CutPrefix(artifact.Ref, "file:"); ok {
				var err error
				if data, err = os.ReadFile(filepath.Join(inputs, checksum)); err != nil {
					panic(err)
				}
				e.Diagnostics["by file"] += float64(len(data))
			}
			if contracts.NewArtifact("x/y", data).Checksum != artifact.Checksum {
				panic("other bytes")
			}
			e.Loss += float64(len(data))
		}
	}
	return e
}

// evaluation is of replicates with these outputs, twice each; those over the cap are in
// the store.
func evaluation(number int, store map[string][]byte, outputs ...[]byte) jobs.Task {
	sim := task(number, "succeed").Sim
	sim.Entrypoint = "fit.a:f"
	for i, data := range outputs {
		artifact := contracts.NewArtifact("x/y", data)
		if len(data) > contracts.InlineCap {
			store[artifact.Checksum] = data
			artifact.Inline, artifact.Ref = nil, "blob:"+artifact.Checksum
		}
		sim.Replicates = append(sim.Replicates, contracts.Replicate{Task: task(number, strconv.Itoa(i)).Key, Outputs: map[string]contracts.Artifact{"a": artifact, "b": artifact}})
	}
	return jobs.Task{Key: sim.Key(content), Sim: sim}
}

// Outputs of replicates reach the worker whatever their size, and none stays behind.
func TestEvaluate(t *testing.T) {
	h := newHarness(t, 2)
	store := map[string][]byte{}
	h.e.Open = func(_ context.Context, a contracts.Artifact) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(store[strings.TrimPrefix(a.Ref, "blob:")])), nil
	}
	large := bytes.Repeat([]byte("x"), 3<<20)
	var many [][]byte // each small, together too much for a line
	for i := range 18 {
		many = append(many, append(bytes.Repeat([]byte("y"), contracts.InlineCap-1), byte(i)))
	}
	tasks := []jobs.Task{evaluation(1, store, []byte("one"), []byte("three"), nil), evaluation(2, store, large, []byte("small"), large), evaluation(3, store, many...)}
	results, err := h.run(t.Context(), tasks...)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ loss, byFile int }{{16, 0}, {4*3<<20 + 10, 4 * 3 << 20}, {36 * contracts.InlineCap, 36*contracts.InlineCap - inlineInputs}} {
		r := results[tasks[i].Key]
		if r == nil || r.Error != nil || r.Evaluation.Loss != float64(want.loss) || r.Evaluation.Diagnostics["by file"] != float64(want.byFile) {
			t.Errorf("evaluation %d: %+v", i, r)
		}
	}
	// What the driver holds of a task is what it gave.
	if got := tasks[1].Sim.Replicates[0].Outputs["a"].Ref; !strings.HasPrefix(got, "blob:") {
		t.Errorf("the task's own replicates became %s", got)
	}
	left, err := filepath.Glob(filepath.Join(h.e.Outputs, "inputs-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// An output that cannot be had is the evaluation's error, and no other task's.
func TestEvaluateWithoutOutput(t *testing.T) {
	h := newHarness(t, 1)
	errs := []error{&contracts.Error{Code: contracts.CodeIntegrity, Message: "other bytes"}, errors.New("torn off")}
	h.e.Open = func(context.Context, contracts.Artifact) (io.ReadCloser, error) {
		err := errs[0]
		errs = errs[1:]
		if len(errs) == 0 {
			return io.NopCloser(io.MultiReader(strings.NewReader("begin"), broken{err})), nil
		}
		return nil, err
	}
	store := map[string][]byte{}
	first, second := evaluation(1, store, make([]byte, 1<<20)), evaluation(2, store, bytes.Repeat([]byte("z"), 1<<20))
	results, err := h.run(t.Context(), first, second, task(3, "succeed"))
	if err != nil || len(results) != 3 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	if e := results[first.Key].Error; e == nil || e.Code != contracts.CodeIntegrity {
		t.Errorf("error = %+v", e)
	}
	if e := results[second.Key].Error; e == nil || e.Code != contracts.CodeFailed || !strings.Contains(e.Message, "torn off") {
		t.Errorf("error = %+v", e)
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
