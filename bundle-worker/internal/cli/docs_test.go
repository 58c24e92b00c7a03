//go:build unix

package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the documentation")

// The reference in docs/cli is what the program says.
func TestDocumentation(t *testing.T) {
	const page = "../../../docs/cli/bundle-worker.md"
	var b strings.Builder
	fmt.Fprintf(&b, "# bundle-worker\n\nWritten from the program by `make docs`.\n\n## bundle-worker\n\n```text\n%s```\n", usage(commands()))
	for _, c := range commands() {
		fmt.Fprintf(&b, "\n## bundle-worker %s\n\n```text\n%s```\n", c.name, c.help())
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("%s is not what the program says; run make docs:\n%s", page, diff)
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"ensure-local REF --json":              "ensure-local",
		"--json ensure-local --env-file f REF": "ensure-local",
		"run REF --report f -- ls -l --json":   "run",
		"exec --stream --outputs d":            "exec",
		"exec --inputs d":                      "exec",
		"cache list":                           "cache list",
		"cache verify":                         "cache verify",
		"cache gc --max-bytes 5 --dry-run":     "cache gc",
		"ensure-local":                         "error",
		"ensure-local a b":                     "error",
		"ensure-local REF --stream":            "error",
		"ensure-local REF --nosuch":            "error",
		"run REF":                              "error",
		"run -- ls":                            "error",
		"exec REF":                             "error",
		"cache":                                "error",
		"cache drop":                           "error",
		"nosuch":                               "error",
		"exec -- ls":                           "error",
		"cache gc --max-bytes many":            "error",
		"":                                     "",
		"--help":                               "",
	} {
		var f flags
		got := ""
		c, _, err := f.parse(commands(), strings.Fields(line))
		switch {
		case err != nil:
			got = "error"
		case c != nil:
			got = c.name
		}
		if got != want {
			t.Errorf("%q: %s, %v, want %s", line, got, err, want)
		}
	}
}
