package bundle

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

// project is a directory with a cache beside it, and a sink that has what it was given.
type project struct {
	t     *testing.T
	dir   string
	state string // the cache's path
	blobs *memory
}

func newProject(t *testing.T, f files) *project {
	return &project{t, f.write(t), filepath.Join(t.TempDir(), "stat"), newMemory()}
}

func (p *project) scan() (*os.Root, []Source) {
	p.t.Helper()
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = root.Close() })
	sources, err := Scan(root)
	if err != nil {
		p.t.Fatal(err)
	}
	return root, sources
}

func (m *memory) has(_ context.Context, b Blob) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.blobs[b.Stored] != nil, nil
}

// push builds with the cache and without, and wants the same index. It returns how many
// blobs were made with the cache.
func (p *project) push() int {
	p.t.Helper()
	root, sources := p.scan()
	cache := OpenCache(p.state)
	before := p.blobs.sunk
	cached, err := Builder{Sink: p.blobs.sink, Cache: cache, Has: p.blobs.has}.Build(p.t.Context(), root, sources)
	if err != nil {
		p.t.Fatal(err)
	}
	sunk := p.blobs.sunk - before
	if err := cache.Save(); err != nil {
		p.t.Fatal(err)
	}
	fresh, err := Build(p.t.Context(), root, sources, newMemory().sink)
	if err != nil {
		p.t.Fatal(err)
	}
	if diff := cmp.Diff(fresh, cached); diff != "" {
		p.t.Fatalf("index (-without cache +with):\n%s", diff)
	}
	return sunk
}

// age makes every file an hour old, so that none is racy, and waits until their change
// times are old enough as well.
func (p *project) age() {
	p.t.Helper()
	_, sources := p.scan()
	for _, s := range sources {
		if err := os.Chtimes(filepath.Join(p.dir, s.Path), time.Time{}, time.Now().Add(-time.Hour+time.Nanosecond)); err != nil {
			p.t.Fatal(err)
		}
	}
	_, sources = p.scan()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for settled := false; !settled; <-tick.C {
		c := &Cache{stamp: clockOf(p.dir)}
		settled = true
		for _, s := range sources {
			settled = settled && c.settled(statOf(s.Info))
		}
	}
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) put(name, content string) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(content), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func cachedProject(t *testing.T) *project {
	f := files{"big.bin": random(1, 5<<20), "table.csv": text(2, 3<<20), "empty": ""}
	for i := range 60 {
		f[fmt.Sprintf("src/m%03d.py", i)] = text(uint64(i), 40_000)
	}
	p := newProject(t, f)
	p.age()
	if p.push() == 0 {
		t.Fatal("nothing was made")
	}
	return p
}

// TestCacheFresh pushes what was written a moment ago.
func TestCacheFresh(t *testing.T) {
	p := newProject(t, files{"a": "a", "src/b": "b", "table.csv": text(2, 3<<20)})
	for i := range 5 {
		p.put("a", text(uint64(i), 1000))
		if p.push() == 0 {
			t.Error("nothing was made of an edit")
		}
		if n := p.push(); n != 0 {
			t.Errorf("an unchanged push made %d blobs", n)
		}
	}
}

// TestCacheChunks edits a large file: what it shares with the last one is read and cut, and
// neither compressed nor sent.
func TestCacheChunks(t *testing.T) {
	table := []byte(text(2, 30<<20))
	p := newProject(t, files{"table.csv": string(table)})
	all := p.push()
	table[15<<20] ^= 1
	p.put("table.csv", string(table))
	if n := p.push(); all < 4 || n < 1 || n > 2 {
		t.Errorf("%d of %d chunks were made again", n, all)
	}
}

func TestCacheUnchanged(t *testing.T) {
	p := cachedProject(t)
	if n := p.push(); n != 0 {
		t.Errorf("an unchanged push made %d blobs", n)
	}
}

