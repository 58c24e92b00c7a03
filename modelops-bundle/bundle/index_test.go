package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

// memory is a sink and a fetcher.
type memory struct {
	mu    sync.Mutex
	blobs map[contracts.Digest][]byte
	sunk  int
}

func newMemory() *memory { return &memory{blobs: map[contracts.Digest][]byte{}} }

func (m *memory) sink(_ context.Context, blob Blob, stored []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[blob.Stored] = bytes.Clone(stored)
	m.sunk++
	return nil
}

func (m *memory) Fetch(_ context.Context, blob Blob) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blobs[blob.Stored]
	if !ok {
		return nil, fmt.Errorf("no blob %s", blob.Stored)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// files is a project: paths to content; a path that ends in * is executable.
type files map[string]string

func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for p, content := range f {
		mode := os.FileMode(0o644)
		p, executable := strings.CutSuffix(p, "*")
		if executable {
			mode = 0o755
		}
		full := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func build(t *testing.T, dir string) (*Index, *memory) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	store := newMemory()
	x, err := Build(context.Background(), root, sources, store.sink)
	if err != nil {
		t.Fatal(err)
	}
	return x, store
}

func random(seed uint64, n int) string {
	var key [32]byte
	key[0] = byte(seed)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data)
	return string(data)
}

func text(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%d,%0.6f\n", r.IntN(1000), r.Float64())
	}
	return b.String()[:n]
}

func sample() files { return maps.Clone(madeSample()) }

var madeSample = sync.OnceValue(func() files {
	f := files{
		"wire.py": "def wire(e, p, s): return {}\n", "run.sh*": "#!/bin/sh\n", "empty": "", "a/b/c.txt": "x",
		"data/large.bin": random(1, 2<<20), "data/large.csv": text(2, 6<<20), "data/same.bin": random(1, 2<<20),
	}
	for i := range 200 {
		f[fmt.Sprintf("src/m%03d.py", i)] = text(uint64(i), 20_000)
	}
	return f
})

func TestRoundTrip(t *testing.T) {
	dir := sample().write(t)
	x, store := build(t, dir)
	stored, err := x.Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseIndex(stored.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, parsed); diff != "" {
		t.Fatalf("the index read is not the one written:\n%s", diff)
	}
	if store.sunk != len(x.Blobs) {
		t.Errorf("%d blobs given to the sink, the index has %d", store.sunk, len(x.Blobs))
	}
	out := t.TempDir()
	root, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	fetched, err := parsed.Extract(context.Background(), root, store)
	if err != nil {
		t.Fatal(err)
	}
	if fetched <= 0 || fetched > x.Size() {
		t.Errorf("fetched %d bytes of %d", fetched, x.Size())
	}
	again, _ := build(t, out)
	if again.Content != x.Content {
		t.Errorf("extracted content is %s, pushed was %s", again.Content, x.Content)
	}
}

// The digests below are the format. A change of any is a new version of it.
func TestGolden(t *testing.T) {
	x, _ := build(t, sample().write(t))
	stored, err := x.Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	var blobs bytes.Buffer
	for _, b := range x.Blobs {
		fmt.Fprintln(&blobs, b.Raw, b.RawSize, b.Stored, b.StoredSize, b.Encoding)
	}
	got := map[string]string{
		"content": string(x.Content),
		"index":   string(stored.Digest),
		"blobs":   fmt.Sprintf("%d %s", len(x.Blobs), contracts.DigestOf(blobs.Bytes())),
	}
	want := map[string]string{
		"content": "sha256:df6a887c35358b8640f47f484a83142209a20037105127c866578d4ddd14c6dc",
		"index":   "sha256:4775ea9bc287850ca869a31983a4c61c1f9e34058609c60e1432ab7a565d6b74",
		"blobs":   "6 sha256:0499f87b0617336618e60197d6c26d3c4d4618c76cedcd2fef84f6c6a59e41f0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the format changed:\n%s", diff)
	}
}

// Where the chunker cuts is the format, too.
func TestGoldenCuts(t *testing.T) {
	root, err := os.OpenRoot(files{"large": random(9, 40<<20)}.write(t))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	x, err := Build(context.Background(), root, sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, part := range x.Files[0].Parts {
		got = append(got, part.Length)
	}
	want := []int64{5455373, 4449495, 4073622, 4825629, 4577036, 1713641, 4272379, 1330745, 1578479, 4495276, 4562485, 608880}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the chunker cuts elsewhere:\n%s", diff)
	}
}

func TestClockAndHostDoNotCount(t *testing.T) {
	f := sample()
	one, _ := build(t, f.write(t))
	dir := f.write(t)
	old := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	if err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(p, old, old)
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "empty-dir", "nested"), 0o755); err != nil {
		t.Fatal(err)
	}
	two, _ := build(t, dir)
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("equal content, different index:\n%s", diff)
	}
}

