package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// arrive extracts the index beside the project and moves the files to it.
func (p *project) arrive(x *Index, from Fetcher, want func(File) bool) *Arrival {
	p.t.Helper()
	staging := p.t.TempDir()
	root, err := os.OpenRoot(staging)
	if err != nil {
		p.t.Fatal(err)
	}
	defer root.Close()
	if _, err := x.ExtractFiles(p.t.Context(), root, from, ExtractOptions{Want: want}); err != nil {
		p.t.Fatal(err)
	}
	a := x.Arrived(staging, want)
	for _, f := range x.Files {
		if want != nil && !want(f) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p.path(f.Path)), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(staging, f.Path), p.path(f.Path)); err != nil {
			p.t.Fatal(err)
		}
	}
	return a
}

// look is the files of the project with a cache; when blind, they are not there to be read.
func (p *project) look(cache *Cache, blind bool) []File {
	p.t.Helper()
	root, sources := p.scan()
	if blind {
		for _, s := range sources {
			if err := os.Remove(p.path(s.Path)); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	x, err := Builder{Cache: cache}.Build(p.t.Context(), root, sources)
	if err != nil {
		p.t.Fatal(err)
	}
	return x.Files
}

func TestAdoptClone(t *testing.T) {
	x, store := build(t, sample().write(t))
	p := newProject(t, nil)
	cache := OpenCache(p.state)
	cache.Adopt(p.dir, p.arrive(x, store, nil))
	if err := cache.Save(); err != nil {
		t.Fatal(err)
	}
	p.push() // is the same with the cache and without
	cache = OpenCache(p.state)
	cache.Adopt(p.dir, p.arrive(x, store, nil))
	if diff := cmp.Diff(Identities(x.Files), Identities(p.look(cache, true))); diff != "" {
		t.Error(diff)
	}
}

// TestAdoptEdit pulls an edit: neither what is new nor what stayed is read.
func TestAdoptEdit(t *testing.T) {
	p := cachedProject(t)
	before := p.look(OpenCache(p.state), false)
	edited := files{"big.bin": random(1, 4<<20) + random(3, 1<<20), "table.csv": text(2, 3<<20), "empty": ""}
	for _, f := range before {
		if _, ok := edited[f.Path]; !ok {
			content, err := os.ReadFile(p.path(f.Path))
			if err != nil {
				t.Fatal(err)
			}
			edited[f.Path] = string(content)
		}
	}
	edited["src/m030.py"] = "x = 1\n"
	x, store := build(t, edited.write(t))
	old := Identities(before)
	cache := OpenCache(p.state)
	cache.Adopt(p.dir, p.arrive(x, store, func(f File) bool { return old[f.Path] != f.Identity() }))
	if err := cache.Save(); err != nil {
		t.Fatal(err)
	}
	p.push()
	if diff := cmp.Diff(Identities(x.Files), Identities(p.look(OpenCache(p.state), true))); diff != "" {
		t.Error(diff)
	}
}

// TestAdoptTouched changes a file between its arrival and its adoption, or right after it,
// to the same length.
func TestAdoptTouched(t *testing.T) {
	want, _ := build(t, files{"a": "aaaa"}.write(t))
	for i := range 100 {
		x, store := build(t, files{"a": "0000"}.write(t))
		p := newProject(t, nil)
		cache := OpenCache(p.state)
		a := p.arrive(x, store, nil)
		if i%2 == 0 {
			p.put("a", "aaaa")
		}
		cache.Adopt(p.dir, a)
		if i%2 == 1 {
			p.put("a", "aaaa")
		}
		if diff := cmp.Diff(Identities(want.Files), Identities(p.look(cache, false))); diff != "" {
			t.Fatalf("round %d:\n%s", i, diff)
		}
	}
}
