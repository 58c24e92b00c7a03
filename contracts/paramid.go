package contracts

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"golang.org/x/crypto/blake2b"
)

// paramDomain separates this hash from every other. It is the Python suite's.
const paramDomain = "contracts:param:v1|"

// ID is the parameter set's identifier, the param_id of the Python suite: 64
// hexadecimal digits of BLAKE2b-256 over the canonical JSON of the set. 1 and 1.0
// are different parameters.
func (p Params) ID() string {
	return blake2b256(p.appendCanonical([]byte(paramDomain)))
}

// ReplicateSeed is the seed of one replicate of a parameter set whose study states
// none: the Python suite's derivation, below 2^32. Replicates count from 0.
func ReplicateSeed(paramID string, replicate int) uint64 {
	hash, err := blake2b.New(8, nil)
	if err != nil {
		panic(err) // only for sizes out of range
	}
	hash.Write([]byte(paramID + ":" + strconv.Itoa(replicate)))
	return binary.BigEndian.Uint64(hash.Sum(nil)) % (1 << 32)
}

func blake2b256(data []byte) string {
	sum := blake2b.Sum256(data)
	return hex.EncodeToString(sum[:])
}
