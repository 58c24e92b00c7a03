//go:build unix

package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What bounds warm processes is what the variables say: how many there are, how many tasks
// one has, and what they use together.
func TestServeKeepsSoManyWarm(t *testing.T) {
	const holds = "kept = bytearray(b'x') * (60 << 20)\n" + does
	for name, test := range map[string]struct {
		variable string
		bundles  []int
		counts   []string // the number of each task in its process
		reason   string   // why processes ended, and how many; "" for none
		ended    string
	}{
		"two bundles, two processes": {"MODELOPS_MAX_WARM_PROCESSES=2", []int{0, 1, 0, 1}, []string{"1", "1", "2", "2"}, "", ""},
		"two bundles, one process":   {"MODELOPS_MAX_WARM_PROCESSES=1", []int{0, 1, 0}, []string{"1", "1", "1"}, "count", "2"},
		"two tasks a process":        {"MODELOPS_MAX_WARM_TASKS=2", []int{0, 0, 0, 0, 0}, []string{"1", "2", "1", "2", "1"}, "tasks", "2"},
		"memory for one":             {"MODELOPS_MAX_WARM_MEMORY=100Mi", []int{0, 1}, []string{"1", "1"}, "memory", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.environ = append(h.environ, "MODELOPS_MAX_WARM_PROCESSES=4", test.variable)
			refs := [...]string{"# first\n", "# second\n"}
			d := h.serve("--slots", "1", "--quiet")
			var counts []string
			for _, bundle := range test.bundles {
				result := d.run(doing(h.push("my-model", holds+refs[bundle]), "pass", 1), "")
				if result.Error != nil {
					t.Fatalf("%+v", result.Error)
				}
				counts = append(counts, string(result.Outputs["count"].Inline))
			}
			if diff := cmp.Diff(test.counts, counts); diff != "" {
				t.Error(diff)
			}
			if test.reason == "" {
				if body := string(d.get("/metrics").body); strings.Contains(body, "_ended_total{") {
					t.Errorf("processes ended:\n%s", body)
				}
				return
			}
			until(t, "so many processes ended for "+test.reason, func() bool {
				return strings.Contains(string(d.get("/metrics").body), `modelops_worker_processes_ended_total{reason="`+test.reason+`"} `+test.ended+"\n")
			})
		})
	}
}