// TestCacheReads makes sure that nothing is read: the bytes are changed behind the cache's
// back, as no file system lets anybody do.
func TestCacheReads(t *testing.T) {
	p := cachedProject(t)
	root, sources := p.scan()
	cache := OpenCache(p.state)
	want, err := Builder{Cache: cache}.Build(t.Context(), root, sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		if err := os.Remove(p.path(s.Path)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Builder{Cache: cache}.Build(t.Context(), root, sources)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCacheEdits(t *testing.T) {
	big := []byte(random(1, 5<<20))
	edits := map[string]func(p *project){
		"one file of a pack": func(p *project) { p.put("src/m030.py", "x") },
		"a file more":        func(p *project) { p.put("src/m0305.py", text(9, 2000)) },
		"an empty file more": func(p *project) { p.put("src/m0305.py", "") },
		"a file less":        func(p *project) { _ = os.Remove(p.path("src/m030.py")) },
		"a file renamed":     func(p *project) { _ = os.Rename(p.path("src/m030.py"), p.path("src/zz.py")) },
		"two files swapped": func(p *project) {
			_ = os.Rename(p.path("src/m030.py"), p.path("x"))
			_ = os.Rename(p.path("src/m031.py"), p.path("src/m030.py"))
			_ = os.Rename(p.path("x"), p.path("src/m031.py"))
		},
		"executable": func(p *project) { _ = os.Chmod(p.path("src/m030.py"), 0o755) },
		"a large file's middle": func(p *project) {
			p.put("big.bin", string(append(append(bytes.Clone(big[:3<<20]), "insert"...), big[3<<20:]...)))
		},
		"a large file small": func(p *project) { p.put("big.bin", "small") },
		"a small file large": func(p *project) { p.put("src/m030.py", random(3, 2<<20)) },
		"emptied":            func(p *project) { p.put("src/m030.py", "") },
		"same size, old time": func(p *project) {
			info, _ := os.Stat(p.path("src/m030.py"))
			p.put("src/m030.py", text(99, 40_000))
			_ = os.Chtimes(p.path("src/m030.py"), time.Time{}, info.ModTime())
		},
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			p := cachedProject(t)
			edit(p)
			if n := p.push(); n > 4 {
				t.Errorf("%d blobs were made again", n)
			}
			p.push()
		})
	}
}

// TestCacheRacy rewrites a file in the same instant, with equal size: the times cannot
// tell, and the content must.
func TestCacheRacy(t *testing.T) {
	p := newProject(t, files{"a": "0000"})
	for i := range 200 {
		cache := OpenCache(p.state)
		for j := range 2 {
			content := fmt.Sprintf("%03d%d", i, j)
			p.put("a", content)
			root, sources := p.scan()
			x, err := Builder{Cache: cache}.Build(t.Context(), root, sources)
			if err != nil {
				t.Fatal(err)
			}
			if x.Files[0].Digest != contracts.DigestOf([]byte(content)) {
				t.Fatalf("round %d: %q was taken for what was there before", i, content)
			}
		}
	}
}

// TestCacheSettled is the rule itself: some file systems give every write a time of its
// own, and nothing is racy on them.
func TestCacheSettled(t *testing.T) {
	now := time.Unix(1_700_000_000, 500_000_000)
	c := &Cache{stamp: now}
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixNano() }
	for name, test := range map[string]struct {
		stat fileStat
		want bool
	}{
		"written now":                       {fileStat{modified: ago(0), changed: ago(0)}, false},
		"written a tick ago":                {fileStat{modified: ago(4 * time.Millisecond), changed: ago(4 * time.Millisecond)}, false},
		"written later":                     {fileStat{modified: ago(-time.Hour)}, false},
		"written a while ago":               {fileStat{modified: ago(100 * time.Millisecond), changed: ago(100 * time.Millisecond)}, true},
		"given an old time now":             {fileStat{modified: ago(time.Hour), changed: ago(time.Millisecond)}, false},
		"seconds alone, written just now":   {fileStat{modified: ago(500 * time.Millisecond)}, false},
		"seconds alone, written before":     {fileStat{modified: ago(10*time.Second + 500*time.Millisecond)}, true},
		"whole seconds, as tar sets them":   {fileStat{modified: 1_600_000_000e9, changed: ago(100 * time.Millisecond)}, true},
		"the same, a tick ago":              {fileStat{modified: 1_600_000_000e9, changed: ago(4 * time.Millisecond)}, false},
		"seconds alone, two seconds' steps": {fileStat{modified: ago(2*time.Second + 500*time.Millisecond)}, false},
	} {
		if got := c.settled(test.stat); got != test.want {
			t.Errorf("%s: settled is %v", name, got)
		}
	}
}

