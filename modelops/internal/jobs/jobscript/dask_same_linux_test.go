package jobscript

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results"
	"github.com/modelops-suite/modelops-go/modelops/internal/storage"
)

// wholeStudy asks for the study that the suite promises, not one that is quick.
const wholeStudy = "MODELOPS_TEST_STARSIM"

// A job of a real model, with its forty packages from PyPI, gives the same bytes on
// processes of this machine and on a cluster.
func TestDaskSameBytes(t *testing.T) {
	sets, replicates := 4, 2
	if os.Getenv(wholeStudy) != "" {
		sets, replicates = 64, 4
	}
	p := newPerson(t)
	p.example("starsim-sir")
	p.must("infra", "up", "--with-dask", "--workers", "2")
	p.must("study", "grid", "--model", "starsim.sir", "--param", "beta=0.02:0.3:"+strconv.Itoa(sets), "--replicates", strconv.Itoa(replicates), "--output", "study.json", "--force")
	digests := map[string]map[string]string{}
	for _, executor := range []string{jobs.Process, jobs.Dask} {
		id := strings.TrimSpace(p.must("jobs", "submit", "study.json", "--executor", executor, "--no-cache", "--wait"))
		s := p.status(id)
		t.Logf("%s: %d tasks in %s", executor, s.Tasks["succeeded"], s.Finished.Sub(s.Started))
		digests[executor] = p.digests(id)
	}
	if diff := cmp.Diff(digests[jobs.Process], digests[jobs.Dask]); diff != "" {
		t.Errorf("outputs differ (-process +dask):\n%s", diff)
	}
	courses := slices.Compact(slices.Sorted(maps.Values(digests[jobs.Dask])))
	if n := len(digests[jobs.Dask]); n != sets*replicates || len(courses) < n*9/10 {
		t.Errorf("%d outputs, %d different ones, of %d tasks", n, len(courses), sets*replicates)
	}
}

// A target whose replicates gave far more than travels with a task says the same on processes
// of this machine and on a cluster.
func TestDaskLargeTargets(t *testing.T) {
	p := newPerson(t)
	p.must("infra", "up", "--with-dask", "--workers", "2")
	p.write(filepath.Join(p.dir, "wire.py"), `def wire(entrypoint, params, seed):
    return {name: (b"%s %d\n" % (name.encode(), seed) * 70_000)[:500_000] for name in "abcd"}
`)
	p.must("study", "grid", "--model", "model.sir", "--param", "i=int:1:2:2", "--replicates", "40", "--output", "study.json", "--force")
	p.targets(`import hashlib
def whole(replicates):
    seen = hashlib.sha256(b"".join(name.encode() + r[name] for r in replicates for name in sorted(r)))
    return {"loss": int(seen.hexdigest()[:12], 16), "bytes": sum(len(data) for r in replicates for data in r.values())}
def again(replicates):
    return whole(replicates)
`, "whole", "again")
	losses := map[string]string{}
	for _, executor := range []string{jobs.Process, jobs.Dask} {
		id := strings.TrimSpace(p.must("jobs", "submit", "study.json", "--executor", executor, "--no-cache"))
		s, peak := p.watch(id)
		if s.State != "SUCCEEDED" {
			t.Fatalf("%+v\n%s", s, p.must("jobs", "logs", id))
		}
		t.Logf("%s: driver had %d MiB", executor, peak>>10)
		dir := filepath.Join(t.TempDir(), "tables")
		p.must("jobs", "results", id, "--format", "csv", "--output", dir)
		table, err := os.ReadFile(filepath.Join(dir, "losses.csv"))
		if err != nil {
			t.Fatal(err)
		}
		losses[executor] = string(table)
	}
	if diff := cmp.Diff(losses[jobs.Process], losses[jobs.Dask]); diff != "" {
		t.Errorf("losses differ (-process +dask):\n%s", diff)
	}
	if n := strings.Count(losses[jobs.Dask], "80000000"); n != 4 {
		t.Errorf("%d of 4 targets had all bytes:\n%s", n, losses[jobs.Dask])
	}
}

// targets has the study name these functions of a file.
func (p *person) targets(source string, names ...string) {
	p.t.Helper()
	if err := os.Mkdir(filepath.Join(p.dir, "targets"), 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.write(filepath.Join(p.dir, "targets", "fit.py"), source)
	study := filepath.Join(p.dir, "study.json")
	data, err := os.ReadFile(study)
	if err != nil {
		p.t.Fatal(err)
	}
	list := `"targets": ["targets.fit:` + strings.Join(names, `", "targets.fit:`) + `"]`
	p.write(study, strings.Replace(string(data), `"targets": null`, list, 1))
}

// example puts the files of one into the project.
func (p *person) example(name string) {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join("../../../../examples", name, "*"))
	if err != nil || len(files) == 0 {
		p.t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			p.t.Fatal(err)
		}
		p.write(filepath.Join(p.dir, filepath.Base(file)), string(data))
	}
}

// catalog is that of the local environment, which comes with it, and with its text.
func (p *person) catalog() (*jobs.Catalog, *contracts.BundleEnvironment, []byte) {
	p.t.Helper()
	file := filepath.Join(p.work, "home", ".modelops", "bundle-env", "local.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	env, _, err := contracts.ParseEnvironment(file, data)
	if err != nil {
		p.t.Fatal(err)
	}
	store, err := storage.Open(env)
	if err != nil {
		p.t.Fatal(err)
	}
	return jobs.Open(store, nil), env, data
}

// digests are those of every output of a job's results, by task and name.
func (p *person) digests(id string) map[string]string {
	p.t.Helper()
	catalog, _, _ := p.catalog()
	job, err := catalog.Load(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	rows, err := results.OpenRows(p.t.Context(), catalog, job, p.work, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]string{}
	for row, err := range rows.All(p.t.Context()) {
		if err != nil {
			p.t.Fatal(err)
		}
		if row.Result == nil {
			p.t.Fatalf("row %d has no result", row.Number)
		}
		for name, output := range row.Result.Outputs {
			found[row.Result.TaskID+" "+name] = output.Checksum
		}
	}
	return found
}
