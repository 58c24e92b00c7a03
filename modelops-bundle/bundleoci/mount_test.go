package bundleoci_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// TestMount pushes a project that was given another name.
func TestMount(t *testing.T) {
	for _, format := range []bundle.Format{bundle.Packed, bundle.Files} {
		t.Run(string(format), func(t *testing.T) {
			registry := bundletest.NewRegistry(t)
			dir := write(t, bundletest.Files{"a": "1", "src/b": strings.Repeat("b", 3000), "big": strings.Repeat("0123456789", 300_000)})
			first := mustPush(t, open(t, registry.Environment(), "seir"), dir, bundleoci.PushOptions{Format: format})
			renamed := open(t, registry.Environment(), "renamed")
			opts := bundleoci.PushOptions{Format: format, Origins: []bundleoci.Origin{{Path: "gone", Digest: first.Ref.Digest}, {Path: "seir", Digest: first.Ref.Digest}}}
			registry.Requests()
			plan := planned(t, renamed, dir, opts)
			for _, request := range registry.Requests() {
				if !strings.HasPrefix(request, "GET ") && !strings.HasPrefix(request, "HEAD ") {
					t.Errorf("a plan asked for %s", request)
				}
			}
			second := mustPush(t, renamed, dir, opts)
			if second.Ref.Digest != first.Ref.Digest || plan.Ref != second.Ref || second.BytesUploaded != 0 {
				t.Errorf("%s with %d bytes sent; it was %s", second.Ref, second.BytesUploaded, first.Ref)
			}
			remote, err := renamed.Fetch(t.Context(), second.Ref.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := remote.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMountRefused has registries that answer what registries answer that do not mount.
func TestMountRefused(t *testing.T) {
	for name, refuse := range map[string]func(http.ResponseWriter, *http.Request, int64) bool{
		"not supported": func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		},
		"not this user": func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		},
		"an upload instead": func(_ http.ResponseWriter, r *http.Request, _ int64) bool {
			r.URL.RawQuery = ""
			return false
		},
		"the second one": func(w http.ResponseWriter, _ *http.Request, n int64) bool {
			if n > 1 {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return n > 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			registry := bundletest.NewRegistry(t)
			dir := write(t, bundletest.Files{"a": "1", "big": strings.Repeat("0123456789", 300_000)})
			first := mustPush(t, open(t, registry.Environment(), "seir"), dir, bundleoci.PushOptions{})
			var asked atomic.Int64
			registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				return r.URL.Query().Has("mount") && refuse(w, r, asked.Add(1))
			})
			second := mustPush(t, open(t, registry.Environment(), "renamed"), dir, bundleoci.PushOptions{
				Origins: []bundleoci.Origin{{Path: "seir", Digest: first.Ref.Digest}},
			})
			if second.Ref.Digest != first.Ref.Digest || second.BytesUploaded == 0 || asked.Load() == 0 || asked.Load() > 3 {
				t.Errorf("%s with %d bytes sent and %d blobs asked for; it was %s", second.Ref, second.BytesUploaded, asked.Load(), first.Ref)
			}
		})
	}
}

func planned(t *testing.T, repo *bundleoci.Repository, dir string, opts bundleoci.PushOptions) *bundleoci.PushPlan {
	t.Helper()
	root, sources := scanned(t, dir)
	opts.Tag = "latest"
	plan, err := repo.PlanPush(t.Context(), root, sources, opts)
	if err != nil {
		t.Fatal(contracts.AsError(err))
	}
	return plan
}
