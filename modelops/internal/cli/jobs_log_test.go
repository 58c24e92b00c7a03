package cli

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whichever place is ahead, each line is new once, and a line that is there twice is new
// twice.
func TestLinesOfTwoPlaces(t *testing.T) {
	log := []string{"begin", "same", "same", "", "task failed", "same", "end"}
	for range 1000 {
		var got []string
		seen, pod, stored := twice{}, 0, 0
		for pod < len(log) || stored < len(log) {
			take := &pod
			fresh := seen.wrote
			if pod == len(log) || stored < len(log) && rand.IntN(2) == 0 {
				take, fresh = &stored, seen.stored
			}
			if line := log[*take]; fresh(line) {
				got = append(got, line)
			}
			*take++
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(log)), got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// A pod whose stream broke is read again from where it was; half a line is nobody's.
func TestScanGoesOn(t *testing.T) {
	for skip, want := range []string{"one two", "two", "", ""} {
		lines := make(chan string)
		go scan(context.Background(), io.NopCloser(strings.NewReader("one\ntwo\nhal")), skip, lines)
		var got []string
		for line := range lines {
			got = append(got, line)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("after %d lines: %q, want %q", skip, got, want)
		}
	}
}
