package cli

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

var update = flag.Bool("update", false, "rewrite the documentation")

// The reference in docs/cli is what the program says.
func TestDocumentation(t *testing.T) {
	const page = "../../../docs/cli/mops.md"
	want := command.Reference(newApp())
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the program says; run make docs:\n%s", page, diff)
	}
}

func TestCommandsAreDocumented(t *testing.T) {
	if err := command.Check(newApp()); err != nil {
		t.Error(err)
	}
}
