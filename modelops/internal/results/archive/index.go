package archive

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// Index says where the record of each task is.
type Index struct {
	Damaged []string // segments that are damaged, those noted before included

	segments []segmentName
	records  map[[32]byte]location
}

// segmentName is a segment's name and the job in it.
type segmentName struct{ name, job string }

type location struct{ segment, record int32 }

// Where is the place of a record.
type Where struct {
	Segment string
	Record  int    // from 0
	Job     string // that wrote it
}

// Option narrows what an index takes in.
type Option struct {
	Job  string // whose records come before those of others
	Only bool   // leave the records of others out
}

// headersAtOnce is how many segments are looked into at once.
const headersAtOnce = 16

// Index reads the headers of all segments. Of several records of one task it has the
// job's own, else the first; a segment that is damaged is passed over and listed.
func (a *Archive) Index(ctx context.Context, option Option) (*Index, error) {
	x := &Index{records: map[[32]byte]location{}}
	damaged := map[string]bool{}
	for entry, err := range a.store.List(ctx, a.damaged("")+"/") {
		if err != nil {
			return nil, err
		}
		damaged[path.Base(entry.Key)] = true
	}
	var names []string
	for entry, err := range a.store.List(ctx, a.segment("")+"/") {
		if err != nil {
			return nil, err
		}
		name := path.Base(entry.Key)
		if damaged[name] {
			x.Damaged = append(x.Damaged, name)
			continue
		}
		if !option.Only || strings.Contains(name, "-"+option.Job+"-") {
			names = append(names, name)
		}
	}
	for found, err := range ahead(ctx, headersAtOnce, names, a.head) {
		switch {
		case contracts.Except(err, contracts.CodeIntegrity) != nil:
			return nil, err
		case err != nil:
			x.Damaged = append(x.Damaged, found.name)
		case found.Header != nil && (!option.Only || found.Job == option.Job):
			x.add(found.name, *found.Header, option.Job)
		}
	}
	return x, ctx.Err()
}

// head is a segment's name and header; nil for one that was deleted since it was listed.
type head struct {
	name string
	*Header
}

// smallSegment is so little that reading it whole is faster than another connection.
const smallSegment = 256 << 10

func (a *Archive) head(ctx context.Context, name string) (head, error) {
	r, err := a.store.Get(ctx, a.segment(name))
	if errors.Is(err, blobstore.ErrNotFound) {
		return head{name: name}, nil
	}
	if err != nil {
		return head{name: name}, err
	}
	defer func() { _ = r.Close() }()
	header, err := decodeHeader(r)
	if err == nil {
		_, _ = io.CopyN(io.Discard, r, smallSegment) // the connection serves the next one then
	}
	return head{name, &header}, err
}

// add takes a segment in, the segments being added in the order of their names.
func (x *Index) add(name string, header Header, own string) {
	segment := int32(len(x.segments))
	x.segments = append(x.segments, segmentName{name, header.Job})
	for i, record := range header.Records {
		key := binaryKey(record.Task)
		old, there := x.records[key]
		if there && (header.Job != own || x.segments[old.segment].job == own) {
			continue
		}
		x.records[key] = location{segment, int32(i)}
	}
}

// Add takes in a segment that the job wrote after the index was made: the keys of its
// records, in their order.
func (x *Index) Add(segment, job string, tasks []string) {
	header := Header{Job: job}
	for _, task := range tasks {
		header.Records = append(header.Records, RecordEntry{Task: task})
	}
	x.add(segment, header, job)
}

// binaryKey is a key that was checked, in half the space.
func binaryKey(task string) (key [32]byte) {
	_, _ = hex.Decode(key[:], []byte(task))
	return key
}

// Len is the number of tasks in the index.
func (x *Index) Len() int { return len(x.records) }

// Find is where the task's record is.
func (x *Index) Find(task string) (Where, bool) {
	if !isKey(task) {
		return Where{}, false
	}
	at, there := x.records[binaryKey(task)]
	if !there {
		return Where{}, false
	}
	segment := x.segments[at.segment]
	return Where{Segment: segment.name, Record: int(at.record), Job: segment.job}, true
}

// Reader reads records and keeps the segments that it read last.
type Reader struct {
	archive *Archive
	limit   int // bytes of records to keep
	held    int
	recent  []held // the last used last
}

type held struct {
	name    string
	segment *Segment
	size    int
}

// NewReader is a reader that keeps up to limit bytes of records in memory. It is for
// one goroutine.
func (a *Archive) NewReader(limit int) *Reader { return &Reader{archive: a, limit: limit} }

// Read is the record at a place. When its bytes are damaged, or those of an output that
// [Archive.Open] then finds damaged, [Archive.Damage] is for the caller to call.
func (r *Reader) Read(ctx context.Context, at Where) (*contracts.SimReturn, error) {
	s, err := r.segment(ctx, at.Segment)
	if err != nil {
		return nil, err
	}
	if at.Record < 0 || at.Record >= len(s.Records) {
		return nil, damage("segment "+at.Segment, "has no such record")
	}
	result, err := contracts.ParseReturn(s.Records[at.Record])
	if err != nil {
		return nil, damage("segment "+at.Segment, "has a broken record: "+contracts.AsError(err).Message).Because(err)
	}
	return result, nil
}

func (r *Reader) segment(ctx context.Context, name string) (*Segment, error) {
	for i := len(r.recent) - 1; i >= 0; i-- {
		if h := r.recent[i]; h.name == name {
			r.recent = append(append(r.recent[:i:i], r.recent[i+1:]...), h)
			return h.segment, nil
		}
	}
	s, err := r.archive.load(ctx, name)
	if err == nil {
		r.keep(name, s)
	}
	return s, err
}

// load reads a whole segment.
func (a *Archive) load(ctx context.Context, name string) (*Segment, error) {
	body, err := a.store.Get(ctx, a.segment(name))
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, damage("segment "+name, "is gone")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	s, err := decode(io.LimitReader(body, 2*maxBody))
	if err != nil {
		return nil, named(err, name)
	}
	return s, nil
}

// named says which segment is damaged.
func named(err error, segment string) error {
	e := contracts.AsError(err)
	if e.Code != contracts.CodeIntegrity {
		return err
	}
	renamed := *e
	renamed.Message += " (" + segment + ")"
	return &renamed
}

func (r *Reader) keep(name string, s *Segment) {
	size := 0
	for _, record := range s.Records {
		size += len(record)
	}
	r.recent = append(r.recent, held{name, s, size})
	r.held += size
	for r.held > r.limit && len(r.recent) > 1 {
		r.held -= r.recent[0].size
		r.recent = r.recent[1:]
	}
}
