package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// tree is the files below a directory, hidden ones included.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	list := []string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			list = append(list, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// partWorld has one table "o" of eight rows and one output "pic" that is none.
func partWorld(t *testing.T) (*world, *Collector) {
	t.Helper()
	w := newWorld(t, `{"model":"m.n","scenario":"s","n_replicates":4,"parameter_sets":[{"params":{"x":1}}]}`)
	w.run(func(task contracts.SimTask) map[string]string {
		return map[string]string{"o": fmt.Sprintf("a,b\n%d,0\n%d,1\n", task.Replicate, task.Replicate), "pic": "\x00"}
	})
	return w, &Collector{Catalog: w.catalog, Job: w.job, Dir: filepath.Join(t.TempDir(), "out"), Format: CSV}
}

// A table is one file or a directory of parts, and each replaces the other whole.
func TestParts(t *testing.T) {
	_, c := partWorld(t)
	pics := []string{"files/pic/set-00000_replicate-000.bin", "files/pic/set-00000_replicate-001.bin", "files/pic/set-00000_replicate-002.bin", "files/pic/set-00000_replicate-003.bin"}
	for _, step := range []struct {
		limit int64
		files []string
		rows  []int
	}{
		{3, []string{"o.csv/part-00000.csv", "o.csv/part-00001.csv", "o.csv/part-00002.csv"}, []int{3, 3, 2}},
		{4, []string{"o.csv/part-00000.csv", "o.csv/part-00001.csv"}, []int{4, 4}}, // none is empty, no old one stays
		{0, []string{"o.csv"}, []int{8}},
		{8, []string{"o.csv"}, []int{8}},
		{7, []string{"o.csv/part-00000.csv", "o.csv/part-00001.csv"}, []int{7, 1}},
	} {
		c.PartRows = step.limit
		tables, err := c.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(slices.Clone(pics), step.files...), tree(t, c.Dir)); diff != "" {
			t.Errorf("%d rows (-want +got):\n%s", step.limit, diff)
		}
		if len(step.files) > 1 && len(tables.Tables[0].Parts) != len(step.files) || tables.Tables[0].Rows != 8 {
			t.Errorf("%d rows: %+v", step.limit, tables)
		}
		next := 0
		for i, name := range step.files {
			records := rows(t, filepath.Join(c.Dir, name))
			if len(records)-1 != step.rows[i] {
				t.Errorf("%s has %d rows, want %d", name, len(records)-1, step.rows[i])
			}
			for j, cell := range cellsOf(t, records, "replicate") {
				if want := fmt.Sprint(next / 2); cell != want {
					t.Errorf("%s row %d: replicate %s, want %s", name, j, cell, want)
				}
				next++
			}
		}
	}
	c.Format, c.PartRows, c.partBytes = JSON, 0, 1
	if tables, err := c.Collect(t.Context()); err != nil || len(tables.Tables[0].Parts) != 8 {
		t.Errorf("by size: %+v, %v", tables, err)
	}
}

// What somebody else put where a table should be stays, and nothing is written.
func TestForeignFiles(t *testing.T) {
	_, c := partWorld(t)
	c.PartRows = 3
	if _, err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"o.csv/notes.txt", "files/pic/mine.png.orig", "beside.csv"} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, c.Dir)
	c.PartRows = 0
	for _, name := range []string{"notes.txt", "mine.png.orig"} {
		_, err := c.Collect(t.Context())
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, name) {
			t.Errorf("err = %v, want a conflict that names %s", err, name)
		}
		if diff := cmp.Diff(before, tree(t, c.Dir)); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
		for _, dir := range []string{"o.csv", "files/pic"} {
			if err := os.Remove(filepath.Join(c.Dir, dir, name)); err == nil {
				break
			}
		}
		before = tree(t, c.Dir)
	}
	if _, err := c.Collect(t.Context()); err != nil || !slices.Contains(tree(t, c.Dir), "beside.csv") {
		t.Errorf("%v, %v", err, tree(t, c.Dir))
	}
}

// An interruption at any moment leaves what was there, and nothing else.
func TestInterrupted(t *testing.T) {
	_, c := partWorld(t)
	if _, err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := tree(t, c.Dir)
	c.PartRows = 1
	for at := 1; at < 12; at++ {
		ctx, cancel := context.WithCancel(t.Context())
		again := &Collector{Catalog: c.Catalog, Job: c.Job, Dir: c.Dir, Format: CSV, PartRows: 1}
		again.Progress = func(done, _ int) {
			if done >= at {
				cancel()
			}
		}
		_, err := again.Collect(ctx)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("at %d: err = %v", at, err)
		}
		if diff := cmp.Diff(before, tree(t, c.Dir)); diff != "" {
			t.Errorf("at %d (-before +after):\n%s", at, diff)
		}
	}
}

