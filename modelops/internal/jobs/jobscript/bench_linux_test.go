package jobscript

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkNoOpTasks runs 10,000 tasks that do nothing, from the driver's first word to
// the last durable result, and reports how many that is in a second and the most memory
// that the driver had.
func BenchmarkNoOpTasks(b *testing.B) {
	const tasks = 10_000
	p := newPerson(b)
	wire := "def wire(entrypoint, params, seed):\n    return {'out': b'a,b\\n1,2\\n'}\n"
	if err := os.WriteFile(filepath.Join(p.dir, "wire.py"), []byte(wire), 0o600); err != nil {
		b.Fatal(err)
	}
	p.must("study", "grid", "--model", "model.sir", "--param", fmt.Sprintf("i=int:1:%d:%d", tasks, tasks), "--output", "study.json", "--force")
	seconds, peak := 0.0, 0
	for b.Loop() {
		id := strings.TrimSpace(p.must("jobs", "submit", "study.json", "--no-cache"))
		s, memory := p.watch(id)
		if s.State != "SUCCEEDED" || s.Tasks["succeeded"] != tasks {
			b.Fatalf("%+v", s)
		}
		seconds += s.Finished.Sub(s.Started).Seconds()
		peak = max(peak, memory)
	}
	b.ReportMetric(tasks*float64(b.N)/seconds, "tasks/s")
	b.ReportMetric(float64(peak)/1024, "driver-peak-MB")
}

// watch waits for the job's end, and is the most memory that its driver had, in KiB.
func (p *person) watch(id string) (s jobStatus, peak int) {
	p.t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for ; ; <-ticker.C {
		s = p.status(id)
		if s.State == "RUNNING" && s.Driver != nil {
			peak = max(peak, peakMemory(s.Driver.PID))
			continue
		}
		if s.State != "PENDING" && s.State != "SUBMITTED" {
			return s, peak
		}
	}
}

var peakPattern = regexp.MustCompile(`VmHWM:\s*([0-9]+) kB`)

// peakMemory is the most memory that a process had, in KiB; 0 when it has ended.
func peakMemory(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	match := peakPattern.FindSubmatch(data)
	if match == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(match[1])) // digits
	return n
}
