// Package blobstoretest holds every store of the package blobstore to its promises:
// one suite, which each implementation's tests run against a real one.
package blobstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// Run runs the suite. open gives a handle on the same, at first empty, store each time
// it is called within one test.
func Run(t *testing.T, fresh func(t *testing.T) (open func() blobstore.Store)) {
	for name, test := range map[string]func(t *testing.T, open func() blobstore.Store){
		"absent":             testAbsent,
		"round trip":         testRoundTrip,
		"overwrite":          testOverwrite,
		"create once":        testCreateOnce,
		"create race":        testCreateRace,
		"list":               testList,
		"list early end":     testListEarlyEnd,
		"delete":             testDelete,
		"keys":               testKeys,
		"failing reader":     testFailingReader,
		"cancelled":          testCancelled,
		"large":              testLarge,
		"put race":           testPutRace,
		"large put race":     testLargePutRace,
		"large create":       testLargeCreate,
		"list many":          testListMany,
		"create and delete":  testCreateDelete,
		"read limit":         testReadLimit,
		"another handle":     testAnotherHandle,
		"read while written": testReadWhileWritten,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func put(t *testing.T, s blobstore.Store, key, content string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(content)); err != nil {
		t.Fatalf("Put %s: %v", key, err)
	}
}

func get(t *testing.T, s blobstore.Store, key string) string {
	t.Helper()
	data, err := blobstore.Read(t.Context(), s, key, 1<<30)
	if err != nil {
		t.Fatalf("Get %s: %v", key, err)
	}
	return string(data)
}

func list(t *testing.T, s blobstore.Store, prefix string) []string {
	t.Helper()
	keys := []string{}
	for entry, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List %s: %v", prefix, err)
		}
		keys = append(keys, entry.Key)
	}
	return keys
}

func testAbsent(t *testing.T, open func() blobstore.Store) {
	s := open()
	if _, err := s.Get(t.Context(), "a/b"); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Errorf("Delete = %v, want nil", err)
	}
	if got := list(t, s, ""); len(got) > 0 {
		t.Errorf("List = %q, want none", got)
	}
	put(t, s, "a/b/c", "x")
	if _, err := s.Get(t.Context(), "a/b"); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("Get of a key's beginning = %v, want ErrNotFound", err)
	}
}

func testRoundTrip(t *testing.T, open func() blobstore.Store) {
	s := open()
	for i, content := range []string{"", "x", "\x00\xff\r\n", strings.Repeat("0123456789", 10000)} {
		key := fmt.Sprintf("put/%d", i)
		put(t, s, key, content)
		if got := get(t, s, key); got != content {
			t.Errorf("%s: got %d bytes, want %d", key, len(got), len(content))
		}
		key = fmt.Sprintf("create/%d", i)
		if err := s.Create(t.Context(), key, []byte(content)); err != nil {
			t.Errorf("Create %s: %v", key, err)
		}
		if got := get(t, s, key); got != content {
			t.Errorf("%s: got %d bytes, want %d", key, len(got), len(content))
		}
	}
	for entry, err := range s.List(t.Context(), "put/3") {
		if err != nil || entry.Size != 100000 || entry.Modified.IsZero() {
			t.Errorf("List = %+v, %v; want 100000 bytes and a time", entry, err)
		}
	}
}

func testOverwrite(t *testing.T, open func() blobstore.Store) {
	s := open()
	put(t, s, "k", "a longer first content")
	put(t, s, "k", "short")
	if got := get(t, s, "k"); got != "short" {
		t.Errorf("got %q, want short", got)
	}
}

func testCreateOnce(t *testing.T, open func() blobstore.Store) {
	s := open()
	if err := s.Create(t.Context(), "k", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "k", []byte("second")); !errors.Is(err, blobstore.ErrExists) {
		t.Errorf("Create = %v, want ErrExists", err)
	}
	if got := get(t, s, "k"); got != "first" {
		t.Errorf("got %q, want first", got)
	}
}

func testCreateRace(t *testing.T, open func() blobstore.Store) {
	const writers = 20
	var wg sync.WaitGroup
	won := make([]bool, writers)
	for i := range writers {
		s := open()
		wg.Go(func() {
			err := s.Create(t.Context(), "state/0001", fmt.Appendf(nil, "%d", i))
			if err != nil && !errors.Is(err, blobstore.ErrExists) {
				t.Errorf("Create = %v", err)
			}
			won[i] = err == nil
		})
	}
	wg.Wait()
	winner := slices.Index(won, true)
	if winner < 0 || slices.Contains(won[winner+1:], true) {
		t.Fatalf("winners = %v, want exactly one", won)
	}
	if got := get(t, open(), "state/0001"); got != fmt.Sprint(winner) {
		t.Errorf("content is of %s, and %d won", got, winner)
	}
}

