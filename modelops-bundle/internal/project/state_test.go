package project

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// The state is what json makes of it, whatever files are called.
func TestStateDocument(t *testing.T) {
	odd := `"last_synced_files":{}`
	files := []bundle.File{{Path: odd, Digest: contracts.DigestOf([]byte("a"))}, {Path: "b/c <&>.csv", Digest: contracts.DigestOf(nil)}}
	for name, synced := range map[string]Files{"none": {}, "some": newFiles("", files), "with blanks": {text: json.RawMessage("{\n  \"a\": \"b\"\n}")}} {
		s := &State{Synced: synced, Executable: []string{odd}, Bases: map[string]contracts.Digest{odd: contracts.DigestOf(nil)}}
		data, err := s.document()
		if err != nil {
			t.Fatal(name, err)
		}
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(decoded(t, want), decoded(t, data)); diff != "" {
			t.Errorf("%s (-json +document):\n%s", name, diff)
		}
	}
}

func decoded(t *testing.T, data []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return value
}
