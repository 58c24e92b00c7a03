package pyproject_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/contracts"
)

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want pyproject.Project
	}{
		"no project": {"[tool.black]\nline-length = 100\n", pyproject.Project{}},
		"everything": {`
[project]
name = "model"
requires-python = ">=3.9"
dependencies = ["numpy==2.0", "polars"]
[project.entry-points."modelops.wire"]
execute = "model.wire:wire"
again = "model.wire:wire"
[project.entry-points."other"]
x = "y:z"
`, pyproject.Project{RequiresPython: ">=3.9", Dependencies: []string{"numpy==2.0", "polars"}, Wires: []string{"model.wire:wire"}}},
		"poetry beside project": {"[project]\ndependencies = [\"a\"]\n[tool.poetry.dependencies]\na = {extras = [\"x\"]}\n",
			pyproject.Project{Dependencies: []string{"a"}}},
		"poetry with python alone": {"[tool.poetry.dependencies]\npython = \">=3.9\"\n", pyproject.Project{}},
		"dynamic":                  {"[project]\ndynamic = [\"dependencies\"]\n", pyproject.Project{Elsewhere: "[project].dynamic"}},
		"poetry":                   {"[tool.poetry.dependencies]\npython = \"^3.9\"\nnumpy = \"*\"\n", pyproject.Project{Elsewhere: "[tool.poetry.dependencies]"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pyproject.Read(write(t, test.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got, err := pyproject.Read(t.TempDir()); err != nil || got.Dependencies != nil {
		t.Errorf("without the file: %v %v", got, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		file, says string
		code       contracts.Code
	}{
		"broken":   {"[project\n", "line 1", contracts.CodeInvalidBundle},
		"of types": {"[project]\ndependencies = \"numpy\"\n", "is broken", contracts.CodeInvalidBundle},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pyproject.Read(write(t, test.file))
			e := contracts.AsError(err)
			if e == nil || e.Code != test.code || !strings.Contains(e.Message, test.says) || e.Hint == "" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, pyproject.File), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
