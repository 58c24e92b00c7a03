// Package bundle is the bundle format: which files may be in a bundle, how they are
// laid out in blobs, and the index that describes them. It reads and writes files and
// knows no network; package bundleoci moves what it makes.
//
// # The packed format, version 2
//
// A bundle is a set of files: relative paths, bytes, and whether the owner may execute
// each. Nothing else belongs to it: no clock, no host, no owner, no empty directory.
//
// Files are laid out in blobs in the order of their paths (bytes compared):
//
//   - Files smaller than 1 MiB are concatenated into packs. A pack ends after file f
//     iff H(path of f) < min(1, size of f / 1 MiB) × 2⁶⁴, H being the first eight bytes
//     of the path's SHA-256, big endian; and before a file that would make it larger than
//     8 MiB. An edit therefore changes the pack that holds the file, and at most the
//     next. Empty files are in no pack.
//   - Larger files are cut into chunks, each a blob of its own, by FastCDC
//     ("fastcdc-v1.0.0" of PlakarKorp/go-cdc-chunkers 1.1.0, without key). The normal
//     size is 4 MiB for files up to 32 GiB and 8 MiB above, the smallest a quarter and the
//     largest twice that. A file over 128 GiB is refused.
//
// Each blob is stored as it is, or compressed with zstd when that pays, which its bytes
// alone decide; see [Encode]. Packs are compressed at klauspost/compress's level
// "default", chunks at "fastest", of version 1.20.3.
//
// # Digests
//
// A packed file's digest is its SHA-256. A chunked file's digest is the SHA-256 of
// "modelops.bundle.chunks.v2\n" and, for each chunk, its raw digest, a space, its size in
// decimal and a line end. The content digest is the SHA-256 of
// "modelops.bundle.content.v2\n" and, for each file in order of path: path, NUL, mode, NUL,
// size, NUL, digest, line end. It says what is in the bundle and nothing about how or
// where it is stored; results are keyed by it.
//
// # The index
//
// The index is JSON, UTF-8, without white space, compressed as a pack is:
//
//	{"version":2,"content":"sha256:…",
//	 "files":[{"path":"a.py","mode":"0644","size":12,"digest":"sha256:…","parts":[[0,0,12]]},…],
//	 "blobs":[{"raw":"sha256:…","size":12,"blob":"sha256:…","blob_size":12,"encoding":"identity"},…]}
//
// A part is [blob, offset, length], all in raw bytes. Files are sorted by path, blobs by
// first use; every blob is used, and its parts tile it without gap or overlap. At most
// 20,000 blobs and 64 MiB of raw index.
//
// # Compatibility
//
// Chunker, pack rule, encoder with its levels, and index are part of the format's
// version. A change of any golden output in this package's tests is a new version with new
// media types. Readers ignore unknown keys of the index, refuse other versions, and will
// read version 2 for as long as there are bundles of it.
package bundle
