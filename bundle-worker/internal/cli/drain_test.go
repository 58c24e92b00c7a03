//go:build unix

package cli

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestServeDrain(t *testing.T) {
	for name, test := range map[string]struct {
		drain   string
		signals int
		code    contracts.Code // of the running task
		exit    int
	}{
		"running tasks end":       {"60s", 1, "", 0},
		"the time is over":        {"0s", 1, contracts.CodeWorkerStopped, 0},
		"a second signal ends it": {"600s", 2, contracts.CodeWorkerStopped, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			ref := h.push("my-model", does)
			d := h.serve("--slots", "1", "--drain", test.drain)
			gate, ready := h.path("gate"), h.path("ready")
			do := "open(" + strconv.Quote(ready) + ", 'w').close()\nwhile not os.path.exists(" + strconv.Quote(gate) + "): time.sleep(0.01)"
			results := map[string]chan answer{"running": make(chan answer, 1), "waiting": make(chan answer, 1)}
			send := func(which string, seed uint64) {
				a, err := d.post(context.Background(), doing(ref, do, seed), "")
				if err != nil {
					t.Errorf("%s: %v", which, err)
				}
				results[which] <- a
			}
			go send("running", 1)
			until(t, "the first runs", func() bool { return there(ready) })
			go send("waiting", 2)
			until(t, "the second waits", func() bool { return strings.Contains(string(d.get("/v1/health").body), `"waiting":1`) })
			d.signal(syscall.SIGTERM)
			if result, err := contracts.ParseReturn((<-results["waiting"]).body); err != nil || result.Error == nil || result.Error.Code != contracts.CodeWorkerStopped || !result.Error.Retryable {
				t.Errorf("what waits: %+v, %v", result, err)
			}
			if test.code == "" {
				a, err := d.post(t.Context(), doing(ref, "pass", 3), "")
				if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"retryable":true`) {
					t.Errorf("a new task: %v, %d %s", err, a.status, a.body)
				}
				if a := d.get("/v1/health"); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"draining"`) {
					t.Errorf("health: %d %s", a.status, a.body)
				}
				if err := os.WriteFile(gate, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range test.signals - 1 {
				d.signal(syscall.SIGTERM)
			}
			result, err := contracts.ParseReturn((<-results["running"]).body)
			if err != nil {
				t.Fatal(err)
			}
			if code := result.Error; test.code == "" && code != nil || test.code != "" && (code == nil || code.Code != test.code || !code.Retryable) {
				t.Errorf("what ran: %+v", result.Error)
			}
			if exit := d.await(); exit != test.exit {
				t.Errorf("exit code %d", exit)
			}
			if there(h.path("cache/serve/worker.sock")) {
				t.Error("the socket is still there")
			}
		})
	}
}

// What is only being prepared would not be begun: a worker that drains does not wait for it.
func TestServeDrainsWhatIsPrepared(t *testing.T) {
	h := newHost(t)
	ref := h.push("my-model", does)
	d := h.serve("--drain", "600s")
	n := &node{t: t, registry: h.registry}
	n.hold()
	defer close(n.held)
	answered := make(chan answer)
	go func() {
		a, err := d.post(context.Background(), doing(ref, "pass", 1), "")
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	<-n.arrived
	d.signal(syscall.SIGTERM)
	if exit := d.await(); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	if result, err := contracts.ParseReturn((<-answered).body); err != nil || result.Error == nil || result.Error.Code != contracts.CodeWorkerStopped || !result.Error.Retryable {
		t.Errorf("%+v, %v", result, err)
	}
}
