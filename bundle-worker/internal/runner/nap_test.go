//go:build unix

package runner

import (
	"testing"
	"time"
)

func TestNap(t *testing.T) {
	for _, test := range []struct {
		room int64
		cost time.Duration
		want time.Duration
	}{
		{1 << 40, time.Microsecond, longestNap},
		{1 << 30, time.Microsecond, time.Second / 4},
		{1 << 10, time.Microsecond, shortestNap},
		{1 << 10, time.Millisecond, 50 * time.Millisecond},
		{1 << 10, time.Minute, longestNap},
	} {
		if got := nap(test.room, test.cost); got != test.want {
			t.Errorf("%d bytes away, after %v: %v, want %v", test.room, test.cost, got, test.want)
		}
	}
}
