//go:build unix && !linux

package runner

import (
	"fmt"
	"os/exec"
	"strings"
)

// outOfMemoryKills is unknown here: this system does not kill for memory.
func outOfMemoryKills() uint64 { return 0 }

// memoryUsed is the resident memory of the process's group, in bytes, as ps tells it. What
// several processes share counts for each.
func memoryUsed(p *Process, _ int64) (used int64, processes int) {
	out, err := exec.Command("/bin/ps", "-axo", "pgid=,rss=").Output()
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(out)) {
		var group int
		var kib int64
		if _, err := fmt.Sscan(line, &group, &kib); err == nil && group == p.Pid {
			used += kib << 10
			processes++
		}
	}
	return used, processes
}
