package pulumicli

import (
	"os"
	"strconv"
	"strings"
)

// processes are the numbers of all processes that can be seen.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read is of use
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Runs says whether a process is a running pulumi. One that has ended and that nobody
// has waited for is not.
func Runs(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat") // "123 (pulumi) S …"
	_, rest, _ := strings.Cut(string(stat), " (")
	name, state, found := strings.Cut(rest, ") ")
	return err == nil && found && name == executable && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}
