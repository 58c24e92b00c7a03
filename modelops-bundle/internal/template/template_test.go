package template

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// Every Python file of every template compiles, and every placeholder is filled.
func TestTemplates(t *testing.T) {
	for _, name := range Names() {
		files, err := Files(name, "team/seir")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if bytes.Contains(f.Data, []byte("{{")) {
				t.Errorf("%s: %s has a placeholder left", name, f.Path)
			}
			if !strings.HasSuffix(f.Path, ".py") {
				continue
			}
			cmd := exec.Command("python3", "-I", "-c", "import sys; compile(sys.stdin.read(), sys.argv[1], 'exec')", f.Path)
			cmd.Stdin = bytes.NewReader(f.Data)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, f.Path, err, out)
			}
		}
	}
	if _, err := Files("shared", "x"); err == nil {
		t.Error("what all projects get is offered as a template")
	}
}
