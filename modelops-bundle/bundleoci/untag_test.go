package bundleoci_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// A tag is deleted by its name, and in Azure's registries where they have that: whatever
// the registry answers, no manifest is deleted by its digest.
func TestUntag(t *testing.T) {
	for _, tc := range []struct {
		provider, asked string
		status          int
		want            contracts.Code
	}{
		{"docker", "DELETE /v2/team/seir/manifests/v1", http.StatusAccepted, ""},
		{"acr", "DELETE /acr/v1/team/seir/_tags/v1", http.StatusAccepted, ""},
		{"docker", "DELETE /v2/team/seir/manifests/v1", http.StatusNotFound, contracts.CodeBundleNotFound},
		{"docker", "DELETE /v2/team/seir/manifests/v1", http.StatusMethodNotAllowed, contracts.CodeUnsupported},
		{"docker", "DELETE /v2/team/seir/manifests/v1", http.StatusBadRequest, contracts.CodeUnsupported},
		{"docker", "DELETE /v2/team/seir/manifests/v1", http.StatusForbidden, contracts.CodeDenied},
	} {
		registry := bundletest.NewRegistry(t)
		registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(tc.status)
			return true
		})
		env := registry.Environment()
		env.Registry.Provider = tc.provider
		repository, err := bundleoci.Open(env, "team/seir", bundleoci.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = repository.Untag(t.Context(), "v1")
		if (err == nil) != (tc.want == "") || err != nil && contracts.AsError(err).Code != tc.want {
			t.Errorf("%s, %d: %v, want %q", tc.provider, tc.status, err, tc.want)
		}
		if asked := registry.Requests(); !slices.Equal(asked, []string{tc.asked}) {
			t.Errorf("%s, %d: asked %q, want %q", tc.provider, tc.status, asked, tc.asked)
		}
	}
}