func testList(t *testing.T, open func() blobstore.Store) {
	s := open()
	for _, key := range []string{"jobs/b/x", "jobs/a/state/0002", "jobs/a/state/0001", "jobs/a.b", "jobs/a-b/x", "results/1", "jobs/ab"} {
		put(t, s, key, key)
	}
	for prefix, want := range map[string][]string{
		"":          {"jobs/a-b/x", "jobs/a.b", "jobs/a/state/0001", "jobs/a/state/0002", "jobs/ab", "jobs/b/x", "results/1"},
		"jobs/a":    {"jobs/a-b/x", "jobs/a.b", "jobs/a/state/0001", "jobs/a/state/0002", "jobs/ab"},
		"jobs/a/":   {"jobs/a/state/0001", "jobs/a/state/0002"},
		"jobs/a/st": {"jobs/a/state/0001", "jobs/a/state/0002"},
		"jobs/c":    {},
		"none/at/":  {},
		"results/1": {"results/1"},
	} {
		if diff := cmp.Diff(want, list(t, s, prefix)); diff != "" {
			t.Errorf("List %q (-want +got):\n%s", prefix, diff)
		}
	}
}

func testListEarlyEnd(t *testing.T, open func() blobstore.Store) {
	s := open()
	for i := range 10 {
		put(t, s, fmt.Sprintf("d%d/k", i), "")
	}
	for entry, err := range s.List(t.Context(), "") {
		if err != nil || entry.Key != "d0/k" {
			t.Errorf("first = %v, %v", entry, err)
		}
		break
	}
}

func testDelete(t *testing.T, open func() blobstore.Store) {
	s := open()
	put(t, s, "a/b/c", "1")
	put(t, s, "a/d", "2")
	for range 2 {
		if err := s.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"a/d"}, list(t, s, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := s.Create(t.Context(), "a/b/c", []byte("again")); err != nil {
		t.Errorf("Create after Delete: %v", err)
	}
}

func testKeys(t *testing.T, open func() blobstore.Store) {
	s := open()
	for _, key := range []string{"", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", ".hidden", "a/.b", `a\b`, "a b", "a\nb", "a:b", "ä", "a.", "a./b", strings.Repeat("a", 1025)} {
		if err := s.Put(t.Context(), key, strings.NewReader("")); err == nil {
			t.Errorf("Put %q is accepted", key)
		}
		if err := s.Create(t.Context(), key, nil); err == nil {
			t.Errorf("Create %q is accepted", key)
		}
		if r, err := s.Get(t.Context(), key); err == nil || errors.Is(err, blobstore.ErrNotFound) {
			t.Errorf("Get %q = %v, %v; want an error of its own", key, r, err)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete %q is accepted", key)
		}
	}
	for _, key := range []string{"a", "A_b-c.d=e", "_a/9", strings.Repeat("a", 255)} {
		put(t, s, key, "")
	}
}

func testFailingReader(t *testing.T, open func() blobstore.Store) {
	s := open()
	put(t, s, "there", "whole")
	broken := errors.New("broken pipe of the test")
	for _, key := range []string{"there", "new"} {
		err := s.Put(t.Context(), key, io.MultiReader(strings.NewReader("half"), &failing{broken}))
		if !errors.Is(err, broken) {
			t.Errorf("Put = %v, want %v", err, broken)
		}
	}
	if got := get(t, s, "there"); got != "whole" {
		t.Errorf("got %q, want whole", got)
	}
	if _, err := s.Get(t.Context(), "new"); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	if diff := cmp.Diff([]string{"there"}, list(t, s, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func testCancelled(t *testing.T, open func() blobstore.Store) {
	s := open()
	put(t, s, "k", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "k")
	errs := map[string]error{"Get": err, "Put": s.Put(ctx, "k", strings.NewReader("y")), "Create": s.Create(ctx, "n", nil), "Delete": s.Delete(ctx, "k")}
	for _, listErr := range s.List(ctx, "") {
		errs["List"] = listErr
	}
	for name, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want context.Canceled", name, err)
		}
	}
	if got := get(t, s, "k"); got != "x" {
		t.Errorf("got %q, want x", got)
	}
}

func testLarge(t *testing.T, open func() blobstore.Store) {
	s := open()
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<12) // 64 KiB
	const blocks = 320                                       // 20 MiB
	if err := s.Put(t.Context(), "large", io.LimitReader(&repeating{block: block}, blocks*int64(len(block)))); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	buffer, n := make([]byte, len(block)), 0
	for {
		_, err := io.ReadFull(r, buffer)
		if err == io.EOF {
			break
		}
		if err != nil || !bytes.Equal(buffer, block) {
			t.Fatalf("block %d differs, %v", n, err)
		}
		n++
	}
	if n != blocks {
		t.Errorf("got %d blocks, want %d", n, blocks)
	}
}

// repeating yields block over and over.
type repeating struct {
	block []byte
	at    int
}

func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}

