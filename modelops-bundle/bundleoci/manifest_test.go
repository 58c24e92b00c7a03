package bundleoci

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// TestLargestManifest: with as many layers as an index may have blobs, of the longest
// descriptors, registries still accept the manifest.
func TestLargestManifest(t *testing.T) {
	x := &bundle.Index{Blobs: make([]bundle.Blob, bundle.MaxBlobs)}
	for i := range x.Blobs {
		d := contracts.DigestFromSum(sha256.Sum256(binary.AppendVarint(nil, int64(i))))
		x.Blobs[i] = bundle.Blob{Raw: d, Stored: d, StoredSize: 16 << 20, Encoding: bundle.Zstd, Kind: bundle.Chunk}
	}
	stored := &bundle.StoredIndex{Digest: x.Blobs[0].Stored, Size: math.MaxInt32}
	if n := len(newManifest(x, stored)); n > maxManifest {
		t.Errorf("%d bytes", n)
	}
}
