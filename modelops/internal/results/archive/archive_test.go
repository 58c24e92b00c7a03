package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

func newStore(t *testing.T) blobstore.Store {
	t.Helper()
	s, err := blobstore.OpenDir(filepath.Join(t.TempDir(), "storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(i int) string {
	return contracts.DigestOf(fmt.Appendf(nil, "task %d", i)).Hex()
}

func result(i int, content string) *contracts.SimReturn {
	return &contracts.SimReturn{
		TaskID:  key(i),
		Outputs: map[string]contracts.Artifact{"peak": contracts.NewArtifact("text/csv", []byte(content)), "empty": contracts.NewArtifact("text/plain", nil)},
		Seconds: 0.25,
	}
}

// clock gives a second later each time.
func clock(start int) func() time.Time {
	now := time.Unix(int64(start), 0)
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

func index(t *testing.T, a *Archive, option Option) *Index {
	t.Helper()
	x, err := a.Index(t.Context(), option)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func read(t *testing.T, a *Archive, x *Index, task string) *contracts.SimReturn {
	t.Helper()
	at, ok := x.Find(task)
	if !ok {
		t.Fatalf("task %s is not in the index", task)
	}
	r, err := a.NewReader(0).Read(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	a := Results(newStore(t), contracts.DigestOf(nil))
	if x := index(t, a, Option{}); x.Len() != 0 || x.Damaged != nil {
		t.Errorf("an empty archive has %d records, %v", x.Len(), x.Damaged)
	}
	w := a.NewWriter("job-1", clock(0))
	failed := &contracts.SimReturn{TaskID: key(2), Outputs: map[string]contracts.Artifact{}, Error: &contracts.Error{Code: contracts.CodeModel, Message: "x", Traceback: "a\nb"}}
	want := []*contracts.SimReturn{result(0, "a\n1\n"), result(1, strings.Repeat("x", 100000)), failed}
	for _, batch := range [][]*contracts.SimReturn{want[:2], want[2:], nil} {
		if err := w.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	x := index(t, a, Option{})
	reader := a.NewReader(1 << 20)
	for range 2 {
		for i, r := range want {
			at, ok := x.Find(key(i))
			if !ok || at.Job != "job-1" {
				t.Fatalf("Find %d = %+v, %v", i, at, ok)
			}
			got, err := reader.Read(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r, got, cmp.AllowUnexported(contracts.Error{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
	if _, ok := x.Find(key(9)); ok {
		t.Error("found a task that was never written")
	}
	if _, ok := x.Find("no key"); ok {
		t.Error("found what is no key")
	}
}

// Of several records of one task the job's own counts, else the first.
func TestIndexPrefers(t *testing.T) {
	a := Results(newStore(t), contracts.DigestOf(nil))
	write := func(job string, start int, content string) {
		t.Helper()
		if err := a.NewWriter(job, clock(start)).Append(t.Context(), []*contracts.SimReturn{result(0, content)}); err != nil {
			t.Fatal(err)
		}
	}
	write("job-c", 300, "third")
	write("job-a", 100, "first")
	write("job-b", 200, "second")
	for option, want := range map[Option]string{
		{}:                         "first",
		{Job: "job-b"}:             "second",
		{Job: "job-c", Only: true}: "third",
		{Job: "job-d"}:             "first",
	} {
		if got := string(read(t, a, index(t, a, option), key(0)).Outputs["peak"].Inline); got != want {
			t.Errorf("%+v: got %s, want %s", option, got, want)
		}
	}
	if x := index(t, a, Option{Job: "job-d", Only: true}); x.Len() != 0 {
		t.Error("Only takes in records of others")
	}
}

// Whatever one byte of a segment becomes, no record is read differently from how it was
// written.
func TestSegmentDamage(t *testing.T) {
	store := newStore(t)
	a := Results(store, contracts.DigestOf(nil))
	if err := a.NewWriter("job-1", clock(0)).Append(t.Context(), []*contracts.SimReturn{result(0, "a\n1\n"), result(1, "a\n2\n")}); err != nil {
		t.Fatal(err)
	}
	at, _ := index(t, a, Option{}).Find(key(0))
	whole, err := blobstore.Read(t.Context(), store, a.segment(at.Segment), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, damaged := range [][]byte{flip(whole, i), whole[:i]} {
			if _, err := decode(bytes.NewReader(damaged)); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeIntegrity {
				t.Fatalf("byte %d of %d: err = %v, want integrity", i, len(whole), err)
			}
		}
	}
	if _, err := decode(bytes.NewReader(append(whole, 0))); err == nil {
		t.Error("bytes after the end are accepted")
	}
	if _, err := decode(bytes.NewReader(whole)); err != nil {
		t.Errorf("the whole one: %v", err)
	}
}

func flip(data []byte, i int) []byte {
	c := bytes.Clone(data)
	c[i] ^= 1 << rand.IntN(8)
	return c
}

// A segment that is damaged is listed and passed over; when only its body is, the
// reader says so, and after Damage its tasks count as not run.
func TestDamage(t *testing.T) {
	store := newStore(t)
	a := Results(store, contracts.DigestOf(nil))
	w := a.NewWriter("job-1", clock(0))
	for i := range 3 {
		if err := w.Append(t.Context(), []*contracts.SimReturn{result(i, "x")}); err != nil {
			t.Fatal(err)
		}
	}
	before := index(t, a, Option{})
	spoil := func(task int, byteFromEnd bool) string {
		at, _ := before.Find(key(task))
		data, err := blobstore.Read(t.Context(), store, a.segment(at.Segment), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		i := len(segmentMagic) + 4
		if byteFromEnd {
			i = len(data) - 1
		}
		if err := store.Put(t.Context(), a.segment(at.Segment), bytes.NewReader(flip(data, i))); err != nil {
			t.Fatal(err)
		}
		return at.Segment
	}
	header, body := spoil(0, false), spoil(1, true)
	x := index(t, a, Option{})
	if diff := cmp.Diff([]string{header}, x.Damaged); diff != "" || x.Len() != 2 {
		t.Errorf("%d records; damaged (-want +got):\n%s", x.Len(), diff)
	}
	at, _ := x.Find(key(1))
	_, err := a.NewReader(0).Read(t.Context(), at)
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeIntegrity || !strings.Contains(e.Message, body) {
		t.Fatalf("Read = %v, want integrity naming %s", err, body)
	}
	for range 2 {
		if err := a.Damage(t.Context(), body, err.Error()); err != nil {
			t.Fatal(err)
		}
	}
	if x := index(t, a, Option{}); x.Len() != 1 || len(x.Damaged) != 2 {
		t.Errorf("after Damage %d records and %v", x.Len(), x.Damaged)
	}
}

func TestBlob(t *testing.T) {
	store := newStore(t)
	a := Results(store, contracts.DigestOf(nil))
	content := strings.Repeat("0123456789", 100000)
	artifact := contracts.NewArtifact("text/csv", []byte(content))
	artifact.Inline, artifact.Ref = nil, "file:"+artifact.Checksum
	for _, wrong := range []string{content[1:], content + "x", "x" + content[1:]} {
		if _, err := a.PutBlob(t.Context(), artifact, strings.NewReader(wrong)); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeIntegrity {
			t.Errorf("PutBlob of other bytes = %v, want integrity", err)
		}
	}
	stored, err := a.PutBlob(t.Context(), artifact, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(t.Context(), a, stored); err != nil || got != content {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := store.Put(t.Context(), a.blob(stored.Checksum), strings.NewReader("x"+content[1:])); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(t.Context(), a, stored); err == nil {
		t.Error("a damaged blob is read without an error")
	}
	for _, ref := range []string{"file:" + stored.Checksum, "blob:../../jobs/x", "blob:" + key(0)} {
		other := stored
		other.Ref = ref
		if _, err := readAll(t.Context(), a, other); err == nil {
			t.Errorf("reference %s is followed", ref)
		}
	}
	if _, err := a.PutBlob(t.Context(), contracts.Artifact{Checksum: "../x"}, strings.NewReader("")); err == nil {
		t.Error("a checksum that is a path is accepted")
	}
}

func readAll(ctx context.Context, a *Archive, artifact contracts.Artifact) (string, error) {
	r, err := a.Open(ctx, artifact)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func TestEnvironmentRecord(t *testing.T) {
	a := Results(newStore(t), contracts.DigestOf(nil))
	record := &contracts.EnvironmentRecord{Python: "3.12.1", Platform: "linux-x86_64", Packages: map[string]string{"numpy": "2.1"}}
	r := result(0, "x")
	r.Environment, r.EnvironmentDigest = record, record.Digest()
	w := a.NewWriter("job-1", clock(0))
	for range 2 {
		if err := w.Append(t.Context(), []*contracts.SimReturn{r}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := a.Environment(t.Context(), record.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(record, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if stored := read(t, a, index(t, a, Option{}), key(0)); stored.Environment != nil || stored.EnvironmentDigest != record.Digest() {
		t.Errorf("the record has %+v, %s", stored.Environment, stored.EnvironmentDigest)
	}
	if got, err := a.Environment(t.Context(), key(5)); got != nil || err != nil {
		t.Errorf("an unknown digest = %v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	s := &Segment{Header: Header{Job: "job-1", Records: []RecordEntry{{Task: key(0)}}}, Records: [][]byte{[]byte("{}")}}
	data, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(segmentMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decode(bytes.NewReader(data)); err == nil && len(s.Records) != len(s.Header.Records) {
			t.Error("records and header differ")
		}
	})
}
