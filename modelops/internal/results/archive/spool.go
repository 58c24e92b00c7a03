package archive

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Spool is the records of a list of tasks in a file, one behind the other: they can be
// read in the list's order, and as often as is wanted, at a cost that does not depend on
// the order in which they were made. It is for one goroutine.
type Spool struct {
	Kept int // rows whose records were in the file before

	file     *os.File
	rows     []spooled
	segments []segmentName
	buffer   []byte
}

// spooled is where the record of a row is.
type spooled struct {
	at     location
	offset int64
	size   int32 // in the file; negative when compressed; 0 when the row has no record
}

// spoolCompressed is the size from which a record is worth compressing.
const spoolCompressed = 4 << 10

// NewSpool copies the records of the tasks to the file, which is the caller's to remove.
// Records that the file has already, because a run that was killed copied them, are not
// fetched again. Every other segment is read once, and a record is written once, however
// often its task is in the list. The error for stored bytes that are damaged is of
// [contracts.CodeIntegrity], and their segment is noted as damaged. Progress, if not nil, is
// told how many of the tasks have been dealt with since it was told last.
func (a *Archive) NewSpool(ctx context.Context, x *Index, tasks iter.Seq[string], file *os.File, progress func(tasks int)) (*Spool, error) {
	s := &Spool{file: file, segments: x.segments}
	if progress == nil {
		progress = func(int) {}
	}
	var found []int32 // rows that have a record
	for task := range tasks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row := spooled{}
		if at, there := x.records[binaryKey(task)]; there {
			row.at = at
			found = append(found, int32(len(s.rows)))
		}
		s.rows = append(s.rows, row)
	}
	slices.SortFunc(found, func(i, j int32) int { return cmp.Or(s.rows[i].at.compare(s.rows[j].at), cmp.Compare(i, j)) })
	end, err := s.adopt(ctx, found)
	if err != nil {
		return nil, err
	}
	missing := slices.DeleteFunc(found, func(i int32) bool { return s.rows[i].size != 0 })
	s.Kept = len(found) - len(missing)
	progress(s.Kept)
	return s, a.fill(ctx, s, missing, end, progress)
}

// fill copies the records of the rows, which are in the order of their places, to the file
// from the offset on.
func (a *Archive) fill(ctx context.Context, s *Spool, missing []int32, offset int64, progress func(tasks int)) error {
	if err := s.file.Truncate(offset); err != nil {
		return spoolError(err)
	}
	if _, err := s.file.Seek(offset, io.SeekStart); err != nil {
		return spoolError(err)
	}
	w := &spoolWriter{Spool: s, out: bufio.NewWriterSize(s.file, 1<<20), offset: offset}
	groups := slices.Collect(s.bySegment(missing))
	load := func(ctx context.Context, rows []int32) (*Segment, error) { return a.load(ctx, s.nameOf(rows)) }
	done := 0
	for segment, err := range ahead(ctx, segmentsAtOnce, groups, load) {
		rows := groups[done]
		if err == nil {
			err = w.copy(segment, rows)
		}
		if err != nil {
			_ = w.out.Flush() // for a run that goes on
			return a.Damaged(ctx, s.nameOf(rows), err)
		}
		progress(len(rows))
		done++
	}
	return cmp.Or(spoolError(w.out.Flush()), ctx.Err())
}

// segmentsAtOnce is how many segments are fetched at once; they can be large.
const segmentsAtOnce = 4

// bySegment are the rows, which are in the order of their places, by the segments of these.
func (s *Spool) bySegment(rows []int32) iter.Seq[[]int32] {
	return func(yield func([]int32) bool) {
		for start, end := 0, 0; start < len(rows); start = end {
			for end = start; end < len(rows) && s.rows[rows[end]].at.segment == s.rows[rows[start]].at.segment; end++ {
			}
			if !yield(rows[start:end]) {
				return
			}
		}
	}
}

