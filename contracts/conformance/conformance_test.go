package conformance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
