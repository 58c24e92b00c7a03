package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

func scanned(t *testing.T, dir string) ([]string, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := Scan(root)
	var paths []string
	for _, s := range sources {
		p := s.Path
		if s.Mode == Executable {
			p += "*"
		}
		paths = append(paths, p)
	}
	return paths, err
}

func TestScanIgnores(t *testing.T) {
	dir := files{
		IgnoreFile:  "# comment\n*.log\ntemp/\n!temp/keep.txt\ndata/*.csv\n/rootonly.txt\n**/cache/**\n!.DS_Store\n!/.venv/\n",
		"debug.log": "", "a/b/debug.log": "", "temp/keep.txt": "", "data/file.csv": "", "data/sub/file.csv": "", "rootonly.txt": "",
		"sub/rootonly.txt": "", "x/cache/y": "", ".git/config": "", "__pycache__/t.pyc": "", "node_modules/p/i.js": "", "src/build/x.py": "",
		"build/x": "", "dist.txt": "", ".env": "", "secrets.key": "", ".DS_Store": "", "src/main.py": "", ".modelops-bundle/state.json": "",
		".modelops-bundle/registry.yaml": "", ".modelops/manifest.json": "{}", ".venv/bin/python*": "", "run.sh*": "",
	}.write(t)
	got, err := scanned(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		".DS_Store", ".modelops-bundle/registry.yaml", ".modelops/manifest.json", ".modelopsignore", ".venv/bin/python*", "data/sub/file.csv",
		"dist.txt", "run.sh*", "src/build/x.py", "src/main.py", "sub/rootonly.txt",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scanned (-want +got):\n%s", diff)
	}
}

func TestScanTracked(t *testing.T) {
	dir := files{TrackedFile: "b.log\nsrc/a.py\ngone.py\nb.log\n", "b.log": "", "src/a.py": "", "c.py": ""}.write(t)
	got, err := scanned(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b.log", "src/a.py"}, got); diff != "" {
		t.Errorf("scanned (-want +got):\n%s", diff)
	}
}

func TestScanLinks(t *testing.T) {
	dir := files{"real/a.txt": "content", "b*": "run"}.write(t)
	outside := files{"secret": "x"}.write(t)
	for link, target := range map[string]string{"inside": "real/a.txt", "executable": "b", "real/up": "../b"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := scanned(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b*", "executable*", "inside", "real/a.txt", "real/up*"}, got); diff != "" {
		t.Errorf("scanned (-want +got):\n%s", diff)
	}
	for link, target := range map[string]string{"d": "real", "out": "../" + filepath.Base(outside) + "/secret", "abs": filepath.Join(outside, "secret"), "nowhere": "gone", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = scanned(t, dir)
	e := contracts.AsError(err)
	if e == nil || e.Code != contracts.CodeInvalidBundle || len(e.Problems) != 5 {
		t.Fatalf("%+v, want all 5 bad links reported", e)
	}
}

func TestScanReportsEverything(t *testing.T) {
	dir := files{"a:b": "", "trailing.": "", "Same": "", "same": "", "ok": ""}.write(t)
	_, err := scanned(t, dir)
	e := contracts.AsError(err)
	if e == nil || len(e.Problems) != 3 {
		t.Fatalf("%+v, want 3 problems", e)
	}
	for i, name := range []string{"a:b", "same", "trailing."} {
		if !strings.Contains(e.Problems[i].Field, name) {
			t.Errorf("problem %d is %+v, want %s", i, e.Problems[i], name)
		}
	}
}
