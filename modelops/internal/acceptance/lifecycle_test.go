//go:build unix

package acceptance

import (
	"syscall"
	"testing"
)

// slowStudy makes a project whose tasks take a while, and answers with the job that runs
// them and is not waited for.
func (u *user) slowStudy(name string) (project *user, id string) {
	u.t.Helper()
	u.ok("modelops-bundle", "init", name, "--template", "minimal")
	project = u.cd(name)
	project.write("wire.py", "import time\n\ndef wire(e, p, s):\n    time.sleep(0.02)\n    return {'final_size': b'v\\n%d\\n' % s}\n")
	project.ok("mops", "study", "grid", "--model", "model.sir", "--param", "beta=0.1:0.9:60", "--replicates", "5", "--output", "study.json", "--force")
	var job submitted
	project.json(&job, "mops", "jobs", "submit", "study.json")
	return project, job.JobID
}

// running is the job's status once it has results and is not done.
func (u *user) running(id string) (status struct {
	jobStatus
	Driver struct {
		PID   int  `json:"pid"`
		Alive bool `json:"alive"`
	} `json:"driver"`
}) {
	u.t.Helper()
	waitFor(u.t, "results of job "+id, func() bool {
		u.json(&status, "mops", "jobs", "status", id)
		return status.Tasks.Succeeded > 0
	})
	return status
}

// A driver that is killed loses nothing that was done, and the job says that nobody
// drives it; resume runs the rest, every row once.
func TestDriverKilled(t *testing.T) {
	project, id := newUser(t).up().slowStudy("killed")
	before := project.running(id)
	if before.Driver.PID <= 1 || !before.Driver.Alive {
		t.Fatalf("%+v", before)
	}
	if err := syscall.Kill(before.Driver.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the driver's end", func() bool { return !project.running(id).Driver.Alive })
	if after := project.running(id); after.State != "RUNNING" || after.Tasks.Succeeded < before.Tasks.Succeeded {
		t.Errorf("before %+v, after %+v", before, after)
	}
	project.ok("mops", "jobs", "resume", id, "--wait")
	rows := project.table(id, "results/all")
	seen := map[string]bool{}
	for _, row := range rows {
		seen[row["param_id"]+row["seed"]] = true
	}
	if len(rows) != 300 || len(seen) != 300 {
		t.Errorf("%d rows, %d different", len(rows), len(seen))
	}
}

func TestCancel(t *testing.T) {
	project, id := newUser(t).up().slowStudy("cancelled")
	pid := project.running(id).Driver.PID
	project.ok("mops", "jobs", "cancel", id)
	waitFor(t, "the driver's end", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	status := project.running(id)
	if status.State != "CANCELLED" || status.Tasks.Running != 0 || status.Tasks.Succeeded == status.Tasks.Total {
		t.Errorf("%+v", status)
	}
	project.ok("mops", "jobs", "resume", id, "--wait")
	if rows := project.table(id, "results/all"); len(rows) != 300 {
		t.Errorf("%d rows", len(rows))
	}
}
