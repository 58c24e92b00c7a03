package runner

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/guard"
)

// memoryUsed is the memory of the process and all its descendants, in bytes, and how many
// processes these are. It is memory of their own and shared memory, swapped out or not:
// pages of mapped files are not in it, which the kernel takes back when it needs them.
//
// Pages that processes share after a fork count for each of them in a first sum, which is
// cheap. Only if that is more than enough, each counts for its part of them.
func memoryUsed(p *Process, enough int64) (used int64, processes int) {
	pids := below(p.guard)
	for _, pid := range pids {
		if own := sumKiB(pid, "status", "RssAnon:", "RssShmem:", "VmSwap:"); own > 0 {
			used += own
			processes++
		}
	}
	if used <= enough || processes < 2 {
		return used, processes
	}
	var parts int64
	for _, pid := range pids {
		part := sumKiB(pid, "smaps_rollup", "Pss_Anon:", "Pss_Shmem:", "SwapPss:")
		if part == 0 {
			part = sumKiB(pid, "smaps_rollup", "Pss:") // before Linux 5.4
		}
		parts += part
	}
	if parts == 0 { // it may not be read, or everything ended
		return used, processes
	}
	return parts, processes
}

// sumKiB adds up fields of a file of /proc/PID, as in "VmSwap:	 12 kB", and is in bytes.
func sumKiB(pid int, file string, fields ...string) (sum int64) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		for _, field := range fields {
			if rest, ok := strings.CutPrefix(line, field); ok {
				kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}

// below are the descendants of a process. Where the kernel lists children this reads
// nothing but the tree; else it is the whole process table.
func below(root int) []int {
	next, ok := children(root)
	if !ok {
		return guard.Descendants(root, nil)
	}
	var all []int
	for len(next) > 0 {
		var found []int
		for _, pid := range next {
			of, _ := children(pid)
			found = append(found, of...)
		}
		all, next = append(all, next...), found
	}
	return all
}

// children reads /proc/PID/task/*/children: each thread has those that it started.
func children(pid int) (pids []int, ok bool) {
	tasks := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil, false
	}
	for _, thread := range threads {
		list, err := os.ReadFile(filepath.Join(tasks, thread.Name(), "children"))
		if err != nil {
			continue
		}
		ok = true
		for field := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids, ok
}
