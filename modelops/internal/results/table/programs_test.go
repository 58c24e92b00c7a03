package table

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/modelops/internal/results/readers"
)

const (
	allHeader = "i8:int64 u8:int64 i16:int64 u16:int64 i32:int64 u32:int64 u64:uint64 f16:float64 f32:float64 f64:float64 b:bool s:utf8 ls:utf8 bin:binary lbin:binary fsb:binary cat:utf8 dec:float64 dec0:int64 d32:date32 d64:date32 ns:timestamp fine:utf8 sec:timestamp tz:timestamp time:utf8 dur:float64 list:utf8 struct:utf8 map:utf8 null:utf8 Größe:int64"
	allFirst  = `-5 255 -5 65535 -5 4294967295 18446744073709551615 0.5 0.5 NaN true ä,"x" x AAE= AAE= YWI= red 1.25 12345 2026-01-15 2026-01-15 2026-01-15T10:30:00.000001 1970-01-01T00:00:00.000000001 1969-01-15T10:30:00 2026-01-15T10:30:00Z 10:30:00 90.0 [1,2] {"a":1,"b":"x"} [{"key":"k","value":1}] - 1`
	allSecond = "- - - - - - - 1.0 - - - - - - - - - - - - - - - - - - - - - - - -"
	// By what the file declares, and not by the cells that it does not have.
	empty  = "i8:int64 u8:int64 i16:int64 u16:int64 i32:int64 u32:int64 u64:uint64 f16:float64 f32:float64 f64:float64 b:bool s:utf8 ls:utf8 bin:binary lbin:binary fsb:binary cat:utf8 dec:float64 dec0:float64 d32:date32 d64:date32 ns:timestamp fine:timestamp sec:timestamp tz:timestamp time:utf8 dur:float64 list:utf8 struct:utf8 map:utf8 null:utf8 Größe:int64"
	all    = allHeader + "\n" + allFirst + "\n" + allSecond
	views  = allHeader + " sv:utf8 bv:binary ree:int64\n" + allFirst + " x eA== 7\n" + allSecond + " - - -"
	polars = "i:int64 cat:utf8 enum:utf8 t:timestamp dur:float64 l:utf8 st:utf8 dec:float64 bin:binary n:utf8 f:float64\n" +
		`1 a a 2026-01-15T10:30:00 86400.0 [1,2] {"a":1} 1.25 AHg= - NaN` + "\n- - - - - - - - - - -"
	pandas = "i:int64 f:float64 s:utf8 cat:utf8 t:timestamp I:int64 td:float64\n1 1.5 a x 2026-01-15T10:30:00 1 1.0\n2 - - y 2026-01-15T10:31:00 - 2.0"
	plain  = "i:int64 f:float64 s:utf8 cat:utf8\n1 1.5 a x\n2 - - y"
	lines  = "i:int64 cat:utf8 l:utf8 st:utf8\n1 a [1,2] {\"a\":1}\n- - - -"
)

// What pyarrow, Polars, pandas, DuckDB and Python write is read, whatever the compression.
func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	if output, err := exec.Command(readers.Python(t), readers.Script("write.py"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	want := map[string]string{
		"all-parquet-": all, "views-": views, "polars-parquet": polars, "polars-ipc": polars, "polars-stream": polars,
		"polars-records": lines, "polars-lines": lines, "polars.csv": "i:int64 cat:utf8 t:utf8 f:float64\n1 a 2026-01-15T10:30:00.000000 NaN\n- - - -",
		"pandas-parquet": pandas, "pandas-feather": pandas, "pandas-json": plain, "pandas-lines": plain,
		"pandas.csv":       "index:int64 i:int64 f:float64 s:utf8 cat:utf8\n0 1 1.5 a x\n1 2 - - y",
		"pandas-index.tsv": "index:int64 i:int64 f:float64 s:utf8 cat:utf8\n0 1 1.5 a x\n1 2 - - y",
		"python-json":      "x:float64 y:uint64\nNaN 1\n-Infinity 18446744073709551615",
		"duckdb-parquet":   "dec:float64 huge:float64 l:utf8\n0.1 3.0 [1,2]",
		"empty-":           empty,
		"twice":            `not a table: it has two columns of the name "a"`,
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		name := file.Name()
		for prefix, shown := range want {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			seen[prefix] = true
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := show(input(name, data))
			if IsNotTable(err) {
				got = "not a table: " + err.Error()
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if diff := cmp.Diff(shown, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	if len(seen) != len(want) {
		t.Errorf("seen are %v", seen)
	}
}