func TestEditTouchesFewBlobs(t *testing.T) {
	f := sample()
	before, _ := build(t, f.write(t))
	have := map[contracts.Digest]bool{}
	for _, b := range before.Blobs {
		have[b.Stored] = true
	}
	for name, edit := range map[string]func(files){
		"small file": func(f files) { f["src/m100.py"] += "# one more line\n" },
		"new file":   func(f files) { f["src/new.py"] = text(999, 3000) },
		"mode":       func(f files) { f["src/m003.py*"] = f["src/m003.py"]; delete(f, "src/m003.py") },
		"insertion":  func(f files) { s := f["data/large.csv"]; f["data/large.csv"] = s[:3<<20] + "inserted\n" + s[3<<20:] },
	} {
		edited := sample()
		edit(edited)
		after, _ := build(t, edited.write(t))
		if after.Content == before.Content {
			t.Errorf("%s: the content digest did not change", name)
		}
		fresh := 0
		for _, b := range after.Blobs {
			if !have[b.Stored] {
				fresh++
			}
		}
		if fresh > 2 {
			t.Errorf("%s: %d new blobs of %d, want 2 at most", name, fresh, len(after.Blobs))
		}
	}
}

func TestHostileIndex(t *testing.T) {
	x, _ := build(t, files{"a": "hello", "b/c": "world", "big": text(1, 5<<20)}.write(t))
	bigBlob := len(x.Blobs) - 1
	for name, spoil := range map[string]func(*Index){
		"path leaves":     func(x *Index) { x.Files[0].Path = "../a" },
		"state directory": func(x *Index) { x.Files[0].Path = ".modelops-bundle/config.yaml" },
		"unsorted":        func(x *Index) { x.Files[0], x.Files[1] = x.Files[1], x.Files[0] },
		"twice":           func(x *Index) { x.Files[1].Path = "a" },
		"file and dir":    func(x *Index) { x.Files[1].Path = "a/c" },
		"case":            func(x *Index) { x.Files[1].Path = "A"; x.Files[0], x.Files[1] = x.Files[1], x.Files[0] },
		"negative size":   func(x *Index) { x.Files[0].Size = -1 },
		"huge size":       func(x *Index) { x.Files[0].Size = 1 << 62 },
		"length too long": func(x *Index) { x.Files[0].Parts[0].Length = 6 },
		"offset":          func(x *Index) { x.Files[0].Parts[0].Offset = 1 },
		"negative offset": func(x *Index) { x.Files[0].Parts[0].Offset = -5 },
		"overlap":         func(x *Index) { x.Files[1].Parts[0].Offset = 4 },
		"no such blob":    func(x *Index) { x.Files[0].Parts[0].Blob = 7000 },
		"no part":         func(x *Index) { x.Files[0].Parts = nil },
		"unused blob": func(x *Index) {
			x.Blobs = append(x.Blobs, Blob{Raw: contracts.DigestOf([]byte("q")), RawSize: 1, Stored: contracts.DigestOf([]byte("q")), StoredSize: 1, Encoding: Identity})
		},
		"blob twice":        func(x *Index) { x.Blobs[bigBlob] = x.Blobs[0] },
		"blob over limit":   func(x *Index) { x.Blobs[0].RawSize = 1 << 40 },
		"blob expands":      func(x *Index) { x.Blobs[0].StoredSize = x.Blobs[0].RawSize + 1 },
		"blob without size": func(x *Index) { x.Blobs[0].RawSize = 0 },
		"encoding":          func(x *Index) { x.Blobs[0].Encoding = "xz" },
		"identity digest":   func(x *Index) { x.Blobs[0].Encoding, x.Blobs[0].Stored = Identity, contracts.DigestOf(nil) },
		"chunk digest":      func(x *Index) { x.Files[2].Digest = contracts.DigestOf([]byte("other")) },
		"content digest":    func(x *Index) { x.Content = contracts.DigestOf([]byte("other")) },
		"no digest":         func(x *Index) { x.Files[0].Digest = "" },
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := clone(t, x)
			spoil(spoiled)
			stored := marshalUnchecked(t, spoiled)
			_, err := ParseIndex(stored)
			if err == nil {
				t.Fatal("accepted")
			}
			if code := contracts.AsError(err).Code; code != contracts.CodeInvalidBundle && code != contracts.CodeIntegrity {
				t.Errorf("code %s: %v", code, err)
			}
		})
	}
}

