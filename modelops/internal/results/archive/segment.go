package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/modelops-suite/modelops-go/contracts"
)

// Segment is a batch of records as one object:
//
//	"modelops-segment/1\n"
//	length of the header, 4 bytes big-endian; its SHA-256; the header
//	length of the body, 8 bytes big-endian; its SHA-256; the body
//
// The header is JSON. It lists the tasks, so that whoever looks for one need not read
// the body. The body is zstd over the records one behind the other, each the JSON of a
// [contracts.SimReturn].
//
// The format is permanent: a later version of this package reads this one.
type Segment struct {
	Header  Header
	Records [][]byte // JSON, in the header's order
}

// Header is what a segment says of itself.
type Header struct {
	Job      string        `json:"job"`
	Created  string        `json:"created"`  // RFC 3339, UTC
	Contract string        `json:"contract"` // [contracts.ContractVersion] of the writer
	Records  []RecordEntry `json:"records"`
}

// RecordEntry locates a record in the body.
type RecordEntry struct {
	Task string `json:"task"` // the task's key
	Size int    `json:"size"` // bytes of the record
}

const (
	segmentMagic = "modelops-segment/1\n"
	maxHeader    = 64 << 20
	maxBody      = 1 << 30 // raw and compressed
)

// codec is the compressor and the decompressor, both safe for concurrent use. They are
// made at the first use: a program that touches no segment does not pay for them.
var codec = sync.OnceValue(func() (c struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}) {
	var err error
	if c.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)); err != nil {
		panic(err) // only for options that contradict one another
	}
	if c.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody)); err != nil {
		panic(err)
	}
	return c
})

// encode is the segment's bytes. Sizes in the header are set from the records.
func (s *Segment) encode() ([]byte, error) {
	var raw []byte
	for i, record := range s.Records {
		s.Header.Records[i].Size = len(record)
		raw = append(raw, record...)
	}
	header, err := json.Marshal(s.Header)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxBody || len(header) > maxHeader {
		return nil, fmt.Errorf("archive: a segment of %d bytes is too large", len(raw))
	}
	body := codec().encoder.EncodeAll(raw, nil)
	out := make([]byte, 0, len(segmentMagic)+4+8+2*sha256.Size+len(header)+len(body))
	out = append(out, segmentMagic...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(header)))
	out = appendSummed(out, header)
	out = binary.BigEndian.AppendUint64(out, uint64(len(body)))
	return appendSummed(out, body), nil
}

func appendSummed(out, part []byte) []byte {
	sum := sha256.Sum256(part)
	return append(append(out, sum[:]...), part...)
}

// decodeHeader reads a segment as far as its header. The error for bytes that are not
// what encode wrote is a [contracts.Error] with [contracts.CodeIntegrity].
func decodeHeader(r io.Reader) (Header, error) {
	magic := make([]byte, len(segmentMagic)+4)
	if _, err := io.ReadFull(r, magic); err != nil {
		return Header{}, shortRead(err)
	}
	if string(magic[:len(segmentMagic)]) != segmentMagic {
		return Header{}, damage("segment", "does not begin as one")
	}
	data, err := readSummed(r, uint64(binary.BigEndian.Uint32(magic[len(segmentMagic):])), maxHeader)
	if err != nil {
		return Header{}, err
	}
	var h Header
	if err := json.Unmarshal(data, &h); err != nil {
		return Header{}, damage("segment", "has a header that is no JSON")
	}
	for _, record := range h.Records {
		if !isKey(record.Task) || record.Size < 0 || record.Size > maxBody {
			return Header{}, damage("segment", "has a header with an impossible record")
		}
	}
	return h, nil
}

// decode reads a whole segment.
func decode(r io.Reader) (*Segment, error) {
	h, err := decodeHeader(r)
	if err != nil {
		return nil, err
	}
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, shortRead(err)
	}
	body, err := readSummed(r, binary.BigEndian.Uint64(length[:]), maxBody)
	if err != nil {
		return nil, err
	}
	if n, err := io.ReadFull(r, length[:1]); n > 0 || err != io.EOF {
		return nil, damage("segment", "goes on after its end")
	}
	raw, err := codec().decoder.DecodeAll(body, nil)
	if err != nil {
		return nil, damage("segment", "cannot be decompressed")
	}
	s := &Segment{Header: h, Records: make([][]byte, len(h.Records))}
	for i, record := range h.Records {
		if record.Size > len(raw) {
			return nil, damage("segment", "is shorter than its header says")
		}
		s.Records[i], raw = raw[:record.Size:record.Size], raw[record.Size:]
	}
	return s, nil
}

func readSummed(r io.Reader, length uint64, limit uint64) ([]byte, error) {
	if length > limit {
		return nil, damage("segment", fmt.Sprintf("says that a part has %d bytes", length))
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return nil, shortRead(err)
	}
	part, err := io.ReadAll(io.LimitReader(r, int64(length)))
	if err == nil && uint64(len(part)) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, shortRead(err)
	}
	if sha256.Sum256(part) != want {
		return nil, damage("segment", "does not have its checksum")
	}
	return part, nil
}

// shortRead tells an object that ends too early from one that cannot be read.
func shortRead(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return damage("segment", "ends too early")
	}
	return err
}

// isKey says whether s is the key of a task: 64 lower-case hexadecimal digits.
func isKey(s string) bool {
	_, err := contracts.ParseDigest("sha256:" + s)
	return err == nil
}
