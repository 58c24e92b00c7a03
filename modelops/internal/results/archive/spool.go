package archive

import (
	"bufio"
	"cmp"
	"context"
	"iter"
	"os"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Spool is the records of a list of tasks in a file, one behind the other: they can be
// read in the list's order, and as often as is wanted, at a cost that does not depend on
// the order in which they were made. It is for one goroutine.
type Spool struct {
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
// Every segment is read once, and a record is written once, however often its task is in
// the list. The error for stored bytes that are damaged is of [contracts.CodeIntegrity],
// and their segment is noted as damaged. Progress, if not nil, is told how many of the
// tasks have been dealt with since it was told last.
func (a *Archive) NewSpool(ctx context.Context, x *Index, tasks iter.Seq[string], file *os.File, progress func(tasks int)) (*Spool, error) {
	s := &Spool{file: file, segments: x.segments}
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
	slices.SortFunc(found, func(i, j int32) int {
		a, b := s.rows[i].at, s.rows[j].at
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.record, b.record), cmp.Compare(i, j))
	})
	w := &spoolWriter{Spool: s, out: bufio.NewWriterSize(file, 1<<20)}
	reader := a.NewReader(0)
	for start, end := 0, 0; start < len(found); start = end {
		segment := s.rows[found[start]].at.segment
		for end = start; end < len(found) && s.rows[found[end]].at.segment == segment; end++ {
		}
		if err := w.copy(ctx, reader, found[start:end]); err != nil {
			return nil, a.Damaged(ctx, s.segments[segment].name, err)
		}
		if progress != nil {
			progress(end - start)
		}
	}
	return s, spoolError(w.out.Flush())
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

// copy writes the records of rows that are in one segment, in the order of the records.
func (w *spoolWriter) copy(ctx context.Context, reader *Reader, rows []int32) error {
	name := w.segments[w.rows[rows[0]].at.segment].name
	segment, err := reader.segment(ctx, name)
	if err != nil {
		return err
	}
	last := spooled{at: location{record: -1}}
	for _, i := range rows {
		row := &w.rows[i]
		if row.at.record == last.at.record {
			*row = last
			continue
		}
		if int(row.at.record) >= len(segment.Records) {
			return damage("segment "+name, "has no such record")
		}
		data := segment.Records[row.at.record]
		row.offset, row.size = w.offset, int32(len(data))
		if len(data) >= spoolCompressed {
			w.buffer = codec().encoder.EncodeAll(data, w.buffer[:0])
			data, row.size = w.buffer, -int32(len(w.buffer))
		}
		if _, err := w.out.Write(data); err != nil {
			return spoolError(err)
		}
		w.offset += int64(len(data))
		last = *row
	}
	return nil
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
	size := int(max(at.size, -at.size))
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
