// Package readers is the programs of other people that tables are for, for tests.
package readers

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// dir is where this package's files are.
func dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// Script is one of the programs beside this file.
func Script(name string) string { return filepath.Join(dir(), name) }

// Python is a Python that has pandas, Polars, DuckDB and pyarrow: that of the virtual
// environment MODELOPS_TEST_READERS, which `make readers` makes, else one that is made
// for the test.
func Python(t testing.TB) string {
	t.Helper()
	if env := os.Getenv("MODELOPS_TEST_READERS"); env != "" {
		return filepath.Join(env, "bin", "python")
	}
	env := filepath.Join(t.TempDir(), "readers")
	python := filepath.Join(env, "bin", "python")
	for _, args := range [][]string{
		{"python3", "-m", "venv", env},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r", Script("requirements.txt")},
	} {
		if output, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, output)
		}
	}
	return python
}
