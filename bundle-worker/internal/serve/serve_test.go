//go:build unix

package serve

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pool"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/task"
	"github.com/modelops-suite/modelops-go/contracts"
)

func TestDoor(t *testing.T) {
	d := newDoor(2)
	for i, want := range []string{open, open, full} {
		if got := d.enter(); got != want {
			t.Errorf("entry %d is %q, want %q", i, got, want)
		}
	}
	d.leave()
	if got := d.enter(); got != open {
		t.Errorf("after one left it is %q", got)
	}
	left := d.close()
	if got := d.enter(); got != shut || !d.closed() {
		t.Errorf("a closed door is %q", got)
	}
	for range 2 {
		select {
		case <-left:
			t.Fatal("it is empty while somebody is in")
		default:
		}
		d.leave()
	}
	<-left
	<-newDoor(1).close() // nobody was in
}

// The page is what Prometheus' own parser reads, whatever is in the labels.
func TestMetrics(t *testing.T) {
	m := newMetrics()
	for seconds, code := range map[float64]contracts.Code{0.2: "", 3: contracts.CodeModel, 9000: contracts.CodeTimeout} {
		result := &contracts.SimReturn{Seconds: seconds}
		if code != "" {
			result.Error = &contracts.Error{Code: code}
		}
		m.done(result, time.Duration((seconds+0.002)*float64(time.Second)))
	}
	m.refuse(full)
	version := "v1 \"quoted\" \\ back\nnew line"
	page := m.text(Build{version, "1.1"}, task.Stats{Running: 3, Processes: pool.Stats{Idle: 2, Ended: map[string]uint64{pool.EndedAge: 4}}}, true)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		t.Fatalf("%v in\n%s", err, page)
	}
	for name, family := range families {
		if family.GetHelp() == "" || family.Type == nil {
			t.Errorf("%s has no help, or no type", name)
		}
	}
	if got := families["modelops_worker_build_info"].GetMetric()[0].GetLabel()[0].GetValue(); got != version {
		t.Errorf("the version is %q", got)
	}
	h := families["modelops_worker_simulation_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 3 || h.GetSampleSum() != 9003.2 {
		t.Errorf("%d samples of %v seconds", h.GetSampleCount(), h.GetSampleSum())
	}
	for _, bucket := range h.GetBucket() {
		want := uint64(0)
		for _, seconds := range []float64{0.2, 3, 9000} {
			if seconds <= bucket.GetUpperBound() {
				want++
			}
		}
		if bucket.GetCumulativeCount() != want {
			t.Errorf("%d in the bucket of %v, want %d", bucket.GetCumulativeCount(), bucket.GetUpperBound(), want)
		}
	}
	if got := families["modelops_worker_refused_total"].GetMetric(); len(got) != 2 {
		t.Errorf("reasons are %v", got)
	}
}
