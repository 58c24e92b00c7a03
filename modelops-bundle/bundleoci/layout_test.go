package bundleoci_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/ocilayout"
)

// An import that fails anywhere leaves the tag where it was, and is done again.
func TestInterruptedImport(t *testing.T) {
	from, to := bundletest.NewRegistry(t), bundletest.NewRegistry(t)
	ref := bundletest.Push(t, from, "team/seir", bundletest.Files{"a": "one", "large": strings.Repeat("0123456789", 300_000)})
	old := bundletest.Push(t, to, "team/seir", bundletest.Files{"a": "old"}).Digest
	source, err := bundleoci.Open(from.Environment(), "team/seir", bundleoci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	remote, err := source.Fetch(t.Context(), ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.tar")
	if _, err := remote.Export(t.Context(), path, "latest", nil); err != nil {
		t.Fatal(err)
	}
	from.Stop()
	layout, err := ocilayout.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer layout.Close()
	b, err := bundleoci.FromLayout(t.Context(), layout, layout.Entries[0].Entry)
	if err != nil {
		t.Fatal(err)
	}
	target, err := bundleoci.Open(to.Environment(), "team/seir", bundleoci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opts := bundleoci.PushOptions{Tag: "latest", Base: old}
	for allowed := range int64(20) {
		var writes atomic.Int64
		to.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				return false
			}
			if writes.Add(1) > allowed {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		})
		result, err := target.Import(t.Context(), b, opts)
		to.Intercept(nil)
		now, resolveErr := target.Resolve(t.Context(), "latest")
		switch {
		case resolveErr != nil:
			t.Fatal(resolveErr)
		case err == nil && (now != ref.Digest || result.Ref.Digest != now):
			t.Fatalf("imported, and the tag points to %s", now)
		case err != nil && (now != old || contracts.AsError(err).Code != contracts.CodeDenied):
			t.Fatalf("after %d writes the tag points to %s, %v", allowed, now, err)
		}
		if err == nil {
			imported, err := target.Fetch(t.Context(), now)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := imported.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("it never ended")
}
