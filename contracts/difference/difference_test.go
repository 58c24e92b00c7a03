package difference

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	long := strings.Repeat("0123456789", 20_000) // more than three blocks
	lines := strings.Repeat("012345678\n", 20_000)
	for name, tc := range map[string]struct {
		x, y string
		want *Difference
	}{
		"equal":         {"abc", "abc", nil},
		"empty":         {"", "", nil},
		"block":         {long[:block], long[:block], nil},
		"first":         {"abc\n", "xbc\n", &Difference{0, 1, "abc", "xbc"}},
		"second line":   {"a,b\n1,2\n3,4\n", "a,b\n1,3\n3,4\n", &Difference{6, 2, "1,2", "1,3"}},
		"last line end": {"a\nb\n", "a\nb", &Difference{3, 2, "b", "b"}},
		"only one":      {"", "a\n", &Difference{0, 1, "", "a"}},
		"one is longer": {"a\n", "a\nb\n", &Difference{2, 2, "", "b"}},
		"after a block": {lines + "x", lines + "y", &Difference{200_000, 20_001, "x", "y"}},
		"block longer":  {lines[:block], lines[:block] + "!", &Difference{block, 6554, "012345", "012345!"}},
		"long line":     {long + "x" + long, long + "y" + long, &Difference{200_000, 1, "…" + long[:lead] + "x" + long[:excerpt-1] + "…", "…" + long[:lead] + "y" + long[:excerpt-1] + "…"}},
		"inside a rune": {"a\nä1\n", "a\nö1\n", &Difference{3, 2, "ä1", "ö1"}},
		"runes cut":     {strings.Repeat("ä", 100) + "x", strings.Repeat("ä", 100) + "y", &Difference{200, 1, "…" + strings.Repeat("ä", lead/2) + "x", "…" + strings.Repeat("ä", lead/2) + "y"}},
		"rune after":    {"x" + strings.Repeat("ä", 100), "y" + strings.Repeat("ä", 100), &Difference{0, 1, "x" + strings.Repeat("ä", excerpt/2-1) + "…", "y" + strings.Repeat("ä", excerpt/2-1) + "…"}},
		"bytes":         {"\x00\x01\x02", "\x00\x01\x03\x04", &Difference{2, 0, "02", "0304"}},
		"not a text":    {"\xff\xfe1", "\xff\xfe2", &Difference{2, 0, "31", "32"}},
		"far from zero": {"\x00\n" + long + "1", "\x00\n" + long + "2", &Difference{200_002, 0, "31", "32"}},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, wrap := range map[string]func(io.Reader) io.Reader{
				"whole": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader, "with its end": iotest.DataErrReader,
			} {
				got, err := Find(wrap(strings.NewReader(tc.x)), wrap(strings.NewReader(tc.y)))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
			}
		})
	}
}

func TestFindErrors(t *testing.T) {
	broken := errors.New("broken")
	good := func() io.Reader { return strings.NewReader("abc") }
	bad := func() io.Reader { return io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)) }
	if _, err := Find(good(), bad()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := Find(bad(), good()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// The place that is found is the one that a loop over all bytes finds.
func FuzzFind(f *testing.F) {
	f.Add([]byte("a\nb\n"), []byte("a\nc\n"))
	f.Add([]byte("a\xc3\xa4"), []byte("a\xc3\xb6"))
	f.Fuzz(func(t *testing.T, x, y []byte) {
		got, err := Find(bytes.NewReader(x), bytes.NewReader(y))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(x, y) {
			if got != nil {
				t.Fatalf("%q: %+v", x, got)
			}
			return
		}
		n := 0
		for n < min(len(x), len(y)) && x[n] == y[n] {
			n++
		}
		if got == nil || got.Offset != int64(n) {
			t.Fatalf("%q, %q: %+v, want offset %d", x, y, got, n)
		}
		if line := int64(bytes.Count(x[:n], []byte{'\n'})) + 1; got.Line != 0 && got.Line != line {
			t.Fatalf("%q, %q: %+v, want line %d", x, y, got, line)
		}
	})
}
