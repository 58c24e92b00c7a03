package jobscript

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A worker that goes with a result which is on its way takes that one with it, and no other:
// while the task runs again, and takes long, what else ends is stored.
func TestDaskResultLost(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	pids := []string{}
	for _, name := range []string{"a", "b", "c"} {
		pids = append(pids, fmt.Sprintf("%q: %d", name, c.worker(nil, "--name", name).Process.Pid))
	}
	c.threads(3)
	watched, began, hurry := filepath.Join(c.work, "watched"), filepath.Join(c.work, "began"), filepath.Join(c.work, "hurry")
	c.study(60, fmt.Sprintf(`import os, time
def until(path):
    while not os.path.exists(path):
        time.sleep(0.01)
def wire(entrypoint, params, seed):
    if params["i"] == 30 and not os.path.exists(%[2]q):
        open(%[2]q, "w").close()
        until(%[1]q)
        return {"large%%d" %% n: b"x" * 500_000 for n in range(120)}
    if params["i"] == 30:
        until(%[3]q)
    time.sleep(0.1)
    return {"rows": b"x\n%%d\n" %% params["i"]}
`, watched, began, hurry))
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	killed := c.ask(fmt.Sprintf(`import asyncio
async def kill(dask_scheduler):
    import os, signal
    open(%q, "w").close()
    while True:
        for task in list(dask_scheduler.tasks.values()):
            if task.state == "memory" and task.nbytes > 40e6:
                name = next(iter(task.who_has)).name
                os.kill({%s}[name], signal.SIGKILL)
                return name
        await asyncio.sleep(0.001)
print(client.run_on_scheduler(kill))`, watched, strings.Join(pids, ", ")))
	t.Logf("killed worker %s", killed)
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] == 59 })
	c.write(hurry, "")
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	c.checkRows(id, 60)
}
