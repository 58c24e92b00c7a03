//go:build unix

// Package pyenvtest gives tests the installers that a worker may have.
package pyenvtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// UV is a directory with the real uv in it, from PyPI, and nothing else: a python3 beside
// it would be the worker's.
func UV(t *testing.T) string {
	t.Helper()
	tools := filepath.Join(t.TempDir(), "tools")
	for _, argv := range [][]string{
		{"python3", "-m", "venv", tools},
		{filepath.Join(tools, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "uv==0.13.9"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	bin := t.TempDir()
	if err := os.Symlink(filepath.Join(tools, "bin", "uv"), filepath.Join(bin, "uv")); err != nil {
		t.Fatal(err)
	}
	return bin
}
