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
	t         *testing.T
	work, dir string // dir is where the programs run
}

func newPerson(t *testing.T) *person {
	t.Helper()
	p := &person{t: t, work: t.TempDir()}
	p.dir = p.work
	if err := os.Mkdir(filepath.Join(p.work, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.must("infra", "up")
	t.Cleanup(func() { p.dir = p.work; p.mops("infra", "down") })
	p.must("bundle", "init", "my-model", "--template", "minimal")
	p.dir = filepath.Join(p.work, "my-model")
	return p
}

// mops runs mops and returns its stdout.
func (p *person) mops(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(bin, "mops"), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"HOME=" + filepath.Join(p.work, "home"), "PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + p.work}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("mops %v: %w\n%s%s", args, err, out, errs.String())
	}
	return string(out), err
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

// processes are those of the job: its driver, its workers and their simulations. The
// registry is none of them.
func (p *person) processes() (pids []int, names []string) {
	p.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		p.t.Fatal(err)
	}
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
		text := strings.ReplaceAll(string(line), "\x00", " ")
		if err != nil || !strings.Contains(string(environ)+text, p.work) || !strings.Contains(text, "drive") && !strings.Contains(text, "exec --stream") && !strings.Contains(text, "harness") {
			continue
		}
		pids, names = append(pids, pid), append(names, text)
	}
	return pids, names
}

// Whatever is killed whenever: after resuming, every row is there once, and the table is
// the one of a job that nobody disturbed.
func TestKilledAnywhere(t *testing.T) {
	const kills = 25
	p := newPerson(t)
	wire := "import time\n\ndef wire(entrypoint, params, seed):\n    time.sleep(0.01)\n    return {'out': f'seed,i\\n{seed},{params[\"i\"]}\\n'.encode()}\n"
	if err := os.WriteFile(filepath.Join(p.dir, "wire.py"), []byte(wire), 0o600); err != nil {
		t.Fatal(err)
	}
	p.must("study", "grid", "--model", "model.sir", "--param", "i=int:1:400:400", "--replicates", "2", "--output", "study.json", "--force")
	id := strings.TrimSpace(p.must("jobs", "submit", "study.json"))

	killed, reported := map[string]int{}, 0
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; {
		s := p.status(id)
		if done := s.Tasks["succeeded"]; done < reported {
			t.Fatalf("%d results were reported, and now %d are", reported, done)
		}
		if s.State != "RUNNING" || s.Driver != nil && !s.Driver.Alive {
			// A new attempt counts afresh what is there, so only from one report to the
			// next of one attempt the number grows.
			reported = 0
		} else {
			reported = s.Tasks["succeeded"]
		}
		switch {
		case s.State == "SUCCEEDED":
			if n < kills {
				t.Logf("only %d kills before the end: %v", n, killed)
			}
			p.compare(id, killed)
			return
		case s.State == "FAILED", s.State == "PARTIAL", s.Driver != nil && !s.Driver.Alive:
			if _, err := p.mops("jobs", "resume", id); err != nil && !strings.Contains(err.Error(), "driven") {
				t.Fatal(err)
			}
			<-ticker.C
			continue
		}
		<-time.After(rand.N(150 * time.Millisecond))
		pids, names := p.processes()
		if n >= kills || len(pids) == 0 {
			<-ticker.C
			continue
		}
		victim := rand.IntN(len(pids))
		if err := syscall.Kill(pids[victim], syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		killed[kindOf(names[victim])]++
		n++
	}
}

func kindOf(line string) string {
	for _, kind := range []string{"drive", "harness", "exec"} {
		if strings.Contains(line, kind) {
			return kind
		}
	}
	return line
}

// compare holds the job's table against that of a job of the same study that runs all of
// it again, undisturbed.
func (p *person) compare(id string, killed map[string]int) {
	p.t.Helper()
	p.t.Logf("killed: %v", killed)
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
