package ocilayout_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/ocilayout"
)

// image has two layers and a config.
func image(tag string, layers ...string) (ocilayout.Image, map[digest.Digest]string) {
	content := map[digest.Digest]string{}
	describe := func(text string) ocispec.Descriptor {
		d := digest.FromString(text)
		content[d] = text
		return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(text))}
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: describe("{}")}
	for _, layer := range layers {
		m.Layers = append(m.Layers, describe(layer))
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return ocilayout.Image{
		Entry: ocilayout.Entry{Tag: tag, Repository: "team/seir"}, Manifest: raw,
		Open: func(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(content[d.Digest])), nil
		},
	}, content
}

func check(t *testing.T, path string, want map[digest.Digest]string, tags ...string) {
	t.Helper()
	l, err := ocilayout.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got []string
	for _, m := range l.Entries {
		got = append(got, m.Tag)
		if m.Repository != "team/seir" {
			t.Errorf("repository %q", m.Repository)
		}
		if _, err := l.Manifest(m.Entry); err != nil {
			t.Error(err)
		}
	}
	if strings.Join(got, " ") != strings.Join(tags, " ") {
		t.Errorf("tags %q, want %q", got, tags)
	}
	for d, text := range want {
		f, err := l.Blob(t.Context(), contracts.Digest(d), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		f.Close()
		if string(data) != text {
			t.Errorf("%s is %q, %v", d, data, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	one, content := image("v1", "first", "second", "first")
	dir := t.TempDir()
	for _, name := range []string{"a.tar", "b.tar", "layout"} {
		write := ocilayout.WriteTar
		if name == "layout" {
			write = ocilayout.WriteDir
		}
		written, err := write(t.Context(), filepath.Join(dir, name), one)
		if err != nil || written.Blobs != 4 {
			t.Fatalf("%+v, %v", written, err)
		}
		check(t, filepath.Join(dir, name), content, "v1")
	}
	a, _ := os.ReadFile(filepath.Join(dir, "a.tar"))
	b, _ := os.ReadFile(filepath.Join(dir, "b.tar"))
	if !bytes.Equal(a, b) {
		t.Error("one bundle, and two tar files")
	}
	// Another version in the same directory, then the tag moves.
	two, more := image("v2", "first", "third")
	if written, err := ocilayout.WriteDir(t.Context(), filepath.Join(dir, "layout"), two); err != nil || written.Blobs != 2 {
		t.Errorf("%+v, %v: only what is new is written", written, err)
	}
	check(t, filepath.Join(dir, "layout"), more, "v1", "v2")
	two.Entry.Tag = "v1"
	if _, err := ocilayout.WriteDir(t.Context(), filepath.Join(dir, "layout"), two); err != nil {
		t.Error(err)
	}
	check(t, filepath.Join(dir, "layout"), content, "v2", "v1")
}

// What is read ahead comes in its order, be it small or large, and what the manifest does
// not name goes along.
func TestManyBlobs(t *testing.T) {
	layers := []string{strings.Repeat("large", 4<<20)}
	for i := range 50 {
		layers = append(layers, fmt.Sprint("layer ", i))
	}
	one, content := image("v1", layers...)
	extra := "beside"
	d := digest.FromString(extra)
	content[d] = extra
	one.Extra = []ocispec.Descriptor{{Digest: d, Size: int64(len(extra))}}
	for name, write := range map[string]func(context.Context, string, ocilayout.Image) (ocilayout.Written, error){"a.tar": ocilayout.WriteTar, "dir": ocilayout.WriteDir} {
		path := filepath.Join(t.TempDir(), name)
		if _, err := write(t.Context(), path, one); err != nil {
			t.Fatal(err)
		}
		check(t, path, content, "v1")
	}
}

// A write that fails leaves what was there, and nothing under a final name.
func TestInterruptedWrite(t *testing.T) {
	good, content := image("v1", "first")
	for _, name := range []string{"a.tar", "layout"} {
		path := filepath.Join(t.TempDir(), name)
		write := ocilayout.WriteTar
		if name == "layout" {
			write = ocilayout.WriteDir
		}
		bad, _ := image("v2", "second")
		open := bad.Open
		for what, body := range map[string]func() (io.ReadCloser, error){
			"fails":  func() (io.ReadCloser, error) { return nil, errors.New("gone") },
			"short":  func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("se")), nil },
			"long":   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("second!")), nil },
			"others": func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("sec0nd")), nil },
		} {
			bad.Open = func(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
				if d.Digest == digest.FromString("second") {
					return body()
				}
				return open(ctx, d)
			}
			if _, err := write(t.Context(), path, bad); err == nil {
				t.Errorf("%s: %s: no error", name, what)
			}
			if _, err := ocilayout.Open(path); err == nil {
				t.Errorf("%s: %s: there is a layout", name, what)
			}
		}
		if _, err := write(t.Context(), path, good); err != nil {
			t.Fatal(err)
		}
		if _, err := write(t.Context(), path, bad); err == nil {
			t.Error("no error")
		}
		check(t, path, content, "v1")
		left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// hostile is an entry of the corpus.
type hostile struct {
	Name    string            `json:"n"`
	Type    string            `json:"t"`
	Link    string            `json:"l"`
	Mode    string            `json:"mode"`
	Size    int64             `json:"size"`
	PAX     map[string]string `json:"pax"`
	Regions int               `json:"regions"`
}

