package conformance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts/conformance"
)

func TestCheckEnvironment(t *testing.T) {
	for verdict, want := range map[string]bool{"valid": true, "invalid": false} {
		files, err := filepath.Glob(filepath.Join("..", "testdata", verdict, "environment", "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			report := conformance.CheckEnvironment(file, data)
			if report.Valid != want || report.Valid != (len(report.Errors) == 0) || report.File != file {
				t.Errorf("%s: %+v", file, report)
			}
			for _, p := range append(report.Errors, report.Warnings...) {
				if p.Message == "" || p.Hint == "" {
					t.Errorf("%s: %+v has no message or no hint", file, p)
				}
			}
		}
	}
}

// The documentation's examples are files that the documentation accepts.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/environment-file.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for _, block := range strings.Split(string(page), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		if report := conformance.CheckEnvironment("dev.yaml", []byte(example)); !report.Valid || len(report.Warnings) > 0 {
			t.Errorf("%+v\n%s", report, example)
		}
		examples++
	}
	if examples != 2 {
		t.Errorf("the page has %d examples", examples)
	}
}

// Programs read the lists without asking whether they are there.
func TestReportDocument(t *testing.T) {
	report := conformance.CheckEnvironment("dev.yaml", []byte("environment: dev\nregistry: {provider: docker, login_server: localhost}\n"))
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"valid":true,"file":"dev.yaml","errors":[],"warnings":[]}`; string(data) != want {
		t.Errorf("report = %s", data)
	}
}

func ExampleCheckEnvironment() {
	report := conformance.CheckEnvironment("dev.yaml", []byte(`environment: dev
registry:
  provider: docker
  login_server: https://registry.example.com
`))
	fmt.Println("valid:", report.Valid)
	for _, p := range report.Errors {
		fmt.Println(p.Field, "-", p.Hint)
	}
	// Output:
	// valid: false
	// registry.login_server - leave out everything up to ://
}
