package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyproject"
	"github.com/modelops-suite/modelops-go/contracts"
)

func TestFind(t *testing.T) {
	const pyproj = "[project]\nname = \"m\"\n[project.entry-points.\"modelops.wire\"]\nx = \"m.wire:run\"\n"
	for name, test := range map[string]struct {
		files     map[string]string
		installed []Installed
		want      string // kind name source
		says      string // of the error
		code      contracts.Code
	}{
		"wire.py":           {files: map[string]string{"wire.py": ""}, want: "wire wire.py:wire wire.py"},
		"manifest, wire":    {files: map[string]string{"wire.py": "", ".modelops/manifest.json": `{"wire": "pkg/w.py:go"}`}, want: "wire pkg/w.py:go manifest"},
		"manifest, command": {files: map[string]string{"wire.py": "", ".modelops/manifest.json": `{"command": ["Rscript", "run.R"]}`}, want: "command Rscript run.R manifest"},
		"manifest without":  {files: map[string]string{"wire.py": "", ".modelops/manifest.json": `{"resources": {"cores": 2}}`}, want: "wire wire.py:wire wire.py"},
		"pyproject first":   {files: map[string]string{"wire.py": "", ".modelops/manifest.json": `{"command": ["a"]}`, "pyproject.toml": pyproj}, want: "wire m.wire:run entry_point"},
		"installed":         {files: map[string]string{"wire.py": ""}, installed: []Installed{{"x", "c.wire:f", "calabaria"}}, want: "wire c.wire:f entry_point"},
		"twice the same":    {files: map[string]string{"pyproject.toml": pyproj}, installed: []Installed{{"y", "m.wire:run", "m"}}, want: "wire m.wire:run entry_point"},
		"two":               {files: map[string]string{"pyproject.toml": pyproj, "wire.py": ""}, installed: []Installed{{"x", "c.wire:f", "calabaria"}}, says: `"c.wire:f, m.wire:run"`, code: contracts.CodeWireMissing},
		"none":              {files: map[string]string{"model.py": ""}, says: "does not say how", code: contracts.CodeWireMissing},
		"broken manifest":   {files: map[string]string{"wire.py": "", ".modelops/manifest.json": `{"wire": `}, says: "manifest.json", code: contracts.CodeInvalidBundle},
		"both":              {files: map[string]string{".modelops/manifest.json": `{"wire": "a:b", "command": ["c"]}`}, says: "", code: contracts.CodeInvalidBundle},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				write(t, filepath.Join(dir, name), content)
			}
			project, err := pyproject.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			entry, err := Find(dir, project, test.installed)
			if test.code != "" {
				e := contracts.AsError(err)
				if e == nil || e.Code != test.code || !strings.Contains(e.Message, test.says) {
					t.Errorf("got %+v", e)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := entry.Kind + " " + entry.Name + " " + entry.Source; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
