//go:build linux

package jobscript

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// kinds are the processes of a local Dask cluster, by what their command lines have.
func kinds() map[string]string {
	return map[string]string{
		"scheduler": "distributed.cli.dask_scheduler",
		"nanny":     "distributed.cli.dask_worker",
		"worker":    "multiprocessing.spawn",
		"serve":     "bundle-worker\x00serve",
	}
}

// onDask looks at the processes of the local Dask cluster, or kills one as nothing can
// prevent: "dask kill KIND", "dask await KIND", "dask gone KIND"; a kind is scheduler, nanny,
// worker or serve.
func onDask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || kinds()[args[1]] == "" {
		ts.Fatalf("usage: dask kill|await|gone KIND")
	}
	find := func() []int { return daskProcesses(ts, kinds()[args[1]]) }
	switch args[0] {
	case "kill":
		found := find()
		if len(found) == 0 {
			ts.Fatalf("no %s runs", args[1])
		}
		ts.Check(syscall.Kill(found[0], syscall.SIGKILL))
		ts.Logf("killed %d of %v", found[0], found)
	case "await":
		until(ts, "a "+args[1]+" runs", func() bool { return len(find()) > 0 })
	case "gone":
		until(ts, "no "+args[1]+" runs", func() bool { return len(find()) == 0 })
	default:
		ts.Fatalf("dask %s is not known", args[0])
	}
}

// daskProcesses are those of the local cluster whose command line has the text.
func daskProcesses(ts *testscript.TestScript, text string) []int {
	record, err := os.ReadFile(filepath.Join(ts.Getenv("HOME"), ".modelops", "local", "dask", "dask.json"))
	ts.Check(err)
	var instance struct{ PID int }
	ts.Check(json.Unmarshal(record, &instance))
	found, err := processesBelow(instance.PID, text)
	ts.Check(err)
	return found
}

// processesBelow are a process and those below it whose command line has the text.
func processesBelow(top int, text string) ([]int, error) {
	parents, lines := map[int]int{}, map[int][]byte{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[0] != "Z" {
			parents[pid], _ = strconv.Atoi(fields[1])
			lines[pid], _ = os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		}
	}
	var found []int
	for pid, line := range lines {
		above := pid
		for above > 1 && above != top {
			above = parents[above]
		}
		if above == top && bytes.Contains(line, []byte(text)) {
			found = append(found, pid)
		}
	}
	return found, nil
}
