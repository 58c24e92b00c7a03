// Package machine says what this process may use of its machine.
package machine

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Memory is the machine's memory in bytes, or the smallest limit of the control groups
// that this process is in; 0 when it is not known.
func Memory() int64 { return readMemory(os.DirFS("/")) }

// readMemory is the machine's memory, or the smallest limit of the control groups that
// this process is in. Within a container the group's own path is often not visible; its
// limit then lies at the root of the mount.
func readMemory(root fs.FS) int64 {
	least := int64(0)
	info, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(info)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			least = kib << 10
		}
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		if fields[0] != "0" {
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		if fields[0] != "0" && fields[1] != "memory" {
			continue
		}
		for group := path.Join("/", fields[2]); ; group = path.Dir(group) {
			if limit := readLimit(root, path.Join(mount, group, file)); limit > 0 && (least == 0 || limit < least) {
				least = limit
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// readLimit is a limit in bytes, 0 when there is none.
func readLimit(root fs.FS, file string) int64 {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return 0
	}
	limit, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64) // "max" is none
	return limit
}
