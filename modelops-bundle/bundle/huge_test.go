package bundle

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

// TestHundredGibibytes: the index of a file of 100 GiB, cut as the chunker cuts a sample of
// one, is within the limits, and is read again. Its digests are numbers: nobody hashes
// 100 GiB for this.
func TestHundredGibibytes(t *testing.T) {
	const size = 100 << 30
	lengths := sampleChunks(t, size, 256<<20)
	x := &Index{Files: []File{{Path: "data/field.bin", Mode: Regular, Size: size}}}
	file := &x.Files[0]
	for rest := int64(size); rest > 0; {
		n := min(rest, lengths[len(x.Blobs)%len(lengths)])
		file.Parts = append(file.Parts, Part{Blob: len(x.Blobs), Length: n})
		raw := sha256.Sum256(binary.AppendVarint(nil, int64(len(x.Blobs))))
		d := contracts.DigestFromSum(raw)
		x.Blobs = append(x.Blobs, Blob{Raw: d, RawSize: n, Stored: d, StoredSize: n, Encoding: Identity, Kind: Chunk})
		rest -= n
	}
	if len(x.Blobs) > MaxBlobs {
		t.Fatalf("%d chunks", len(x.Blobs))
	}
	file.Digest = chunksDigest(file.Parts, x.Blobs)
	x.Content = ContentDigest(x.Files)
	stored, err := x.Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseIndex(stored.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, got); diff != "" {
		t.Error(diff)
	}
	t.Logf("%d chunks, an index of %d bytes", len(x.Blobs), stored.Size)
}

// sampleChunks are the lengths into which a file of that size is cut, of as much of it as
// sample: random bytes.
func sampleChunks(t *testing.T, size, sample int64) (lengths []int64) {
	t.Helper()
	random := io.LimitReader(rand.NewChaCha8([32]byte{1}), sample)
	chunker, err := chunkers.NewChunker(chunkAlgorithm, random, chunkSizes(size))
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, err := chunker.Next()
		if len(data) > 0 {
			lengths = append(lengths, int64(len(data)))
		}
		if err == io.EOF {
			return lengths
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
