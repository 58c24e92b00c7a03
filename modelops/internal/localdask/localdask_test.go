package localdask

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What an earlier program started speaks no TLS. Asked for again, it does, on the same ports.
func TestAskMovesToTLS(t *testing.T) {
	c := Open(filepath.Join(t.TempDir(), "dask"))
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.specPath(), []byte(`{"workers":2,"threads":1,"python":"/python","scheduler":36985,"dashboard":36927}`), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := c.Spec()
	if err != nil || !strings.HasPrefix(c.Compute(before).Scheduler, "tcp://") || c.Compute(before).TLS != nil {
		t.Fatalf("%+v %v", before, err)
	}
	if err := c.Ask(t.Context(), *before); err != nil {
		t.Fatal(err)
	}
	after, err := c.Spec()
	if err != nil {
		t.Fatal(err)
	}
	want := *before
	want.TLS = true
	if diff := cmp.Diff(&want, after); diff != "" {
		t.Error(diff)
	}
	if compute := c.Compute(after); compute.Scheduler != "tls://127.0.0.1:36985" || compute.TLS == nil || compute.TLS.KeyFile != filepath.Join(c.Dir, "tls.pem") {
		t.Errorf("%+v", compute)
	}
}
