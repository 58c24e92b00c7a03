//go:build unix

package serve

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/task"
	"github.com/modelops-suite/modelops-go/contracts"
)

// metrics counts what became of tasks. A few counters are no reason to link a client
// library into a program that is on every node.
type metrics struct {
	mu                   sync.Mutex
	tasks, refused       map[string]uint64 // by code, by reason
	simulation, overhead histogram
}

func newMetrics() *metrics {
	return &metrics{
		tasks: map[string]uint64{}, refused: map[string]uint64{full: 0, shut: 0},
		simulation: newHistogram(), overhead: newHistogram(),
	}
}

// succeeded is the code of a task without an error.
const succeeded = "ok"

// done counts a task. What is not spent in the simulation is the worker's.
func (m *metrics) done(result *contracts.SimReturn, elapsed time.Duration) {
	code := succeeded
	if result.Error != nil {
		code = string(result.Error.Code)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks[code]++
	m.simulation.observe(result.Seconds)
	m.overhead.observe(max(0, elapsed.Seconds()-result.Seconds))
}

func (m *metrics) refuse(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused[reason]++
}

// histogram counts durations in seconds.
type histogram struct {
	bounds []float64
	counts []uint64 // one more than there are bounds
	sum    float64
}

func newHistogram() histogram {
	bounds := []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200}
	return histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

func (h *histogram) observe(seconds float64) {
	i, _ := slices.BinarySearch(h.bounds, seconds)
	h.counts[i]++
	h.sum += seconds
}

// page writes Prometheus' text format.
type page struct{ bytes.Buffer }

func (p *page) head(name, kind, help string) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p *page) gauge(name, help string, value float64) {
	p.head(name, "gauge", help)
	p.sample(name, "", value)
}

func (p *page) sample(name, labels string, value float64) {
	fmt.Fprintf(p, "%s%s %s\n", name, labels, strconv.FormatFloat(value, 'g', -1, 64))
}

func (p *page) counters(name, help, label string, values map[string]uint64) {
	p.head(name, "counter", help)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		p.sample(name, labels(label, key), float64(values[key]))
	}
}

func (p *page) histogram(name, help string, h histogram) {
	p.head(name, "histogram", help)
	count := uint64(0)
	for i, bound := range h.bounds {
		count += h.counts[i]
		p.sample(name+"_bucket", labels("le", strconv.FormatFloat(bound, 'g', -1, 64)), float64(count))
	}
	count += h.counts[len(h.bounds)]
	p.sample(name+"_bucket", labels("le", "+Inf"), float64(count))
	p.sample(name+"_sum", "", h.sum)
	p.sample(name+"_count", "", float64(count))
}

// labels writes names and their values.
func labels(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, `,%s="%s"`, pairs[i], strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(pairs[i+1]))
	}
	return "{" + b.String()[1:] + "}"
}

// text is the page of /metrics.
func (m *metrics) text(build Build, stats task.Stats, draining bool) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &page{}
	p.head("modelops_worker_build_info", "gauge", "Which build this is.")
	p.sample("modelops_worker_build_info", labels("version", build.Version, "contract", build.Contract), 1)
	p.gauge("modelops_worker_draining", "1 while the worker takes no more tasks.", map[bool]float64{true: 1}[draining])
	p.counters("modelops_worker_tasks_total", "Tasks that were answered, by the code of their error.", "code", m.tasks)
	p.counters("modelops_worker_refused_total", "Tasks that were not begun, by the reason.", "reason", m.refused)
	p.head("modelops_worker_tasks", "gauge", "Tasks that the worker has, by what they are at.")
	for _, state := range []struct {
		name  string
		count int
	}{{"preparing", stats.Preparing}, {"waiting", stats.Waiting}, {"running", stats.Running}} {
		p.sample("modelops_worker_tasks", labels("state", state.name), float64(state.count))
	}
	p.histogram("modelops_worker_simulation_seconds", "Time of a task in its simulation.", m.simulation)
	p.histogram("modelops_worker_overhead_seconds", "Time of a task elsewhere: preparation, waiting, and the worker itself.", m.overhead)
	p.gauge("modelops_worker_bundles", "Bundles that are held ready.", float64(stats.Bundles))
	processes := stats.Processes
	p.head("modelops_worker_processes", "gauge", "Processes of simulations.")
	p.sample("modelops_worker_processes", labels("state", "idle"), float64(processes.Idle))
	p.sample("modelops_worker_processes", labels("state", "busy"), float64(processes.Busy))
	p.gauge("modelops_worker_processes_memory_bytes", "Memory of these processes and all that they started.", float64(processes.Memory))
	p.counters("modelops_worker_processes_taken_total", "Processes that tasks were given, new or warm.", "kind", map[string]uint64{"started": processes.Started, "reused": processes.Reused})
	p.counters("modelops_worker_processes_ended_total", "Processes that ended, by the reason.", "reason", processes.Ended)
	return p.Bytes()
}
