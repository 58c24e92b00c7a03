package results

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

const targetStudy = `{"model":"m.n","scenario":"s","n_replicates":2,"targets":["fit.b:f","fit.a:f"],"parameter_sets":[
 {"params":{"beta":0.5,"loss":1}},
 {"params":{"beta":1}},
 {"params":{"beta":0.5,"loss":1}},
 {"params":{"beta":2},"seed":18446744073709551615}]}`

// evaluate stores what the function answers for each set and target, in any order; nil
// for nothing.
func (w *world) evaluate(answer func(set int, target string) *contracts.Evaluation) {
	w.t.Helper()
	var all []*contracts.SimReturn
	for set := range w.job.Sets(w.study) {
		for _, target := range w.study.Targets {
			if e := answer(set.Tasks[0].Set, target); e != nil && set.Complete {
				e.Replicates = len(set.Tasks)
				all = append(all, &contracts.SimReturn{TaskID: contracts.EvaluationKey(w.job.Content, target, set.Keys),
					Outputs: map[string]contracts.Artifact{}, Evaluation: e, EnvironmentDigest: strings.Repeat("f", 64)})
			}
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	writer := w.catalog.Results(w.job).NewWriter(w.job.ID, time.Now)
	for _, r := range all {
		if err := writer.Append(w.t.Context(), []*contracts.SimReturn{r}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// small is the output of every task.
func small(task contracts.SimTask) map[string]string {
	return map[string]string{"losses": "a,b\n1,2\n", "Losses.csv": "a,b\n3,4\n"}
}

func byTarget(_ int, target string) *contracts.Evaluation {
	if target == "fit.a:f" {
		return &contracts.Evaluation{Loss: 1e-07, Diagnostics: map[string]float64{"rmse": 0.1, "loss": 3, "beta": 4}}
	}
	return &contracts.Evaluation{Loss: 2, Diagnostics: map[string]float64{"bias": -1}}
}

func TestLosses(t *testing.T) {
	w := newWorld(t, targetStudy)
	w.run(small)
	w.evaluate(byTarget)
	tables := w.mustCollect(CSV)
	if diff := cmp.Diff(&Losses{Path: filepath.Join(tables.Output, "losses.csv"), Parts: []string{}, Rows: 8}, tables.Losses); diff != "" || len(tables.Warnings) > 0 {
		t.Errorf("%v (-want +got):\n%s", tables.Warnings, diff)
	}
	// The outputs of that name are beside it.
	for i, want := range []string{"Losses-2.csv", "losses-3.csv"} {
		if got := filepath.Base(tables.Tables[i].Path); got != want || tables.Tables[i].Rows != 7 {
			t.Errorf("table %d is %s, %+v", i, got, tables.Tables[i])
		}
	}
	records := rows(t, tables.Losses.Path)
	const header = "param_id beta param_loss set target loss diagnostic_beta bias diagnostic_loss rmse n_replicates bundle content_digest environment_digest task"
	if got := strings.Join(records[0], " "); got != header {
		t.Errorf("header\n%s, want\n%s", got, header)
	}
	for name, cells := range map[string]string{
		"set": "0 0 1 1 2 2 3 3", "beta": "0.5 0.5 1.0 1.0 0.5 0.5 2.0 2.0", "param_loss": "1 1   1 1  ",
		"loss": "2.0 1e-07 2.0 1e-07 2.0 1e-07 2.0 1e-07", "bias": "-1.0  -1.0  -1.0  -1.0 ", "diagnostic_loss": " 3.0  3.0  3.0  3.0",
		"n_replicates": "2 2 2 2 2 2 1 1",
	} {
		if got := strings.Join(cellsOf(t, records, name), " "); got != cells {
			t.Errorf("%s = %q, want %q", name, got, cells)
		}
	}
	i := 0
	for set := range w.job.Sets(w.study) {
		for _, target := range w.study.Targets {
			for name, want := range map[string]string{
				"param_id": set.Tasks[0].Params.ID, "target": target, "bundle": w.job.Bundle.String(), "content_digest": w.job.Content.String(),
				"environment_digest": strings.Repeat("f", 64), "task": contracts.EvaluationKey(w.job.Content, target, set.Keys),
			} {
				if got := cellsOf(t, records, name)[i]; got != want {
					t.Errorf("row %d: %s = %s, want %s", i, name, got, want)
				}
			}
			i++
		}
	}
	columns, tbl := schema(t, w.mustCollect(Parquet).Losses.Path)
	const types = "param_id:utf8 beta:float64 param_loss:int64 set:int64 target:utf8 loss:float64 diagnostic_beta:float64 bias:float64 diagnostic_loss:float64 rmse:float64 n_replicates:int64 bundle:utf8 content_digest:utf8 environment_digest:utf8 task:utf8"
	if columns != types || tbl.NumRows() != 8 {
		t.Errorf("%d rows of\n%s, want\n%s", tbl.NumRows(), columns, types)
	}
}

func TestLossesMissing(t *testing.T) {
	w := newWorld(t, targetStudy)
	w.run(small)
	w.evaluate(func(set int, target string) *contracts.Evaluation {
		if set == 1 && target == "fit.a:f" || set == 3 {
			return nil
		}
		return byTarget(set, target)
	})
	tables := w.mustCollect(CSV)
	if tables.Losses.Rows != 5 || tables.Losses.Missing != 3 || len(tables.Warnings) != 1 || !strings.HasPrefix(tables.Warnings[0], "3 of 8 evaluations of targets without a loss") {
		t.Errorf("%+v, %+v", tables.Losses, tables.Warnings)
	}
	if got := strings.Join(cellsOf(t, rows(t, tables.Losses.Path), "set"), " "); got != "0 0 1 2 2" {
		t.Errorf("sets are %s", got)
	}

	// Of sets that the limit cuts nothing is missed.
	limited := *w.job
	limited.Tasks = 3
	c := &Collector{Catalog: w.catalog, Job: &limited, Dir: t.TempDir(), Format: CSV}
	tables, err := c.Collect(t.Context())
	if err != nil || tables.Losses.Rows != 2 || tables.Losses.Missing != 0 {
		t.Errorf("%+v, %v", tables, err)
	}
}

// Without targets there is no such table, and the name is an output's.
func TestNoLosses(t *testing.T) {
	w := newWorld(t, study)
	w.run(small)
	tables := w.mustCollect(CSV)
	if tables.Losses != nil || filepath.Base(tables.Tables[0].Path) != "Losses.csv" {
		t.Errorf("%+v", tables)
	}
}

func TestLossesDeterministic(t *testing.T) {
	for _, format := range []string{CSV, Parquet} {
		var first string
		for range 4 {
			w := newWorld(t, targetStudy)
			w.run(small)
			w.evaluate(byTarget)
			data, err := os.ReadFile(w.mustCollect(format).Losses.Path)
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = string(data)
			}
			if string(data) != first {
				t.Errorf("%s differs from run to run", format)
			}
		}
	}
}

// A damaged record stops the tables, and leaves none behind.
func TestLossesDamaged(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","targets":["fit.a:f"],"parameter_sets":[{"params":{"x":1}},{"params":{"x":2}}]}`) // no set twice: a copy would serve
	w.run(small)
	before := map[string]bool{}
	for entry, err := range w.store.List(t.Context(), "results/") {
		if err != nil {
			t.Fatal(err)
		}
		before[entry.Key] = true
	}
	w.evaluate(byTarget)
	for entry, err := range w.store.List(t.Context(), "results/") {
		if err != nil {
			t.Fatal(err)
		}
		if !before[entry.Key] {
			damageObject(t, w, entry.Key)
			break
		}
	}
	dir := t.TempDir()
	c := &Collector{Catalog: w.catalog, Job: w.job, Dir: dir, Format: CSV}
	if _, err := c.Collect(t.Context()); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeIntegrity {
		t.Errorf("err = %v, want integrity", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	tables, err := c.Collect(t.Context())
	if err != nil || tables.Losses.Missing != 1 || tables.Losses.Rows != 1 {
		t.Errorf("%+v, %v", tables, err)
	}
}
