//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// example DIR NAME copies an example of the suite.
func example(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: example DIR NAME")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(filepath.Join("..", "..", "..", "examples", args[1]))))
}

// packages FILE N says that the first result of a file has at least N packages.
func packages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: packages FILE N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	_, rest, _ := strings.Cut(ts.ReadFile(args[0]), `"packages":{`)
	inside, _, found := strings.Cut(rest, "}")
	if got := strings.Count(inside, ":"); !found || got < want {
		ts.Fatalf("%d packages, not %d", got, want)
	}
}
