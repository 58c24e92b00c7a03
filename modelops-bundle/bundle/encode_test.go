package bundle

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A table of numbers saves more than half, whatever a small sample of it looks like to a
// fast encoder.
func TestTablesAreCompressed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for first := 0; first < 3_000_000; first += 1_000_000 {
		var table bytes.Buffer
		table.WriteString("id,age,region,date,incidence,prevalence,weight\n")
		for id := first; table.Len() < 4<<20; id++ {
			fmt.Fprintf(&table, "%d,%d,R%d,%d,%.9f,%.6f,%.6f\n", id, random.IntN(90), 100+random.IntN(400), 2000+random.IntN(1000), random.Float64(), 100*random.Float64(), random.NormFloat64())
		}
		if blob, _ := Encode(table.Bytes(), Chunk); blob.Encoding != Zstd || blob.StoredSize > blob.RawSize/2 {
			t.Errorf("from id %d on: %s, %d of %d bytes", first, blob.Encoding, blob.StoredSize, blob.RawSize)
		}
	}
	noise := make([]byte, 4<<20)
	if _, err := rand.NewChaCha8([32]byte{}).Read(noise); err != nil {
		t.Fatal(err)
	}
	if blob, _ := Encode(noise, Chunk); blob.Encoding != Identity {
		t.Error("noise was compressed")
	}
}
