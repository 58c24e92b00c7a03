package runner

import (
	"testing"
	"testing/fstest"
)

func TestReadKills(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, test := range map[string]struct {
		fs   fstest.MapFS
		want uint64
	}{
		"version 2": {fstest.MapFS{
			"proc/self/cgroup":                          file("0::/kubepods/pod1\n"),
			"sys/fs/cgroup/kubepods/pod1/memory.events": file("low 0\nhigh 3\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n"),
		}, 2},
		"version 2 within a container": {fstest.MapFS{
			"proc/self/cgroup":            file("0::/../../outside\n"),
			"sys/fs/cgroup/memory.events": file("oom 1\noom_kill 1\n"),
		}, 1},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("9:name=systemd:/\n4:memory:/job/7\n0::/\n"),
			"sys/fs/cgroup/memory/job/7/memory.oom_control": file("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"),
		}, 5},
		"not to be known": {fstest.MapFS{"proc/self/cgroup": file("garbage\n0::/a\n")}, 0},
		"no files":        {fstest.MapFS{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := readKills(test.fs); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
