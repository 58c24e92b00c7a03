package contracts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest names content by its SHA-256: "sha256:" and 64 lower-case hexadecimal
// digits. A value of this type that came from [ParseDigest] or [DigestOf] is safe to
// build a path from.
type Digest string

const (
	digestPrefix = "sha256:"
	digestLength = len(digestPrefix) + 2*sha256.Size
)

// ParseDigest checks s. The error is an [Error] with [CodeInvalidReference].
func ParseDigest(s string) (Digest, error) {
	if !isDigest(s) {
		return "", invalidReference(s, "is not a digest", "a digest is sha256: and 64 lower-case hexadecimal digits")
	}
	return Digest(s), nil
}

// DigestOf is the digest of data.
func DigestOf(data []byte) Digest {
	return DigestFromSum(sha256.Sum256(data))
}

// DigestFromSum is the digest whose SHA-256 sum is already known.
func DigestFromSum(sum [sha256.Size]byte) Digest {
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}

// Hex is the 64 digits without the algorithm.
func (d Digest) Hex() string { return string(d[len(digestPrefix):]) }

// Short is the first 12 hexadecimal digits: for people, and for the directory a
// worker keeps a bundle in. It identifies nothing by itself.
func (d Digest) Short() string { return d.Hex()[:12] }

// String is the digest as it is written in references.
func (d Digest) String() string { return string(d) }

// UnmarshalText refuses anything but a valid digest, so that no document can bring
// in a digest that was not checked.
func (d *Digest) UnmarshalText(text []byte) error {
	if !isDigest(string(text)) {
		return fmt.Errorf("%q is not a digest (sha256: and 64 lower-case hexadecimal digits)", shorten(string(text)))
	}
	*d = Digest(text)
	return nil
}

func isDigest(s string) bool {
	if len(s) != digestLength || s[:len(digestPrefix)] != digestPrefix {
		return false
	}
	for _, c := range []byte(s[len(digestPrefix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