func TestCacheBroken(t *testing.T) {
	p := cachedProject(t)
	whole, err := os.ReadFile(p.state)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{"flipped": flipped, "short": whole[:len(whole)/2], "empty": nil, "foreign": []byte("{}"), "longer": append(bytes.Clone(whole), 0)} {
		if err := os.WriteFile(p.state, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if c := OpenCache(p.state); len(c.files) != 0 || len(c.blobs) != 0 {
			t.Errorf("%s: it was read", name)
		}
		p.push()
		if n := p.push(); n != 0 {
			t.Errorf("%s: it was not made again", name)
		}
	}
}

// TestCacheCopied takes the cache of a directory to a copy of it with other bytes.
func TestCacheCopied(t *testing.T) {
	p := cachedProject(t)
	info, err := os.Stat(p.path("src/m030.py"))
	if err != nil {
		t.Fatal(err)
	}
	other := *p
	other.dir = t.TempDir()
	if err := os.MkdirAll(other.path("src"), 0o755); err != nil {
		t.Fatal(err)
	}
	other.put("src/m030.py", text(77, 40_000))
	if err := os.Chtimes(other.path("src/m030.py"), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	other.push()
}

func TestCacheWithoutSink(t *testing.T) {
	p := cachedProject(t)
	p.put("src/m030.py", "x = 2\n")
	root, sources := p.scan()
	cache := OpenCache(p.state)
	if _, err := (Builder{Cache: cache}).Build(t.Context(), root, sources); err != nil {
		t.Fatal(err)
	}
	if err := cache.Save(); err != nil {
		t.Fatal(err)
	}
	if n := p.push(); n == 0 || n > 2 {
		t.Errorf("a push after a look made %d blobs", n)
	}
}

func TestArena(t *testing.T) {
	a := newArena(1 << 20)
	for _, n := range []int64{1, 100_000, 1 << 20, 3, 700_000, 2 << 20} {
		buf, err := a.get(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(buf)) != n || n <= a.limit && a.total > a.limit {
			t.Errorf("%d bytes: got %d, of %d in all", n, len(buf), a.total)
		}
		a.put(buf)
	}
}

// TestCacheSeal: an index that the cache knows is not compressed before somebody wants its
// bytes, and is the same; another index is another one.
func TestCacheSeal(t *testing.T) {
	x, _ := build(t, sample().write(t))
	want, err := x.Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stat-cache")
	for _, known := range []bool{false, true} {
		c := OpenCache(path)
		got, err := x.Seal(c)
		if err != nil {
			t.Fatal(err)
		}
		if lazy := got.stored == nil; lazy != known {
			t.Errorf("known is %v, and compressed later is %v", known, lazy)
		}
		if got.Digest != want.Digest || got.Size != want.Size || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("with a cache that knows it (%v), the index is another one", known)
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
	}
	c := OpenCache(path)
	x.Files[0].Mode ^= 0o111
	if got, err := x.Seal(c); err != nil || got.Digest == want.Digest || got.stored == nil {
		t.Errorf("an index that the cache does not know is %v, %v", got, err)
	}
}
