package bundle

import (
	"os"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

// TestBuildLinks reads links that lead out of their directory, and not out of the project.
func TestBuildLinks(t *testing.T) {
	p := newProject(t, files{"data/a": "first", "src/b": "second"})
	for link, to := range map[string]string{"src/a": "../data/a", "data/up": "../src/b", "top": "src/b", "src/near": "b"} {
		if err := os.Symlink(to, p.path(link)); err != nil {
			t.Fatal(err)
		}
	}
	root, sources := p.scan()
	x, err := Build(t.Context(), root, sources, newMemory().sink)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"data/a": "first", "data/up": "second", "src/a": "first", "src/b": "second", "src/near": "second", "top": "second"}
	if len(x.Files) != len(want) {
		t.Errorf("%d files", len(x.Files))
	}
	for _, f := range x.Files {
		if f.Digest != contracts.DigestOf([]byte(want[f.Path])) {
			t.Errorf("%s is not %q", f.Path, want[f.Path])
		}
	}
	if err := os.Remove(p.path("data/a")); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), root, sources, newMemory().sink); contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("without what a link leads to: %v", err)
	}
}