// Every hostile tar file is refused, with a name for the trouble; the sound ones are not.
func TestHostileTar(t *testing.T) {
	data, err := os.ReadFile("testdata/tar_entries.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID, Verdict, Why string
		Entries          []hostile
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	good, _ := image("v1", "first")
	for _, tc := range cases {
		path := filepath.Join(t.TempDir(), "a.tar")
		if _, err := ocilayout.WriteTar(t.Context(), path, good); err != nil {
			t.Fatal(err)
		}
		appendEntries(t, path, tc.Entries)
		l, err := ocilayout.Open(path)
		if err == nil {
			l.Close()
		}
		if accepted := err == nil; accepted != (tc.Verdict == "accept") {
			t.Errorf("%s (%s): %v, want %s", tc.ID, tc.Why, err, tc.Verdict)
		}
		if err != nil && contracts.AsError(err).Code != contracts.CodeInvalidBundle {
			t.Errorf("%s: %s", tc.ID, contracts.AsError(err).Code)
		}
	}
}

// appendEntries puts entries where the end of a tar file was.
func appendEntries(t *testing.T, path string, entries []hostile) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.Write(bytes.TrimRight(whole, "\x00"))
	b.Write(make([]byte, (512-b.Len()%512)%512))
	types := map[string]byte{"reg": tar.TypeReg, "dir": tar.TypeDir, "sym": tar.TypeSymlink, "link": tar.TypeLink, "fifo": tar.TypeFifo, "char": tar.TypeChar}
	for _, e := range entries {
		name := e.Name
		if before, count, ok := strings.Cut(strings.TrimPrefix(name, "gen:"), "*"); ok {
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			name = strings.Repeat(before, n)
		}
		mode, _ := strconv.ParseInt(e.Mode, 8, 64)
		h := &tar.Header{Name: name, Linkname: e.Link, Mode: mode, Typeflag: types[e.Type], Size: e.Size, Format: tar.FormatGNU}
		if len(e.PAX) > 0 { // a header that archive/tar does not write
			h = &tar.Header{Name: name, Mode: mode, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"comment": "XX"}, Format: tar.FormatPAX}
		}
		if e.Regions > 0 {
			sparse(&b, name, e.Regions)
			continue
		}
		var one bytes.Buffer
		if err := tar.NewWriter(&one).WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if len(e.PAX) > 0 {
			if !bytes.Contains(one.Bytes(), []byte("14 comment=XX\n")) {
				t.Fatalf("%q", one.Bytes()[:1024])
			}
			text := bytes.Replace(one.Bytes(), []byte("14 comment=XX\n"), []byte("14 size=00010\n"), 1)
			one = *bytes.NewBuffer(text)
		}
		b.Write(one.Bytes())
	}
	b.Write(make([]byte, 1024))
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sparse writes a file in GNU's sparse form 1.0, whose map has that many regions.
func sparse(b *bytes.Buffer, name string, regions int) {
	var table bytes.Buffer
	fmt.Fprintf(&table, "%d\n", regions)
	for i := range regions {
		fmt.Fprintf(&table, "%d\n0\n", i)
	}
	record := func(key, value string) string {
		n := len(key) + len(value) + 3
		n += len(strconv.Itoa(n + len(strconv.Itoa(n))))
		return fmt.Sprintf("%d %s=%s\n", n, key, value)
	}
	records := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", name) + record("GNU.sparse.realsize", "10")
	var one bytes.Buffer
	w := tar.NewWriter(&one)
	_ = w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: int64(len(records)), Format: tar.FormatUSTAR})
	header := one.Bytes()
	header[156] = 'x'
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header[:512] {
		sum += int(c)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(header)
	b.WriteString(records)
	b.Write(make([]byte, (512-len(records)%512)%512))
	one.Reset()
	w = tar.NewWriter(&one)
	_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(table.Len()), Format: tar.FormatUSTAR})
	_, _ = w.Write(table.Bytes())
	_ = w.Flush()
	b.Write(one.Bytes())
}

// What a directory can hold that no layout has.
func TestHostileDirectory(t *testing.T) {
	good, content := image("v1", "first")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := ocilayout.WriteDir(t.Context(), dir, good); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs/sha256", digest.FromString("first").Encoded())
	if err := errors.Join(os.Remove(blob), os.Symlink(secret, blob)); err != nil {
		t.Fatal(err)
	}
	l, err := ocilayout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if f, err := l.Blob(t.Context(), contracts.DigestOf([]byte("first")), 5); err == nil {
		f.Close()
		t.Error("a link was followed")
	}
	// Writing again mends it, and leaves alone what the link led to.
	if _, err := ocilayout.WriteDir(t.Context(), dir, good); err != nil {
		t.Error(err)
	}
	check(t, dir, content, "v1")

	for name, index := range map[string]string{
		"no digest":  `{"manifests":[{"digest":"sha256:../../x","size":3}]}`,
		"size":       `{"manifests":[{"digest":"` + string(digest.FromString("x")) + `","size":99999999999}]}`,
		"not JSON":   `{`,
		"very large": strings.Repeat(" ", 5<<20),
	} {
		if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		if l, err := ocilayout.Open(dir); err == nil {
			l.Close()
			t.Errorf("%s is taken", name)
		} else if contracts.AsError(err).Code != contracts.CodeInvalidBundle {
			t.Errorf("%s: %v", name, err)
		}
	}
}
