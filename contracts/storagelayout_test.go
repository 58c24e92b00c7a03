package contracts

import "testing"

func TestStorageLayout(t *testing.T) {
	content := DigestOf([]byte("content"))
	sum := NewArtifact("x/y", []byte("1")).Checksum
	if got, want := BlobKey(ResultsPrefix(content), sum), "results/"+content.Hex()+"/blobs/"+sum; got != want {
		t.Errorf("a blob lies at %s, want %s", got, want)
	}
	for ref, want := range map[string]bool{BlobRef(sum): true, "file:" + sum: false, BlobRef("../x"): false, BlobRef(ResultsPrefix(content)): false, "": false} {
		if got, ok := (Artifact{Ref: ref, Checksum: sum}).Blob(); ok != want || ok && got != sum {
			t.Errorf("reference %q: %s, %v", ref, got, ok)
		}
	}
	if _, ok := (Artifact{Ref: BlobRef("../x"), Checksum: "../x"}).Blob(); ok {
		t.Error("a checksum that is none is a blob's")
	}
}
