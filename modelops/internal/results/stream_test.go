package results

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// bigWorld has n tasks with an output of the given bytes each, stored in a random order
// in batches of up to 50.
func bigWorld(t testing.TB, n, bytes int) *world {
	t.Helper()
	var study strings.Builder
	study.WriteString(`{"model":"m.n","scenario":"s","parameter_sets":[`)
	for i := range n {
		if i > 0 {
			study.WriteByte(',')
		}
		fmt.Fprintf(&study, `{"params":{"beta":%d.5,"n":%d}}`, i, i)
	}
	study.WriteString(`]}`)
	w := newWorld(t, study.String())
	tasks := make([]contracts.SimTask, 0, n)
	for task := range w.job.SimTasks(w.study) {
		tasks = append(tasks, task)
	}
	rand.Shuffle(n, func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	writer := w.catalog.Results(w.job).NewWriter(w.job.ID, time.Now)
	for len(tasks) > 0 {
		var batch []*contracts.SimReturn
		for _, task := range tasks[:min(50, len(tasks), max(1, 256<<10/bytes))] {
			text := fmt.Sprintf("x,text\n%d,", task.Set)
			text += strings.Repeat("abcdefgh", max(1, (bytes-len(text))/8)) + "\n"
			batch = append(batch, &contracts.SimReturn{TaskID: task.Key(w.job.Content), EnvironmentDigest: strings.Repeat("e", 64),
				Outputs: map[string]contracts.Artifact{"out": contracts.NewArtifact("text/csv", []byte(text))}})
		}
		if err := writer.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		tasks = tasks[len(batch):]
	}
	w.study = nil
	return w
}

// Memory does not grow with what the tasks have answered.
func TestMemory(t *testing.T) {
	const n, bytes = 160, 64 << 10 // 10 MiB
	w := bigWorld(t, n, bytes)
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := live(), uint64(0)
	c := &Collector{Catalog: w.catalog, Job: w.job, Dir: t.TempDir(), Format: CSV}
	c.Progress = func(done, _ int) {
		if done%40 == 0 {
			most = max(most, live())
		}
	}
	tables, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	grown := (most - min(most, before)) >> 20
	t.Logf("%d MiB", grown)
	if tables.Tables[0].Rows != n || grown > 4 {
		t.Errorf("%d MiB of heap for %d MiB of outputs, %+v", grown, n*bytes>>20, tables)
	}
}

// The same rows are the same bytes, in columns of much text too.
func TestSameBytes(t *testing.T) {
	for _, format := range Formats() {
		seen := map[contracts.Digest]bool{}
		for range 8 {
			var out bytes.Buffer
			s, err := newSink(format, &out, []field{{"n", table.TypeInt64}, {"text", table.TypeString}})
			for n := 0; n < 20_000 && err == nil; n++ {
				err = s.row([]table.Cell{table.IntCell(int64(n)), table.TextCell(strings.Repeat(fmt.Sprint(n), 20))})
			}
			if err = errors.Join(err, s.close()); err != nil {
				t.Fatal(err)
			}
			seen[contracts.DigestOf(out.Bytes())] = true
		}
		if len(seen) != 1 {
			t.Errorf("%s: %d different files of the same rows", format, len(seen))
		}
	}
}

func BenchmarkCollect(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		w := bigWorld(b, n, 100)
		for _, format := range Formats() {
			b.Run(fmt.Sprintf("%s/%d", format, n), func(b *testing.B) {
				for b.Loop() {
					c := &Collector{Catalog: w.catalog, Job: w.job, Dir: filepath.Join(b.TempDir(), "out"), Format: format}
					if _, err := c.Collect(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "tasks/s")
			})
		}
	}
}
