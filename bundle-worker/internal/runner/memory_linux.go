package runner

import (
	"bufio"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// outOfMemoryKills is how many processes of this one's control group the kernel killed
// because memory ran out. It is 0 where that cannot be known.
func outOfMemoryKills() uint64 { return readKills(os.DirFS("/")) }

// readKills finds the group's counter: memory.events of version 2, memory.oom_control of
// version 1. Within a container the group's path is often not visible, and its own files
// lie at the root of the mount.
func readKills(root fs.FS) uint64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		group := path.Join("/", fields[2])[1:]
		var files []string
		switch {
		case fields[0] == "0":
			files = []string{path.Join("sys/fs/cgroup", group, "memory.events"), "sys/fs/cgroup/memory.events"}
		case fields[1] == "memory":
			files = []string{path.Join("sys/fs/cgroup/memory", group, "memory.oom_control"), "sys/fs/cgroup/memory/memory.oom_control"}
		}
		for _, file := range files {
			if kills, ok := readCounter(root, file); ok {
				return kills
			}
		}
	}
	return 0
}

func readCounter(root fs.FS, file string) (uint64, bool) {
	f, err := root.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		if value, ok := strings.CutPrefix(scanner.Text(), "oom_kill "); ok {
			n, err := strconv.ParseUint(value, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
