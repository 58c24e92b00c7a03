package archive

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

// However a run's file was cut or changed when it was killed, the next one has every record
// as it was written, and fetches no more than what is missing.
func TestSpoolGoesOn(t *testing.T) {
	a := Results(newStore(t), contracts.DigestOf(nil))
	w := a.NewWriter("job-1", clock(0))
	var keys []string
	for n := range 4 { // segments, of a small record and one that is compressed
		batch := []*contracts.SimReturn{result(2*n, fmt.Sprint("a\n", n, "\n")), result(2*n+1, strings.Repeat(fmt.Sprint(n), 9000))}
		if err := w.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key(2*n+1), key(99), key(2*n), key(2*n+1)) // in another order, one twice, one unknown
	}
	x := index(t, a, Option{})
	path := filepath.Join(t.TempDir(), "records")
	spool := func() (*Spool, []*contracts.SimReturn) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		done := 0
		s, err := a.NewSpool(t.Context(), x, slices.Values(keys), file, func(n int) { done += n })
		if err != nil {
			t.Fatal(err)
		}
		if done != 12 {
			t.Errorf("told of %d rows", done)
		}
		var all []*contracts.SimReturn
		for row := range keys {
			r, err := s.Read(row)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		return s, all
	}
	first, want := spool()
	if first.Kept != 0 || want[1] != nil || want[0].TaskID != key(1) || want[2].TaskID != key(0) {
		t.Fatalf("%d %+v", first.Kept, want)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[int]bool{}
	try := func(data []byte, least int) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, got := spool()
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(contracts.Error{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if s.Kept < least {
			t.Errorf("kept %d, at least %d were there", s.Kept, least)
		}
		kept[s.Kept] = true
	}
	step := len(whole) / 16 // four in a frame
	for end := 0; end <= len(whole); end += step {
		try(whole[:end], 0)
	}
	try(whole, 12)
	for at := 0; at < len(whole); at += step {
		changed := slices.Clone(whole)
		changed[at] ^= 1
		try(changed, 0)
	}
	try([]byte("no file of ours at all"), 0)
	if diff := cmp.Diff(map[int]bool{0: true, 3: true, 6: true, 9: true, 12: true}, kept); diff != "" {
		t.Error(diff)
	}
}
