package replay

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestEnvironmentDifferences(t *testing.T) {
	recorded := &contracts.EnvironmentRecord{Python: "3.11.2", Platform: "linux-x86_64", Packages: map[string]string{"numpy": "1.26.0", "old": "1", "same": "2"}}
	replayed := &contracts.EnvironmentRecord{Python: "3.12.1", Platform: "linux-x86_64", Packages: map[string]string{"numpy": "2.0.0", "new": "3", "same": "2"}}
	want := []EnvironmentDifference{
		{"python", "", "3.11.2", "3.12.1"}, {"package", "numpy", "1.26.0", "2.0.0"}, {"package", "new", "", "3"}, {"package", "old", "1", ""},
	}
	if diff := cmp.Diff(want, environmentDifferences(recorded, replayed)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
