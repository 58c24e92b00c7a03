package jobscript

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// person is somebody with a home and a project.
type person struct {
	t         testing.TB
	work, dir string   // dir is where the programs run
	more      []string // variables
}

func newPerson(t testing.TB) *person {
	t.Helper()
	p := &person{t: t, work: t.TempDir()}
	p.dir = p.work
	if err := os.Mkdir(filepath.Join(p.work, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := ownPort(filepath.Join(p.work, "home"), p.work); err != nil {
		t.Fatal(err)
	}
	p.must("infra", "up")
	t.Cleanup(func() { p.dir = p.work; p.mops("infra", "down", "--interrupt-jobs") })
	p.must("bundle", "init", "my-model", "--template", "minimal")
	p.dir = filepath.Join(p.work, "my-model")
	return p
}

// environ are the variables of everything that the person starts.
func (p *person) environ() []string {
	environ := []string{"HOME=" + filepath.Join(p.work, "home"), "PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + p.work}
	if venvs := os.Getenv("MODELOPS_TEST_DASK"); venvs != "" {
		environ = append(environ, "MODELOPS_VENVS_DIR="+venvs)
	}
	return append(environ, p.more...)
}

// mops runs mops and returns its stdout.
func (p *person) mops(args ...string) (string, error) {
	out, errs, err := p.run(args...)
	if err != nil {
		err = fmt.Errorf("mops %v: %w\n%s%s", args, err, out, errs)
	}
	return out, err
}

func (p *person) run(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(filepath.Join(bin, "mops"), args...)
	cmd.Dir = p.dir
	cmd.Env = p.environ()
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	return string(out), errs.String(), err
}

func (p *person) must(args ...string) string {
	p.t.Helper()
	out, err := p.mops(args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

func (p *person) status(job string) (s jobStatus) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.must("jobs", "status", job, "--json")), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// processes are those of the job by their kind: its drivers, its workers and its
// simulations. The registry is none of them.
func (p *person) processes() map[string][]int {
	p.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		p.t.Fatal(err)
	}
	kinds := map[string][]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		environ, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil || !strings.Contains(string(environ)+string(line), p.work) {
			continue
		}
		for kind, word := range map[string]string{"driver": "\x00drive\x00", "worker": "\x00exec\x00", "simulation": "/modelops-task-"} {
			if strings.Contains(string(line), word) {
				kinds[kind] = append(kinds[kind], pid)
			}
		}
	}
	return kinds
}

// slowWire takes half a second for a task until a file is there.
const slowWire = `import os, time

def wire(entrypoint, params, seed):
    if not os.path.exists(%q):
        time.sleep(0.5)
    return {"out": f"seed,i\n{seed},{params['i']}\n".encode()}
`

// Whatever is killed whenever: nothing that was reported is lost, and after resuming every
// row is there once, in the table of a job that nobody disturbed.
func TestKilledAnywhere(t *testing.T) {
	const kills = 200
	p := newPerson(t)
	hurry := filepath.Join(p.work, "hurry")
	if err := os.WriteFile(filepath.Join(p.dir, "wire.py"), fmt.Appendf(nil, slowWire, hurry), 0o600); err != nil {
		t.Fatal(err)
	}
	p.must("study", "grid", "--model", "model.sir", "--param", "i=int:1:1000:1000", "--replicates", "2", "--output", "study.json", "--force")
	id := strings.TrimSpace(p.must("jobs", "submit", "study.json", "--jobs", "4"))

	anyKind := func() string { return []string{"driver", "worker", "simulation"}[rand.IntN(3)] }
	kind, killed, reported := anyKind(), map[string]int{}, 0
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; <-ticker.C {
		s := p.status(id)
		if s.Tasks["succeeded"] < reported {
			t.Fatalf("%d results were reported, and now %+v", reported, s)
		}
		reported = s.Tasks["succeeded"]
		switch {
		case s.State == "SUCCEEDED":
			t.Logf("killed: %v", killed)
			if n < kills {
				t.Fatalf("the job has ended after %d of %d kills", n, kills)
			}
			p.compare(id)
			return
		case s.State == "FAILED", s.State == "PARTIAL", s.Driver != nil && !s.Driver.Alive:
			if _, err := p.mops("jobs", "resume", id); err != nil && !strings.Contains(err.Error(), "driven") {
				t.Fatal(err)
			}
			continue
		}
		<-time.After(rand.N(150 * time.Millisecond))
		there := p.processes()[kind]
		if n == kills || len(there) == 0 {
			continue
		}
		victim := there[rand.IntN(len(there))]
		if err := syscall.Kill(victim, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		killed[kind]++
		kind = anyKind()
		if n++; n == kills {
			if err := os.WriteFile(hurry, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// compare holds the job's table against that of a job of the same study that runs all of
// it again, undisturbed.
func (p *person) compare(id string) {
	p.t.Helper()
	p.must("jobs", "results", id, "--format", "csv", "--output", "results/disturbed")
	again := strings.TrimSpace(p.must("jobs", "submit", "study.json", "--no-cache", "--wait", "--jobs", "3"))
	p.must("jobs", "results", again, "--format", "csv", "--output", "results/undisturbed")
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(p.dir, "results", name, "out.csv"))
		if err != nil {
			p.t.Fatal(err)
		}
		return string(data)
	}
	study, err := os.ReadFile(filepath.Join(p.dir, "study.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	rows, err := expected(string(study))
	if err != nil {
		p.t.Fatal(err)
	}
	if got := strings.Count(read("disturbed"), "\n") - 1; got != len(rows) {
		p.t.Errorf("%d rows, want %d", got, len(rows))
	}
	if read("disturbed") != read("undisturbed") {
		p.t.Error("the table differs from that of an undisturbed job")
	}
}
