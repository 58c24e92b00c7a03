package contracts

import (
	"path"
	"strings"
)

// ResultsPrefix is where the storage of an environment keeps the results of everything that
// ran this content, whichever job it was for. It ends in no slash.
func ResultsPrefix(content Digest) string { return "results/" + content.Hex() }

// BlobKey is where an output that is too large for a record lies, below a prefix such as
// [ResultsPrefix]. checksum is the artifact's.
func BlobKey(prefix, checksum string) string { return path.Join(prefix, "blobs", checksum) }

// blobScheme begins the reference of an output that lies at a [BlobKey].
const blobScheme = "blob:"

// BlobRef is the reference of an output that lies at the [BlobKey] of its checksum.
func BlobRef(checksum string) string { return blobScheme + checksum }

// Blob is the checksum that the artifact's reference names, and whether it is one of a blob:
// the artifact's own.
func (a Artifact) Blob() (checksum string, ok bool) {
	checksum, ok = strings.CutPrefix(a.Ref, blobScheme)
	return checksum, ok && checksum == a.Checksum && isHash(checksum)
}
