package results

import (
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// world is a storage with one job.
type world struct {
	t       testing.TB
	store   blobstore.Store
	catalog *jobs.Catalog
	job     *jobs.Job
	study   *contracts.SimulationStudy
}

func newWorld(t testing.TB, study string) *world {
	t.Helper()
	store, err := blobstore.OpenDir(filepath.Join(t.TempDir(), "storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: store, catalog: jobs.Open(store, nil)}
	if w.study, err = contracts.ParseStudy("study.json", []byte(study)); err != nil {
		t.Fatal(err)
	}
	digest := contracts.DigestOf([]byte("content"))
	w.job = &jobs.Job{ID: "job-00000001", Bundle: contracts.BundleRef{Repository: "team/seir", Digest: digest}, Content: digest, Tasks: w.study.TaskCount()}
	if err := w.catalog.Create(t.Context(), w.job, []byte(study)); err != nil {
		t.Fatal(err)
	}
	return w
}

// run stores what the function answers for each task, in any order, in batches of any
// size.
func (w *world) run(outputs func(task contracts.SimTask) map[string]string) {
	w.t.Helper()
	var all []*contracts.SimReturn
	for task := range w.job.SimTasks(w.study) {
		r := &contracts.SimReturn{TaskID: task.Key(w.job.Content), Outputs: map[string]contracts.Artifact{}, EnvironmentDigest: strings.Repeat("e", 64)}
		for name, content := range outputs(task) {
			r.Outputs[name] = contracts.NewArtifact("application/octet-stream", []byte(content))
		}
		if len(r.Outputs) > 0 {
			all = append(all, r)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	writer := w.catalog.Results(w.job).NewWriter(w.job.ID, time.Now)
	for len(all) > 0 {
		n := 1 + rand.IntN(len(all))
		if err := writer.Append(w.t.Context(), all[:n]); err != nil {
			w.t.Fatal(err)
		}
		all = all[n:]
	}
}

func (w *world) collect(format string) (*Tables, error) {
	w.t.Helper()
	c := &Collector{Catalog: w.catalog, Job: w.job, Dir: filepath.Join(w.t.TempDir(), "out"), Format: format}
	return c.Collect(w.t.Context())
}

func (w *world) mustCollect(format string) *Tables {
	w.t.Helper()
	tables, err := w.collect(format)
	if err != nil {
		w.t.Fatal(err)
	}
	return tables
}

// rows reads a CSV table.
func rows(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// cellsOf is a column of a CSV table.
func cellsOf(t *testing.T, records [][]string, name string) []string {
	t.Helper()
	for i, header := range records[0] {
		if header == name {
			var cells []string
			for _, record := range records[1:] {
				cells = append(cells, record[i])
			}
			return cells
		}
	}
	t.Fatalf("no column %s in %q", name, records[0])
	return nil
}

// schema reads a Parquet table's columns with their types, and its rows' number.
func schema(t *testing.T, path string) (string, arrow.Table) {
	t.Helper()
	reader, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	fr, err := pqarrow.NewFileReader(reader, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	tbl, err := fr.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, f := range tbl.Schema().Fields() {
		columns = append(columns, f.Name+":"+f.Type.Name())
	}
	return strings.Join(columns, " "), tbl
}

const study = `{"model":"m.n","scenario":"s","n_replicates":2,"parameter_sets":[
 {"params":{"beta":0.5,"n":1,"mixed":true,"only":"a"}},
 {"params":{"beta":1,"n":2,"mixed":1}},
 {"params":{"beta":0.5,"n":1,"mixed":true,"only":"a"}},
 {"params":{"beta":2,"n":3,"mixed":"x"},"seed":18446744073709551615}]}`

func TestCollect(t *testing.T) {
	w := newWorld(t, study)
	w.run(func(task contracts.SimTask) map[string]string {
		return map[string]string{
			"cases.csv": fmt.Sprintf("day,n,who\n0,%d,NA\n1,%d,x\n", task.Seed%10, task.Set),
			"summary":   fmt.Sprintf(`{"peak": %d, "final": 0.25}`, task.Set),
		}
	})
	tables := w.mustCollect(CSV)
	want := []Table{{"cases.csv", filepath.Join(tables.Output, "cases.csv"), 14, []string{}}, {"summary", filepath.Join(tables.Output, "summary.csv"), 7, []string{}}}
	if diff := cmp.Diff(want, tables.Tables); diff != "" || tables.Missing != 0 || len(tables.Warnings) > 0 {
		t.Errorf("%+v (-want +got):\n%s", tables, diff)
	}
	records := rows(t, tables.Tables[1].Path)
	header := "param_id beta mixed n only seed replicate bundle content_digest environment_digest task peak final"
	if got := strings.Join(records[0], " "); got != header {
		t.Errorf("header %s, want %s", got, header)
	}
	for name, cells := range map[string]string{
		"beta": "0.5 0.5 1.0 1.0 0.5 0.5 2.0", "n": "1 1 2 2 1 1 3", "mixed": "true true 1 1 true true x", "only": "a a   a a ",
		"replicate": "0 1 0 1 0 1 0", "final": "0.25 0.25 0.25 0.25 0.25 0.25 0.25",
	} {
		if got := strings.Join(cellsOf(t, records, name), " "); got != cells {
			t.Errorf("%s = %q, want %q", name, got, cells)
		}
	}
	i := 0
	for task := range w.job.SimTasks(w.study) {
		for name, cell := range map[string]string{"seed": fmt.Sprint(task.Seed), "param_id": task.Params.ID, "task": task.Key(w.job.Content), "bundle": w.job.Bundle.String()} {
			if got := cellsOf(t, records, name)[i]; got != cell {
				t.Errorf("row %d: %s = %s, want %s", i, name, got, cell)
			}
		}
		i++
	}
	// n is a parameter's name too.
	cases := rows(t, tables.Tables[0].Path)
	if got := strings.Join(cases[0][11:], " "); got != "day out_n who" {
		t.Errorf("the output's columns are %s", got)
	}
	if got := strings.Join(cellsOf(t, cases, "who")[:2], " "); got != "NA x" {
		t.Errorf("who = %s", got)
	}

	parquet := w.mustCollect(Parquet)
	columns, tbl := schema(t, parquet.Tables[0].Path)
	wantColumns := "param_id:utf8 beta:float64 mixed:utf8 n:int64 only:utf8 seed:uint64 replicate:int64 bundle:utf8 content_digest:utf8 environment_digest:utf8 task:utf8 day:int64 out_n:int64 who:utf8"
	if columns != wantColumns || tbl.NumRows() != 14 {
		t.Errorf("%d rows of\n%s, want\n%s", tbl.NumRows(), columns, wantColumns)
	}
}

// The bytes of the tables depend on nothing but the study and its results.
func TestDeterministic(t *testing.T) {
	for _, format := range Formats() {
		var first []byte
		for range 4 {
			w := newWorld(t, study)
			w.run(func(task contracts.SimTask) map[string]string {
				return map[string]string{"out": fmt.Sprintf("a,b\n%d,x\n", task.Seed), "o" + task.Params.ID[:4]: "v,w\n1,2\n"}
			})
			tables := w.mustCollect(format)
			var all []byte
			for _, tbl := range tables.Tables {
				data, err := os.ReadFile(tbl.Path)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, data...)
			}
			if first == nil {
				first = all
			}
			if string(all) != string(first) {
				t.Errorf("%s differs from run to run", format)
			}
		}
	}
}

// Many rows are written in row groups, and all of them.
func TestRowGroups(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","n_replicates":3,"parameter_sets":[{"params":{}}]}`)
	var b strings.Builder
	b.WriteString("i,text\n")
	for i := range 70_000 {
		fmt.Fprintf(&b, "%d,row %d\n", i, i)
	}
	w.run(func(contracts.SimTask) map[string]string { return map[string]string{"long": b.String()} })
	tables := w.mustCollect(Parquet)
	_, tbl := schema(t, tables.Tables[0].Path)
	if tbl.NumRows() != 210_000 || tables.Tables[0].Rows != 210_000 {
		t.Errorf("%d rows, %+v", tbl.NumRows(), tables.Tables)
	}
	reader, err := file.OpenParquetFile(tables.Tables[0].Path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if n := reader.NumRowGroups(); n < 4 {
		t.Errorf("%d row groups", n)
	}
}

func TestCollisions(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","parameter_sets":[{"params":{"seed":1,"task":"t","beta":2,"out_beta":3,"param_seed":4}}]}`)
	w.run(func(contracts.SimTask) map[string]string {
		return map[string]string{"o": "beta,seed,param_id,x\n5,6,7,8\n"}
	})
	records := rows(t, w.mustCollect(CSV).Tables[0].Path)
	if got, want := strings.Join(records[0], " "), "param_id beta out_beta param_seed param_param_seed param_task seed replicate bundle content_digest environment_digest task out_out_beta out_seed out_param_id x"; got != want {
		t.Errorf("header\n%s, want\n%s", got, want)
	}
	if got := cellsOf(t, records, "param_param_seed")[0] + cellsOf(t, records, "out_out_beta")[0]; got != "15" {
		t.Errorf("cells %s", got)
	}
}

// An output that is no table is kept as it is, and one that is sometimes both.
func TestFiles(t *testing.T) {
	w := newWorld(t, study)
	w.run(func(task contracts.SimTask) map[string]string {
		mixed := "a,b\n1,2\n"
		if task.Set == 1 {
			mixed = "\x89PNG\x00"
		}
		return map[string]string{"plot.png": "\x89PNG\x00" + fmt.Sprint(task.Set), "mixed": mixed, "log": "hello\nworld\n", "../../escape": "\x00", "CON": "\x00", "con": "\x00"}
	})
	tables := w.mustCollect(Parquet)
	if len(tables.Tables) != 1 || tables.Tables[0].Rows != 5 || len(tables.Files) != 6 || len(tables.Warnings) != 1 {
		t.Errorf("%+v", tables)
	}
	for _, f := range tables.Files {
		if dir := filepath.Dir(f.Path); dir != filepath.Join(tables.Output, "files") {
			t.Errorf("output %q is kept in %s", f.Name, f.Path)
		}
	}
	data, err := os.ReadFile(filepath.Join(tables.Output, "files", "plot.png", "set-00003_replicate-000.png"))
	if err != nil || string(data) != "\x89PNG\x003" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestMissing(t *testing.T) {
	w := newWorld(t, study)
	w.run(func(task contracts.SimTask) map[string]string {
		if task.Set == 1 {
			return nil
		}
		return map[string]string{"o": "a,b\n1,2\n"}
	})
	tables := w.mustCollect(CSV)
	if tables.Missing != 2 || len(tables.Warnings) != 1 || tables.Tables[0].Rows != 5 {
		t.Errorf("%+v", tables)
	}
	// Types are of the whole job, also of the rows that are not there.
	if got := strings.Join(cellsOf(t, rows(t, tables.Tables[0].Path), "mixed"), " "); got != "true true true true x" {
		t.Errorf("mixed = %s", got)
	}
}

func TestNothing(t *testing.T) {
	w := newWorld(t, study)
	tables := w.mustCollect(CSV)
	if tables.Missing != 7 || len(tables.Tables) != 0 {
		t.Errorf("%+v", tables)
	}
}

// What is damaged is said, the tables that are there stay, and the task counts as not
// run from then on.
func TestDamage(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","n_replicates":2,"parameter_sets":[{"params":{"x":1}},{"params":{"x":2}}]}`) // no task twice: a copy would serve
	w.run(func(contracts.SimTask) map[string]string { return map[string]string{"o": "a,b\n1,2\n"} })
	var key string
	for entry, err := range w.store.List(t.Context(), "results/") {
		if err != nil {
			t.Fatal(err)
		}
		key = entry.Key
	}
	damageObject(t, w, key)
	dir := t.TempDir()
	c := &Collector{Catalog: w.catalog, Job: w.job, Dir: dir, Format: CSV}
	if _, err := c.Collect(t.Context()); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeIntegrity {
		t.Fatalf("err = %v, want integrity", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	index, err := w.catalog.Results(w.job).Index(t.Context(), archive.Option{})
	if err != nil || len(index.Damaged) != 1 {
		t.Errorf("%+v, %v", index, err)
	}
	tables, err := c.Collect(t.Context())
	if err != nil || tables.Missing == 0 || len(tables.Warnings) != 2 {
		t.Errorf("%+v, %v", tables, err)
	}
}

// damageObject changes the last bit of an object.
func damageObject(t *testing.T, w *world, key string) {
	t.Helper()
	data, err := blobstore.Read(t.Context(), w.store, key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := w.store.Put(t.Context(), key, strings.NewReader(string(data))); err != nil {
		t.Fatal(err)
	}
}

// Large outputs lie beside the records.
func TestBlobs(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","parameter_sets":[{"params":{"x":1}}]}`)
	a := w.catalog.Results(w.job)
	for task := range w.job.SimTasks(w.study) {
		content := "a,b\n" + strings.Repeat("1,2\n", 1000)
		artifact, err := a.PutBlob(t.Context(), contracts.NewArtifact("text/csv", []byte(content)), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		r := &contracts.SimReturn{TaskID: task.Key(w.job.Content), Outputs: map[string]contracts.Artifact{"o": artifact}}
		if err := a.NewWriter(w.job.ID, time.Now).Append(context.Background(), []*contracts.SimReturn{r}); err != nil {
			t.Fatal(err)
		}
	}
	if tables := w.mustCollect(Parquet); tables.Tables[0].Rows != 1000 {
		t.Errorf("%+v", tables)
	}
}

func TestNames(t *testing.T) {
	n := newNames()
	for _, tc := range [][2]string{
		{"final_size", "final_size"}, {"Final_Size", "Final_Size-2"}, {"a.csv", "a"}, {"a", "a-2"}, {"x/y.json", "x_y"}, {"../..", "_"},
		{"nul", "output_nul"}, {"", "output_"}, {"ä ö", "____"[:3]}, {"table.v2", "table.v2"}, {"com1.txt", "output_com1.txt"},
	} {
		if got := n.of(tc[0]); got != tc[1] {
			t.Errorf("%q: %s, want %s", tc[0], got, tc[1])
		}
	}
}