// nameOf is the name of the segment that rows are in.
func (s *Spool) nameOf(rows []int32) string { return s.segments[s.rows[rows[0]].at.segment].name }

func (l location) compare(other location) int {
	return cmp.Or(cmp.Compare(l.segment, other.segment), cmp.Compare(l.record, other.record))
}

// spoolError tells a spool that cannot be written from an archive that cannot be read.
func spoolError(err error) error {
	if err == nil {
		return nil
	}
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageCollect, Message: "cannot write: " + err.Error()}).Because(err)
}

// Damaged notes the segment as damaged when err says that stored bytes are, and is err.
func (a *Archive) Damaged(ctx context.Context, segment string, err error) error {
	e := contracts.AsError(err)
	if e == nil || e.Code != contracts.CodeIntegrity {
		return err
	}
	if noteErr := a.Damage(ctx, segment, e.Message); noteErr != nil {
		return noteErr
	}
	return err
}

type spoolWriter struct {
	*Spool
	out    *bufio.Writer
	offset int64
}

// copy writes the records of rows that are in one segment, in the order of the records, as
// one frame.
func (w *spoolWriter) copy(segment *Segment, rows []int32) error {
	name := w.nameOf(rows)
	f := frame{Segment: name}
	var body []byte
	for i, row := range rows {
		at := w.rows[row].at
		if i > 0 && at == w.rows[rows[i-1]].at {
			continue // the task is there twice
		}
		if int(at.record) >= len(segment.Records) {
			return damage("segment "+name, "has no such record")
		}
		data := segment.Records[at.record]
		size := int32(len(data))
		if len(data) >= spoolCompressed {
			w.buffer = codec().encoder.EncodeAll(data, w.buffer[:0])
			data, size = w.buffer, -int32(len(w.buffer))
		}
		body = append(body, data...)
		f.Records = append(f.Records, [2]int32{at.record, size})
	}
	head, err := f.encode(body)
	if err != nil {
		return err
	}
	for _, part := range [][]byte{head, body} {
		if _, err := w.out.Write(part); err != nil {
			return spoolError(err)
		}
	}
	w.place(rows, w.rows[rows[0]].at.segment, &f, w.offset+int64(len(head)))
	w.offset += int64(len(head) + len(body))
	return nil
}

// place says of rows, which are in the order of their places, where the records of a frame
// are whose body begins at the offset.
func (s *Spool) place(rows []int32, segment int32, f *frame, offset int64) {
	for _, record := range f.Records {
		at := location{segment, record[0]}
		first, _ := slices.BinarySearchFunc(rows, at, func(row int32, at location) int { return s.rows[row].at.compare(at) })
		for _, row := range rows[first:] {
			if s.rows[row].at != at {
				break
			}
			s.rows[row].offset, s.rows[row].size = offset, record[1]
		}
		offset += bytesOf(record[1])
	}
}

// Segment is the segment that the row's record is from, or "" when it has none.
func (s *Spool) Segment(row int) string {
	if s.rows[row].size == 0 {
		return ""
	}
	return s.segments[s.rows[row].at.segment].name
}

// Read is the record of a row, the first being 0, or nil when it has none. An error of
// [contracts.CodeIntegrity] is for [Archive.Damaged].
func (s *Spool) Read(row int) (*contracts.SimReturn, error) {
	at := s.rows[row]
	if at.size == 0 {
		return nil, nil
	}
	size := int(bytesOf(at.size))
	s.buffer = slices.Grow(s.buffer[:0], size)[:size]
	if _, err := s.file.ReadAt(s.buffer, at.offset); err != nil {
		return nil, err
	}
	record := s.buffer
	if at.size < 0 {
		var err error
		if record, err = codec().decoder.DecodeAll(s.buffer, nil); err != nil {
			return nil, err
		}
	}
	result, err := contracts.ParseReturn(record)
	if err != nil {
		return nil, damage("segment "+s.Segment(row), "has a broken record: "+contracts.AsError(err).Message).Because(err)
	}
	return result, nil
}
