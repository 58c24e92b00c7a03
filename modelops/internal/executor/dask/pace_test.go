package dask

import "testing"

// Short tasks travel together, long ones alone, and so do those with large results.
func TestPace(t *testing.T) {
	for _, test := range []struct {
		name    string
		seconds float64
		bytes   int
		want    int
	}{
		{"nothing to do", 0, 500, batchMost},
		{"ten milliseconds", 0.0099, 500, 22},
		{"a second", 1, 500, 1},
		{"large results", 0, 4 << 20, 4},
		{"huge results", 0, 100 << 20, 1},
	} {
		var p pace
		if p.size() != 1 {
			t.Error("the first task does not travel alone")
		}
		for range 100 {
			p.add(test.seconds, test.bytes)
		}
		if got := p.size(); got != test.want {
			t.Errorf("%s: %d together, want %d", test.name, got, test.want)
		}
	}
	var p pace
	for range 100 {
		p.add(0, 500)
	}
	if p.add(0, 8<<20); p.size() != 2 {
		t.Errorf("after a large result: %d together", p.size())
	}
}
