package archive

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
)

// frame is what a spool's file has of one segment: a head, which says which records follow,
// and the records one behind the other. A file that a killed run left is frames as far as
// their checksums are right.
//
//	length of the head, 4 bytes big-endian; CRC-32C of head and records; head; records
//
// It lies on this machine for as long as tables are made, and is no format for others.
type frame struct {
	Segment string     `json:"segment"`
	Records [][2]int32 `json:"records"` // number in the segment, and size as [spooled] has it
}

const frameFixed = 8 // bytes of length and checksum

// bytesOf is how many bytes a record with this size has in the file.
func bytesOf(size int32) int64 { return int64(max(size, -size)) }

// encode is what goes before the frame's records.
func (f *frame) encode(body []byte) ([]byte, error) {
	head, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	sum := crc32.Update(crc32.Checksum(head, castagnoli()), castagnoli(), body)
	out := binary.BigEndian.AppendUint32(nil, uint32(len(head)))
	return append(binary.BigEndian.AppendUint32(out, sum), head...), nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // one and the same

var errFrame = errors.New("no whole frame")

// readFrame reads a frame and says how many bytes its head and its records have. The error
// is errFrame for anything that is none.
func readFrame(r io.Reader) (f *frame, head, body int64, err error) {
	var fixed [frameFixed]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return nil, 0, 0, notWhole(err)
	}
	length := binary.BigEndian.Uint32(fixed[:4])
	if length > maxHeader {
		return nil, 0, 0, errFrame
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, 0, 0, notWhole(err)
	}
	f = &frame{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, 0, 0, errFrame
	}
	for _, record := range f.Records {
		body += bytesOf(record[1])
	}
	sum := crc32.New(castagnoli())
	_, _ = sum.Write(text) // it never fails
	if _, err := io.CopyN(sum, r, body); err != nil {
		return nil, 0, 0, notWhole(err)
	}
	if sum.Sum32() != binary.BigEndian.Uint32(fixed[4:]) {
		return nil, 0, 0, errFrame
	}
	return f, int64(len(fixed)) + int64(length), body, nil
}

func notWhole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errFrame
	}
	return spoolError(err)
}

// adopt finds the rows' records in what the file has already, and says where that ends.
// found are the rows that have a record, in the order of their places.
func (s *Spool) adopt(ctx context.Context, found []int32) (end int64, err error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return 0, spoolError(err)
	}
	numbers := map[string]int32{}
	for i, segment := range s.segments {
		numbers[segment.name] = int32(i)
	}
	r := bufio.NewReaderSize(s.file, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		f, head, body, err := readFrame(r)
		if errors.Is(err, errFrame) {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		if segment, known := numbers[f.Segment]; known {
			s.place(found, segment, f, end+head)
		}
		end += head + body
	}
}
