package bundle

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Encoding is how a blob's raw bytes are stored.
type Encoding string

// The encodings that there are.
const (
	Identity Encoding = "identity"
	Zstd     Encoding = "zstd"
	// WholeFile is the blob of one file, as it is: of the Python suite's format only.
	WholeFile Encoding = "file"
)

const (
	// sampleSize is how much of the beginning, the middle and the end of a blob is
	// compressed to see whether the whole is worth it.
	sampleSize = 16 << 10
	// Compression pays when it saves at least one part in payPart.
	payPart = 16
)

// Encode makes a blob of raw: as it is, or compressed when that saves a sixteenth. Blobs
// of which 16 KiB at the beginning, in the middle and at the end do not save that are not
// tried. The bytes and the kind alone decide.
func Encode(raw []byte, kind Kind) (Blob, []byte) {
	blob := Blob{Raw: contracts.DigestOf(raw), RawSize: int64(len(raw)), Kind: kind}
	return blob.encode(raw)
}

func (b Blob) encode(raw []byte) (Blob, []byte) {
	if !promising(raw) {
		return b.plain(), raw
	}
	return b.encodeInto(raw, make([]byte, 0, len(raw)/2))
}

// plain is the blob stored as it is.
func (b Blob) plain() Blob {
	b.Stored, b.StoredSize, b.Encoding = b.Raw, b.RawSize, Identity
	return b
}

// encodeInto compresses into room where that is large enough, and keeps raw when it did
// not pay.
func (b Blob) encodeInto(raw, room []byte) (Blob, []byte) {
	stored := compressInto(room, raw, b.Kind)
	if !pays(len(stored), len(raw)) {
		return b.plain(), raw
	}
	b.Stored, b.StoredSize, b.Encoding = contracts.DigestOf(stored), int64(len(stored)), Zstd
	return b, stored
}

func pays(stored, raw int) bool { return stored <= raw-(raw+payPart-1)/payPart }

// promising says whether a blob is worth compressing. It is judged at the packs' level: the
// chunks' gives up on tables that it compresses well when it has more of them.
func promising(raw []byte) bool {
	if len(raw) < 8*sampleSize {
		return true
	}
	middle := (len(raw) - sampleSize) / 2
	sample := bytes.Join([][]byte{raw[:sampleSize], raw[middle : middle+sampleSize], raw[len(raw)-sampleSize:]}, nil)
	return pays(len(compress(sample, Pack)), len(sample))
}

// Decode is the raw bytes of a blob. The stored bytes must have been held against the
// blob's digest; the raw ones are held against theirs here.
func (b Blob) Decode(stored []byte) ([]byte, error) {
	if b.Encoding == Identity {
		return stored, nil // the same digest
	}
	return b.decodeInto(stored, make([]byte, b.RawSize))
}

// decodeInto is Decode of a compressed blob into room of the raw size.
func (b Blob) decodeInto(stored, room []byte) ([]byte, error) {
	raw, err := decompressBlob(stored, room[:0:b.RawSize])
	if err == nil && contracts.DigestOf(raw) != b.Raw {
		err = fmt.Errorf("does not have the digest %s", b.Raw)
	}
	if err != nil {
		return nil, &contracts.Error{
			Code: contracts.CodeIntegrity, Stage: contracts.StagePull,
			Message: fmt.Sprintf("blob %s, decompressed, %v", b.Stored, err),
		}
	}
	return raw, nil
}

// compress is the format's encoder: one frame, no checksum (the digests are that), at a
// level that depends on the kind.
func compress(raw []byte, kind Kind) []byte {
	return compressInto(make([]byte, 0, len(raw)/2), raw, kind)
}

// compressInto is compress into room where that is large enough.
func compressInto(room, raw []byte, kind Kind) []byte {
	of := &packEncoders
	if kind == Chunk {
		of = &chunkEncoders
	}
	encoder := of.get()
	defer of.put(encoder)
	return encoder.EncodeAll(raw, room)
}

// decompressBlob reads a frame of exactly as many raw bytes as there is room for; memory
// for more is never allocated.
func decompressBlob(stored, room []byte) ([]byte, error) {
	size := int64(cap(room))
	raw, err := blobDecoder().DecodeAll(stored, room)
	switch {
	case err != nil:
		return nil, fmt.Errorf("is not zstd of %d bytes", size)
	case int64(len(raw)) != size:
		return nil, fmt.Errorf("has %d bytes instead of %d", len(raw), size)
	}
	return raw, nil
}

// decompressIndex reads a frame of at most limit raw bytes, and allocates as they come.
func decompressIndex(stored []byte, limit int64) ([]byte, error) {
	decoder, err := zstd.NewReader(bytes.NewReader(stored), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxIndex))
	if err != nil {
		return nil, fmt.Errorf("is not zstd")
	}
	defer decoder.Close()
	var raw bytes.Buffer
	n, err := io.Copy(&raw, io.LimitReader(decoder, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("is not zstd")
	case n > limit:
		return nil, fmt.Errorf("has more than %d bytes", limit)
	}
	return raw.Bytes(), nil
}
