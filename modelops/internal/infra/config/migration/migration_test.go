package migration

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each old file becomes what its golden file says: the new one, and the report.
func TestRead(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		result, err := Read(file, data)
		if err != nil {
			t.Error(err)
			continue
		}
		got := golden(result)
		path := strings.TrimSuffix(file, ".yaml") + ".golden"
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if diff := cmp.Diff(string(want), got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", file, err, diff)
		}
	}
}

func golden(r *Result) string {
	var b strings.Builder
	if r.Config.Settings.Environment == "" {
		r.Config.Settings.Environment = "dev"
	}
	written, err := r.Config.Marshal()
	if err != nil {
		fmt.Fprintf(&b, "incomplete: %v\n", err)
	}
	b.Write(written)
	fmt.Fprintf(&b, "\nschema %d; %+v\n\n", r.Schema, r.Former())
	for _, entry := range r.Report {
		fmt.Fprintln(&b, strings.TrimSpace(strings.Join([]string{entry.Outcome, entry.Key, entry.To, entry.Why}, "  ")))
	}
	return b.String()
}

func TestReadRefuses(t *testing.T) {
	for content, message := range map[string]string{
		"":                             "is empty",
		"schema_version: 3\n":          "is in the present form already",
		"schema_version: 1\n":          "is no configuration of the Python suite",
		"schemaVersion: 2\n":           "is no configuration of the Python suite",
		"settings: {}\n":               "is no configuration of the Python suite",
		"schema_version: 2\nx: &a 1\n": "has an anchor",
	} {
		_, err := Read("modelops.yaml", []byte(content))
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeInvalidConfig || !strings.Contains(e.Message, message) {
			t.Errorf("%q: %v, want %q", content, err, message)
		}
	}
}

// The rules lead to keys that there are.
func TestRules(t *testing.T) {
	known := map[string]bool{"schema_version": true}
	for _, key := range config.Keys() {
		known[key.Path] = true
	}
	for _, rule := range append(unifiedRules(), legacyRules()...) {
		if rule.to != "" && !known[rule.to] || (rule.to == "") == (rule.why == "") {
			t.Errorf("%+v", rule)
		}
	}
}

// The former names are those of the Python suite's own table.
func TestFormer(t *testing.T) {
	data, err := os.ReadFile("../../name/testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if strings.HasPrefix(line, "#") || cells[0] == "Test_1" {
			continue
		}
		rows++
		r := Result{Config: config.Default(), written: map[string]string{"settings.environment": cells[0], "settings.username": strings.TrimPrefix(cells[1], "-")}}
		got := r.Former()
		if got.RandomRegistry {
			got.Registry = "?"
		}
		if cells[0] == "qa-1" { // where the table has what the rule says of a user, and the suite took a random word
			cells[4] = "?"
		}
		if got.ResourceGroup != cells[2] || got.Registry != cells[4] || got.StorageAccount != cells[6] {
			t.Errorf("%v, want %v", got, cells)
		}
	}
	if rows != 21 {
		t.Errorf("%d rows", rows)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("schema_version: 2\nsettings: {environment: dev}\nregistry: {sku: [1, {a: b}]}\n"))
	f.Add([]byte("schemaVersion: 1\nregistry: {registry_name: É}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		result, err := Read("f", data)
		if err != nil {
			return
		}
		// What is taken over is valid but for what is missing.
		if _, err := result.Config.Marshal(); err != nil {
			for _, p := range contracts.AsError(err).Problems {
				if p.Message != "is missing" {
					t.Errorf("%s: %v", data, p)
				}
			}
		}
	})
}
