package jobscript

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// plainDask submits functions that do nothing to the scheduler, gathers what they answer,
// and prints how many that were in a second.
const plainDask = `
import sys, time
from distributed import Client
from distributed.security import Security

def nothing(x):
    return None

if __name__ == "__main__":
    address, count, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = Client(address, security=Security(tls_ca_file=file, tls_client_cert=file, tls_client_key=file, require_encryption=True))
    client.gather([client.submit(nothing, i, pure=False) for i in range(200)])
    began = time.time()
    client.gather([client.submit(nothing, -i, pure=False) for i in range(count)])
    print(count / (time.time() - began))
`

// BenchmarkDaskNoOpTasks runs 100,000 tasks that do nothing on a cluster of two workers,
// and functions of Python that do nothing on the same cluster, and reports how many of each
// that is in a second, and the most memory that the driver had: it is to be 60 % or more, and
// below 300 MB.
func BenchmarkDaskNoOpTasks(b *testing.B) {
	const tasks, functions = 100_000, 5_000
	p := newPerson(b)
	p.must("infra", "up", "--with-dask", "--workers", "2")
	wire := "def wire(entrypoint, params, seed):\n    return {'out': b'a,b\\n1,2\\n'}\n"
	if err := os.WriteFile(filepath.Join(p.dir, "wire.py"), []byte(wire), 0o600); err != nil {
		b.Fatal(err)
	}
	p.must("study", "grid", "--model", "model.sir", "--param", fmt.Sprintf("i=int:1:%d:%d", tasks, tasks), "--output", "study.json", "--force")
	seconds, peak, plain := 0.0, 0, 0.0
	for b.Loop() {
		plain += p.plainDask(functions)
		id := strings.TrimSpace(p.must("jobs", "submit", "study.json", "--no-cache"))
		s, memory := p.watch(id)
		if s.State != "SUCCEEDED" || s.Tasks["succeeded"] != tasks {
			b.Fatalf("%+v", s)
		}
		seconds += s.Finished.Sub(s.Started).Seconds()
		peak = max(peak, memory)
	}
	rate := tasks * float64(b.N) / seconds
	b.ReportMetric(rate, "tasks/s")
	b.ReportMetric(plain/float64(b.N), "plain-dask/s")
	b.ReportMetric(rate/(plain/float64(b.N)), "x-plain-dask")
	b.ReportMetric(float64(peak)/1024, "driver-peak-MB")
	if rate < 0.6*plain/float64(b.N) || peak > 300<<10 {
		b.Errorf("too few tasks, or too much memory")
	}
}

func (p *person) plainDask(count int) float64 {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.work, "home", ".modelops", "local", "dask", "cluster.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var cluster struct{ Python string }
	if err := json.Unmarshal(data, &cluster); err != nil {
		p.t.Fatal(err)
	}
	script := filepath.Join(p.t.TempDir(), "plain.py")
	if err := os.WriteFile(script, []byte(plainDask), 0o600); err != nil {
		p.t.Fatal(err)
	}
	c := p.compute()
	out, err := exec.Command(cluster.Python, script, c.Scheduler, strconv.Itoa(count), c.TLS.Key).Output()
	if err != nil {
		p.t.Fatal(err)
	}
	rate, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return rate
}
