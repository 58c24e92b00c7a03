package runner

import "testing"

// A kill by the kernel is one process's, and not held against those that died otherwise.
func TestBlame(t *testing.T) {
	now := outOfMemoryKills()
	if now > 0 {
		t.Logf("the kernel has killed %d here", now)
	}
	s := &Supervisor{blamed: 5}
	for name, test := range map[string]struct {
		kills, blamed uint64 // when it started
		want          bool
	}{
		"none since it started":          {now, 5, false},
		"one, and it is somebody's":      {now - 1, 4, false},
		"two, and one is somebody's":     {now - 2, 4, true},
		"one, and nobody is known of it": {now - 1, 5, true},
	} {
		s.blamed = 5
		if got := s.blame(&Process{kills: test.kills, blamed: test.blamed}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