// What a killed run leaves is gone after the next, and what one that goes on has is not.
func TestAbandoned(t *testing.T) {
	_, c := partWorld(t)
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	running, err := newStaging(c.Dir, c.Job.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer running.remove()
	var killed []*staging
	for _, job := range []string{c.Job.ID, c.Job.ID, "job-0000000f"} {
		s, err := newStaging(c.Dir, job)
		if err != nil {
			t.Fatal(err)
		}
		killed = append(killed, s)
		for _, name := range []string{"o.csv", recordsName} {
			if err := os.WriteFile(s.path(name), []byte("half"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range killed {
		_ = s.lock.Close() // as the end of a process does
	}
	if _, err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range killed {
		if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
			t.Errorf("the killed run's directory: %v", err)
		}
	}
	if _, err := os.Stat(running.dir); err != nil {
		t.Errorf("the running one's: %v", err)
	}
}

// limited is a store in which segments behind the last can be read once: when they are looked
// into, and not when they are fetched.
type limited struct {
	blobstore.Store
	last string // a key; "" for all
	mu   sync.Mutex
	got  map[string]int
}

func (l *limited) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if strings.Contains(key, "/segments/") {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.got[key]++; l.last != "" && key > l.last && l.got[key] > 1 {
			return nil, &contracts.Error{Code: contracts.CodeUnavailable, Message: "no network", Hint: "look for it"}
		}
	}
	return l.Store.Get(ctx, key)
}

// A run goes on with what one before it had fetched, and makes the very same tables.
func TestCollectGoesOn(t *testing.T) {
	w := bigWorld(t, 100, 20_000) // thirteen in a segment
	want := filepath.Join(t.TempDir(), "want")
	if _, err := (&Collector{Catalog: w.catalog, Job: w.job, Dir: want, Format: CSV}).Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	collect := func(last string) (tables *Tables, segments int, err error) {
		store := &limited{Store: w.store, last: last, got: map[string]int{}}
		tables, err = (&Collector{Catalog: jobs.Open(store, nil), Job: w.job, Dir: dir, Format: CSV}).Collect(t.Context())
		for _, n := range store.got {
			segments += n
		}
		return tables, segments, err
	}
	var keys []string
	for entry, err := range w.store.List(t.Context(), contracts.ResultsPrefix(w.job.Content)+"/segments/") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, entry.Key)
	}
	const all = 8
	if len(keys) != all {
		t.Fatalf("%d segments", len(keys))
	}
	_, _, err := collect(keys[3])
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeUnavailable || e.Hint != "look for it; the same command goes on from where it is" {
		t.Fatalf("%v", err)
	}
	tables, got, err := collect("")
	if err != nil || tables.Resumed != 4*13 || got != all+all-4 {
		t.Fatalf("%v %+v, read %d segments", err, tables, got)
	}
	for _, name := range tree(t, want) {
		first, err := os.ReadFile(filepath.Join(want, name))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
	if diff := cmp.Diff(tree(t, want), tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// Text in JSON is exact, whatever it is, and what has no JSON is said.
func TestJSON(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","parameter_sets":[{"params":{"q":"\"<\u2028é\\\u0001"},"seed":18446744073709551615}]}`)
	w.run(func(contracts.SimTask) map[string]string {
		return map[string]string{"o": "i,x,n\n9007199254740993,NaN,\n1,2,\n"}
	})
	tables := w.mustCollect(JSON)
	data, err := os.ReadFile(tables.Tables[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"q":"\"<\u2028é\\\u0001","seed":18446744073709551615,"replicate":0,`) ||
		!strings.HasSuffix(lines[0], `,"i":9007199254740993,"x":null,"n":null}`) || !strings.HasSuffix(lines[1], `,"i":1,"x":2.0,"n":null}`) {
		t.Errorf("%s", data)
	}
	if len(tables.Warnings) != 1 || !strings.Contains(tables.Warnings[0], `output "o" has 1 cell that is NaN`) {
		t.Errorf("%q", tables.Warnings)
	}
	if tables := w.mustCollect(CSV); len(tables.Warnings) != 0 {
		t.Errorf("CSV warns: %q", tables.Warnings)
	}
}

// What readers of tables rely on: duplicates are there twice, replicates
// count from 0, and a seed that the study states is the seed.
func TestRows(t *testing.T) {
	w := newWorld(t, study)
	w.run(func(task contracts.SimTask) map[string]string {
		if task.Set == 1 {
			return nil
		}
		return map[string]string{"o": "a,b\n1,2\n"}
	})
	data, err := OpenRows(t.Context(), w.catalog, w.job, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	for range 2 { // as often as is wanted
		var got []string
		keys := map[string]int{}
		for row, err := range data.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d:%d/%d:%t", row.Number, row.Task.Set, row.Task.Replicate, row.Result != nil))
			if row.Result != nil {
				keys[row.Result.TaskID]++
				if row.Result.TaskID != row.Task.Key(w.job.Content) {
					t.Errorf("row %d has the result of another task", row.Number)
				}
			}
			if row.Number == 6 && row.Task.Seed != 18446744073709551615 {
				t.Errorf("seed %d", row.Task.Seed)
			}
		}
		if want := "0:0/0:true 1:0/1:true 2:1/0:false 3:1/1:false 4:2/0:true 5:2/1:true 6:3/0:true"; strings.Join(got, " ") != want {
			t.Errorf("rows %s, want %s", strings.Join(got, " "), want)
		}
		if len(keys) != 3 { // two that are there twice, and one
			t.Errorf("%d tasks", len(keys))
		}
	}
}
