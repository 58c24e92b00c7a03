//go:build unix

package dask

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An interpreter that is there already is taken when it has the version that is wanted, and
// no other is made; one that has another version leaves things as they are.
func TestBakedPython(t *testing.T) {
	dir := t.TempDir()
	program := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	worker := program("bundle-worker", "echo /made/python")
	for name, c := range map[string]struct {
		python, want string
		refused      bool
	}{
		"unset":           {want: "/made/python"},
		"the same":        {python: program("same", "echo "+defaultVersion), want: filepath.Join(dir, "same")},
		"another":         {python: program("other", "echo 2022.12.1"), want: "/made/python"},
		"no distributed":  {python: program("none", "exit 1"), refused: true},
		"no such program": {python: filepath.Join(dir, "absent"), refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Python(t.Context(), worker, t.TempDir(), "", append(os.Environ(), "MODELOPS_DASK_PYTHON="+c.python), io.Discard)
			if got != c.want || (err != nil) != c.refused {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// The images have the version that a bridge is first started with: a driver in a cluster
// makes no Python.
func TestImagesHaveTheVersion(t *testing.T) {
	lock, err := os.ReadFile("../../../images/requirements/worker.txt")
	if err != nil {
		t.Fatal(err)
	}
	if want := "distributed==" + defaultVersion + " "; !strings.Contains(string(lock), want) {
		t.Errorf("the images' lock does not have %s", want)
	}
}
