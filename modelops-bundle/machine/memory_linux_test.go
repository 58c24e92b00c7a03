package machine

import (
	"testing"
	"testing/fstest"
)

func TestReadMemory(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no limit": {map[string]string{"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/memory.max": "max\n"}, 8 << 30},
		"a limit further up": {map[string]string{
			"proc/self/cgroup": "0::/user.slice/session\n",
			"sys/fs/cgroup/user.slice/session/memory.max": "max\n", "sys/fs/cgroup/user.slice/memory.max": "2147483648\n",
		}, 2 << 30},
		"within a container": {map[string]string{"proc/self/cgroup": "0::/../../outside\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30},
		"version 1": {map[string]string{
			"proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/1\n0::/\n",
			"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "3221225472\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          "9223372036854771712\n",
		}, 3 << 30},
		"more than there is": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "99999999999999\n"}, 8 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal:        8388608 kB\nMemFree: 1 kB\n")}}
			for file, text := range test.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := readMemory(root); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	if Memory() <= 0 {
		t.Error("this machine's memory is not known")
	}
}
