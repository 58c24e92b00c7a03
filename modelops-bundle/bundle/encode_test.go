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
	random := rand.New(rand.NewPCG(7, 50)) // the table of the benchmark's projects
	var table bytes.Buffer
	table.WriteString("id,age,region,date,incidence,prevalence,weight\n")
	for id := 0; table.Len() < 10<<20; id++ {
		age, region, day := random.IntN(90), random.IntN(500), random.IntN(3650)
		x, y, z := random.Float64(), random.Float64()*100, random.NormFloat64()
		fmt.Fprintf(&table, "%d,%d,R%03d,%d,%.9f,%.6f,%.6f\n", id, age, region, day, x, y, z)
	}
	const chunk = 4_504_975 // where its first chunk ends
	for at := 0; at+chunk < table.Len(); at += chunk {
		if blob, _ := Encode(table.Bytes()[at:at+chunk], Chunk); blob.Encoding != Zstd || blob.StoredSize > blob.RawSize/2 {
			t.Errorf("from %d on: %s, %d of %d bytes", at, blob.Encoding, blob.StoredSize, blob.RawSize)
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
