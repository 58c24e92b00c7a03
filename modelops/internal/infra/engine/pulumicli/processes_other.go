//go:build unix && !linux

package pulumicli

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// processes are the numbers of all processes that can be seen.
func processes() []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=").Output()
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Runs says whether a process is a running pulumi.
func Runs(pid int) bool {
	out, err := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "comm=").Output()
	return err == nil && filepath.Base(strings.TrimSpace(string(out))) == executable
}
