package bundle

import (
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

// An empty file has the digest of nothing: it is in no blob that would be held against it.
func TestEmptyFile(t *testing.T) {
	f := File{Path: "a", Mode: Regular, Digest: contracts.DigestOf(nil)}
	if _, err := WholeFiles([]File{f}); err != nil {
		t.Error(err)
	}
	f.Digest = contracts.DigestOf([]byte("something"))
	if _, err := WholeFiles([]File{f}); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeInvalidBundle {
		t.Errorf("%v", err)
	}
}