// testPutRace: of concurrent Puts one whole content stays.
func testPutRace(t *testing.T, open func() blobstore.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		s := open()
		wg.Go(func() { put(t, s, "k", strings.Repeat(string(rune('a'+i)), 100000)) })
	}
	wg.Wait()
	got := get(t, open(), "k")
	if len(got) != 100000 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("the content is mixed, or has %d bytes", len(got))
	}
}

// testLargePutRace: the same of contents that a store sends in parts.
func testLargePutRace(t *testing.T, open func() blobstore.Store) {
	const blocks = 20 << 4 // 20 MiB
	var wg sync.WaitGroup
	for i := range 3 {
		s := open()
		wg.Go(func() {
			block := bytes.Repeat([]byte{byte('a' + i)}, 1<<16)
			if err := s.Put(t.Context(), "k", io.LimitReader(&repeating{block: block}, blocks<<16)); err != nil {
				t.Errorf("Put = %v", err)
			}
		})
	}
	wg.Wait()
	got := get(t, open(), "k")
	if len(got) != blocks<<16 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("the content is mixed, or has %d bytes", len(got))
	}
}

// testLargeCreate: creating is once only for contents of every size.
func testLargeCreate(t *testing.T, open func() blobstore.Store) {
	const size = 20 << 20
	var wg sync.WaitGroup
	won := make([]bool, 3)
	for i := range won {
		s := open()
		wg.Go(func() {
			err := s.Create(t.Context(), "k", bytes.Repeat([]byte{byte('0' + i)}, size))
			if err != nil && !errors.Is(err, blobstore.ErrExists) {
				t.Errorf("Create = %v", err)
			}
			won[i] = err == nil
		})
	}
	wg.Wait()
	winner := slices.Index(won, true)
	if winner < 0 || slices.Contains(won[winner+1:], true) {
		t.Fatalf("winners = %v, want exactly one", won)
	}
	if got := get(t, open(), "k"); len(got) != size || strings.Trim(got, fmt.Sprint(winner)) != "" {
		t.Errorf("the content is not the winner's, or has %d bytes", len(got))
	}
}

// testListMany: many objects are listed, each once and in order.
func testListMany(t *testing.T, open func() blobstore.Store) {
	s := open()
	var want []string
	for i := range 120 {
		key := fmt.Sprintf("jobs/%03d", i)
		want = append(want, key)
		put(t, s, key, "x")
	}
	if diff := cmp.Diff(want, list(t, s, "jobs/")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// testCreateDelete: a delete that leaves a directory empty does not fail a create next
// to it.
func testCreateDelete(t *testing.T, open func() blobstore.Store) {
	var wg sync.WaitGroup
	for i := range 4 {
		s := open()
		wg.Go(func() {
			for range 50 {
				key := fmt.Sprintf("a/b/c/%d", i)
				if err := s.Create(t.Context(), key, []byte("x")); err != nil {
					t.Errorf("Create %s: %v", key, err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete %s: %v", key, err)
				}
			}
		})
	}
	wg.Wait()
}

func testReadLimit(t *testing.T, open func() blobstore.Store) {
	s := open()
	put(t, s, "k", "0123456789")
	if data, err := blobstore.Read(t.Context(), s, "k", 10); err != nil || len(data) != 10 {
		t.Errorf("Read = %d bytes, %v", len(data), err)
	}
	if _, err := blobstore.Read(t.Context(), s, "k", 9); err == nil {
		t.Error("an object beyond the limit is accepted")
	}
}

func testAnotherHandle(t *testing.T, open func() blobstore.Store) {
	put(t, open(), "a/b", "x")
	if got := get(t, open(), "a/b"); got != "x" {
		t.Errorf("got %q, want x", got)
	}
}

// testReadWhileWritten: a reader has one whole content, old or new.
func testReadWhileWritten(t *testing.T, open func() blobstore.Store) {
	s := open()
	put(t, s, "k", strings.Repeat("0", 50000))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop()
		for i := range 100 {
			put(t, s, "k", strings.Repeat(string(rune('0'+i%10)), 50000))
		}
	})
	for ctx.Err() == nil {
		got := get(t, open(), "k")
		if len(got) != 50000 || strings.Trim(got, got[:1]) != "" {
			t.Fatalf("read a mixture, or %d bytes", len(got))
		}
	}
	wg.Wait()
}
