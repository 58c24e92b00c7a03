package archive

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Writer appends batches of records to an archive. It is for one goroutine.
type Writer struct {
	archive *Archive
	job     string
	now     func() time.Time
	nonce   string
	last    int64 // milliseconds of the last segment's name
	segment string
	number  int
	known   map[string]bool // environment digests that are written down
}

// NewWriter is a writer for a job's results; now is the clock.
func (a *Archive) NewWriter(job string, now func() time.Time) *Writer {
	return &Writer{archive: a, job: job, now: now, nonce: strings.ToLower(rand.Text()[:8]), known: map[string]bool{}}
}

// Append writes the results, each under its task's key, and returns when they are
// durable. The environment of a result is written down beside it and left out of the
// record.
func (w *Writer) Append(ctx context.Context, batch []*contracts.SimReturn) error {
	if len(batch) == 0 {
		return nil
	}
	now := w.now().UTC()
	s := &Segment{Header: Header{Job: w.job, Created: now.Format(time.RFC3339Nano), Contract: contracts.ContractVersion}}
	for _, result := range batch {
		if err := w.note(ctx, result); err != nil {
			return err
		}
		record := *result
		record.Environment = nil
		data, err := json.Marshal(&record)
		if err != nil {
			return err
		}
		s.Records = append(s.Records, data)
		s.Header.Records = append(s.Header.Records, RecordEntry{Task: result.TaskID})
	}
	data, err := s.encode()
	if err != nil {
		return err
	}
	w.last = max(w.last, now.UnixMilli())
	w.number++
	w.segment = fmt.Sprintf("%012x-%s-%s-%06d", w.last, w.job, w.nonce, w.number)
	return w.archive.store.Create(ctx, w.archive.segment(w.segment), data)
}

// Segment is the name of the segment that was written last; its records are in the order
// of the batch.
func (w *Writer) Segment() string { return w.segment }

// note writes the environment of a result down, once.
func (w *Writer) note(ctx context.Context, result *contracts.SimReturn) error {
	if result.Environment == nil || result.EnvironmentDigest == "" || w.known[result.EnvironmentDigest] {
		return nil
	}
	if result.Environment.Digest() != result.EnvironmentDigest {
		return nil // the worker's own account of itself; the digest in the rows stays
	}
	if err := w.archive.putEnvironment(ctx, result.Environment, result.EnvironmentDigest); err != nil {
		return err
	}
	w.known[result.EnvironmentDigest] = true
	return nil
}
