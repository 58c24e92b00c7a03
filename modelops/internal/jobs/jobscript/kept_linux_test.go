package jobscript

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// Where one may only pull, a job runs and says that its bundle is not kept; where the
// registry is broken, no job is made.
func TestBundleNotKept(t *testing.T) {
	p := newPerson(t)
	registry := bundletest.NewRegistry(t)
	env := registry.Environment()
	env.Environment = "colleagues"
	data, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.work, "home", ".modelops", "bundle-env", "colleagues.yaml"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.must("bundle", "push", "--tag", "v1", "--env", "colleagues")

	answer := func(status int) {
		registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				return false
			}
			w.WriteHeader(status)
			return true
		})
	}
	submit := []string{"jobs", "submit", "study.json", "--bundle", "v1", "--env", "colleagues", "--wait"}
	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized, http.StatusMethodNotAllowed} {
		answer(status)
		out, errs, err := p.run(submit...)
		if err != nil || !strings.Contains(errs, "is not kept for the job's sake") {
			t.Fatalf("%d: %v\n%s%s", status, err, out, errs)
		}
		p.must("jobs", "rm", strings.TrimSpace(out), "--env", "colleagues")
	}
	answer(http.StatusServiceUnavailable)
	if out, _, err := p.run(append(submit, "--json")...); err == nil || !strings.Contains(out, `"code":"unavailable"`) {
		t.Errorf("a broken registry: %v\n%s", err, out)
	}
	if out := p.must("jobs", "list", "--env", "colleagues", "--json"); strings.Contains(out, "job-") {
		t.Errorf("jobs were made: %s", out)
	}
}
