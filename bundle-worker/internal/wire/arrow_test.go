package wire

import (
	"os"
	"path/filepath"
	"testing"
)

// The files in testdata/arrow were written by pyarrow 26.0.1 and polars 2.1.0.
func TestReadArrow(t *testing.T) {
	const notFound = "Model models.nope not found in registry"
	for name, want := range map[string]struct {
		rows  int64
		error string
	}{
		"empty-with-error.arrows":        {0, notFound},
		"empty-batch-with-error.arrows":  {0, notFound},
		"empty-with-error.arrow":         {0, notFound},
		"empty-batch-with-error.arrow":   {0, notFound},
		"legacy-empty-with-error.arrows": {0, notFound},
		"rows-with-error.arrows":         {5, notFound},
		"empty.arrows":                   {0, ""},
		"rows.arrow":                     {5, ""},
		"dictionary-rows.arrows":         {3, "none"},
		"polars-rows.arrow":              {2, ""},
		"polars-rows.arrows":             {2, ""},
		"polars-empty.arrow":             {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			table, ok := readArrow(fixture(t, name))
			if !ok || table.rows != want.rows || table.metadata["error"] != want.error {
				t.Errorf("ok %v, %d rows, metadata %v", ok, table.rows, table.metadata)
			}
		})
	}
	for _, other := range []string{"", "PAR1", "day,infected\n1,2\n", "ARROW1\x00\x00", "\xff\xff\xff\xff\x00\x00\x00\x00", "{}"} {
		if table, ok := readArrow([]byte(other)); ok {
			t.Errorf("%q is a table: %v", other, table)
		}
	}
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "arrow", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzReadArrow(f *testing.F) {
	names, err := filepath.Glob("testdata/arrow/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		f.Add(fixture(f, filepath.Base(name)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		table, ok := readArrow(data)
		if !ok && (table.rows != 0 || table.metadata != nil) {
			t.Errorf("no table, and yet %v", table)
		}
	})
}