func clone(t *testing.T, x *Index) *Index {
	t.Helper()
	parsed, err := ParseIndex(marshalUnchecked(t, x))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func marshalUnchecked(t *testing.T, x *Index) []byte {
	t.Helper()
	raw, err := json.Marshal(document{Version: Version, Content: x.Content, Files: x.Files, Blobs: x.Blobs})
	if err != nil {
		t.Fatal(err)
	}
	return compress(raw, Pack)
}

func TestHostileFrames(t *testing.T) {
	bomb := compress(make([]byte, MaxIndex+1), Pack)
	for name, stored := range map[string][]byte{
		"empty": {}, "not zstd": []byte("hello"), "expands without end": bomb, "not json": compress([]byte("{"), Pack),
		"null": compress([]byte("null"), Pack), "other version": compress([]byte(`{"version":3}`), Pack),
	} {
		if _, err := ParseIndex(stored); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	blob := Blob{Raw: contracts.DigestOf(nil), RawSize: 10, Stored: contracts.DigestOf(bomb), StoredSize: int64(len(bomb)), Encoding: Zstd}
	if _, err := blob.Decode(bomb); contracts.AsError(err).Code != contracts.CodeIntegrity {
		t.Errorf("a blob that expands over its size: %v", err)
	}
}

func TestSpoiltBlobs(t *testing.T) {
	x, store := build(t, sample().write(t))
	straight := slices.IndexFunc(x.Blobs, func(b Blob) bool { return b.Kind == Chunk && b.Encoding == Identity })
	for _, b := range []Blob{x.Blobs[0], x.Blobs[straight], x.Blobs[len(x.Blobs)-1]} {
		for name, spoil := range map[string]func([]byte) []byte{
			"bit":   func(d []byte) []byte { d[len(d)/2] ^= 1; return d },
			"short": func(d []byte) []byte { return d[:len(d)-1] },
			"long":  func(d []byte) []byte { return append(d, 0) },
			"empty": func([]byte) []byte { return nil },
		} {
			spoilt := newMemory()
			for digest, data := range store.blobs {
				spoilt.blobs[digest] = data
			}
			spoilt.blobs[b.Stored] = spoil(bytes.Clone(store.blobs[b.Stored]))
			root, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Extract(context.Background(), root, spoilt); contracts.AsError(err).Code != contracts.CodeIntegrity {
				t.Errorf("%s: %v, want an integrity error", name, err)
			}
			_ = root.Close()
		}
	}
}

func TestFalseFileDigest(t *testing.T) {
	x, store := build(t, files{"a": "hello", "b": "world"}.write(t))
	x.Files[0].Digest = contracts.DigestOf([]byte("other"))
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := x.Extract(context.Background(), root, store); contracts.AsError(err).Code != contracts.CodeIntegrity {
		t.Errorf("%v, want an integrity error", err)
	}
}

func TestEmptyBundle(t *testing.T) {
	x, _ := build(t, files{}.write(t))
	stored, err := x.Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseIndex(stored.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestChangedWhileRead(t *testing.T) {
	dir := files{"a": "hello", "big": text(1, 3<<20)}.write(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "big"} {
		before, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("longer than before"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = Build(context.Background(), root, sources, newMemory().sink)
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), before, 0o644); err != nil {
			t.Fatal(err)
		}
		if sources, err = Scan(root); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever bytes come as an index: they are refused, or every file is where it says.
func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"version":2,"content":"","files":[],"blobs":[]}`))
	f.Add([]byte(`{"version":2,"files":[{"path":"a","mode":"0644","size":1,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","parts":[[0,0,1]]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := ParseIndex(compress(raw, Pack))
		if err != nil {
			return
		}
		for _, file := range x.Files {
			if CheckPath(file.Path) != "" {
				t.Errorf("accepted path %q", file.Path)
			}
			var n int64
			for _, part := range file.Parts {
				n += part.Length
			}
			if n != file.Size {
				t.Errorf("%q: parts of %d bytes, size %d", file.Path, n, file.Size)
			}
		}
	})
}

// The index in pieces is the document as a whole.
func TestDocument(t *testing.T) {
	odd, _ := build(t, files{"a&'é.txt": "x", "empty": "", "large": random(1, 9<<20)}.write(t))
	full, _ := build(t, sample().write(t))
	for _, x := range []*Index{odd, full, {Content: full.Content}} {
		got, err := x.document()
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		doc := document{Version: Version, Content: x.Content, Files: x.Files, Blobs: x.Blobs}
		if x.Files == nil {
			doc.Files, doc.Blobs = []File{}, []Blob{}
		}
		if err := encoder.Encode(doc); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSuffix(want.String(), "\n"), string(got)); diff != "" {
			t.Error(diff)
		}
	}
}
