package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/readers"
)

// typedOutput is an output with a column of each type that tables have; its values are
// those of readers/check.py.
func typedOutput(t *testing.T) []byte {
	t.Helper()
	fields := []arrow.Field{
		{Name: "whole", Type: arrow.PrimitiveTypes.Int64}, {Name: "big", Type: arrow.PrimitiveTypes.Uint64},
		{Name: "x", Type: arrow.PrimitiveTypes.Float64}, {Name: "text", Type: arrow.BinaryTypes.String},
		{Name: "flag", Type: arrow.FixedWidthTypes.Boolean}, {Name: "day", Type: arrow.FixedWidthTypes.Date32},
		{Name: "at", Type: arrow.FixedWidthTypes.Timestamp_us}, {Name: "instant", Type: arrow.FixedWidthTypes.Timestamp_us},
		{Name: "raw", Type: arrow.BinaryTypes.Binary}, {Name: "Größe", Type: arrow.PrimitiveTypes.Int64},
	}
	fields[6].Type = &arrow.TimestampType{Unit: arrow.Microsecond}
	for i := range fields {
		fields[i].Nullable = true
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	for _, row := range []string{
		`{"whole":-9223372036854775808,"big":18446744073709551615,"x":0.1,"text":"a,b \"c\"\nd","flag":true,"day":"2026-01-15","at":"2026-01-15 10:30:00.000001","instant":"2026-01-15 09:30:00Z","raw":"AP8=","Größe":1}`,
		`{"whole":9007199254740993,"big":0,"x":"NaN","text":"ä温🙂","flag":false,"day":"1969-12-31","at":"1969-12-31 23:59:59","instant":"1969-12-31 23:59:59.999999Z","raw":"eA==","Größe":2}`,
		`{}`,
		`{"whole":0,"big":1,"x":"+Inf","text":"\\N \t'","Größe":3}`,
	} {
		if err := json.Unmarshal([]byte(row), b); err != nil {
			t.Fatal(err)
		}
	}
	record := b.NewRecordBatch()
	var data bytes.Buffer
	w := ipc.NewWriter(&data, ipc.WithSchema(record.Schema()))
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// pandas, Polars, DuckDB and pyarrow find in every format, in one file and in parts, the
// values and types that were written.
func TestReaders(t *testing.T) {
	python := readers.Python(t)
	w := newWorld(t, `{"model":"m.n","scenario":"s","parameter_sets":[{"params":{"p":0.5},"seed":18446744073709551615},{"params":{"p":1},"seed":9223372036854775809}]}`)
	output := string(typedOutput(t))
	w.run(func(contracts.SimTask) map[string]string { return map[string]string{"all": output} })
	base := t.TempDir()
	for name, limit := range map[string]int64{"one": 0, "parts": 3} {
		for _, format := range Formats() {
			c := &Collector{Catalog: w.catalog, Job: w.job, Dir: filepath.Join(base, name), Format: format, PartRows: limit}
			tables, err := c.Collect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if parts := len(tables.Tables[0].Parts); parts != map[string]int{"one": 0, "parts": 3}[name] {
				t.Errorf("%s: %d parts", name, parts)
			}
		}
	}
	if output, err := exec.Command(python, readers.Script("check.py"), base).CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, output)
	}
	t.Run("documentation", func(t *testing.T) { documented(t, python) })
}

var codeBlock = regexp.MustCompile("(?s)```(python|r)\n(.*?)```")

// documented runs what docs/results.md shows, where it says it is run.
func documented(t *testing.T, python string) {
	page, err := os.ReadFile("../../../docs/results.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, `{"model":"m.n","scenario":"s","n_replicates":3,"parameter_sets":[{"params":{"beta":0.3},"seed":18446744073709551615},{"params":{"beta":0.4}}]}`)
	w.run(func(task contracts.SimTask) map[string]string {
		return map[string]string{"cases": fmt.Sprintf("day,infected\n0,%d\n1,%d\n", task.Set, task.Set+1)}
	})
	for name, limit := range map[string]int64{"one": 0, "parts": 5} {
		dir := filepath.Join(t.TempDir(), name)
		for _, format := range Formats() {
			c := &Collector{Catalog: w.catalog, Job: w.job, Dir: filepath.Join(dir, "tables"), Format: format, PartRows: limit}
			if _, err := c.Collect(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		blocks := codeBlock.FindAllStringSubmatch(string(page), -1)
		if len(blocks) < 4 {
			t.Fatalf("docs/results.md has %d pieces of code", len(blocks))
		}
		for _, block := range blocks {
			program := []string{python, "-c", block[2]}
			if block[1] == "r" {
				if _, err := exec.LookPath("Rscript"); err != nil && os.Getenv("CI") == "" {
					t.Log("R is not here, and is not tested")
					continue
				}
				program = []string{"Rscript", "-e", block[2]}
			}
			cmd := exec.Command(program[0], program[1:]...)
			cmd.Dir = dir
			output, err := cmd.CombinedOutput()
			// 1 of 4 replicates is infected on day 0 and 7 of them on day 1.
			if err != nil || !strings.Contains(string(output), "1.75") || !strings.Contains(string(output), "18446744073709551615") {
				t.Errorf("%s of %s: %v\n%s", block[1], name, err, output)
			}
		}
	}
}
