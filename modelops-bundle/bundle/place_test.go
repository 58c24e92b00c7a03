package bundle_test

import (
	"os"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir + "/f")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rules contracts.ProjectStorage
		path  string
		want  bool
	}{
		{contracts.ProjectStorage{}, "a", false},
		{contracts.ProjectStorage{Mode: "oci-only", ForceBlobPatterns: []string{"*"}}, "a", false},
		{contracts.ProjectStorage{Mode: "auto", ThresholdBytes: 100}, "a", true},
		{contracts.ProjectStorage{Mode: "auto", ThresholdBytes: 101}, "a", false},
		{contracts.ProjectStorage{Mode: "auto", ThresholdBytes: 101, ForceBlobPatterns: []string{"data/*"}}, "data/deep/a.csv", true},
		{contracts.ProjectStorage{Mode: "auto", ThresholdBytes: 101, ForceBlobPatterns: []string{"data/*"}}, "mydata/a.csv", false},
		{contracts.ProjectStorage{Mode: "auto", ForceBlobPatterns: []string{"*.csv"}, ForceOCIPatterns: []string{"*/small*"}}, "x/small.csv", false},
		{contracts.ProjectStorage{Mode: "blob-only", ThresholdBytes: 101}, "a", true},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"*.py"}}, "src/a.py", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"*.py"}}, "src/a.pyc", true},
		// fnmatch
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"a?c"}}, "a/c", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"run[0-9].csv"}}, "run7.csv", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"run[!0-9].csv"}}, "run7.csv", true},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"run[!0-9].csv"}}, "runx.csv", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"[]x]"}}, "]", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"[^a]"}}, "^", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"a[b"}}, "a[b", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"[z-a]"}}, "[z-a]", false},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"A.csv", "a+(b).txt"}}, "a.csv", true},
		{contracts.ProjectStorage{Mode: "blob-only", ForceOCIPatterns: []string{"A.csv", "a+(b).txt"}}, "a+(b).txt", false},
	} {
		sources := []bundle.Source{{Path: c.path, Info: info}}
		bundle.Place(sources, c.rules)
		if sources[0].Storage != c.want {
			t.Errorf("%s with %+v: %v", c.path, c.rules, sources[0].Storage)
		}
	}
}
