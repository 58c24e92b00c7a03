package driver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// sink makes results durable: large outputs as they come, the rest in batches.
type sink struct {
	*attempt
	good, bad *archive.Writer
	uploaded  guarded // checksums of the blobs that this attempt stored
}

func newSink(a *attempt) *sink {
	return &sink{
		attempt:  a,
		good:     a.results.NewWriter(a.job.ID, a.Catalog.Now),
		bad:      a.Catalog.Failures(a.job.ID, a.begun.Number).NewWriter(a.job.ID, a.Catalog.Now),
		uploaded: guarded{set: map[string]bool{}},
	}
}

// uploads is how many large outputs are stored at once.
const uploads = 4

// stage checks what comes back and stores the large outputs; what it passes on needs
// nothing but its segment.
func (s *sink) stage(ctx context.Context, results <-chan jobs.Result) <-chan jobs.Result {
	stored := make(chan jobs.Result, uploads)
	var wg sync.WaitGroup
	for range uploads {
		wg.Go(func() {
			for r := range results {
				s.prepare(ctx, &r)
				stored <- r
			}
		})
	}
	go func() {
		wg.Wait()
		close(stored)
	}()
	return stored
}

// prepare turns whatever is wrong with a result into its error.
func (s *sink) prepare(ctx context.Context, r *jobs.Result) {
	if r.Return.Error == nil {
		r.Return.Error = r.Check(s.job.Content)
	}
	if r.Return.Error == nil {
		if err := s.upload(ctx, r); err != nil {
			r.Return.Error = contracts.AsError(err)
		}
	}
	if r.Return.Error != nil {
		r.Return.Outputs, r.Return.Evaluation = map[string]contracts.Artifact{}, nil
		if r.Return.Error.StderrTail == "" {
			r.Return.Error.StderrTail = r.Return.StderrTail
		}
	}
	for i := range r.Task.Sim.Replicates {
		r.Task.Sim.Replicates[i].Outputs = nil // they were read, and can be large
	}
	// The key by which it was asked for: an answer that failed may have none.
	r.Return.TaskID = r.Task.Key
}

// upload stores the outputs that the worker left in files.
func (s *sink) upload(ctx context.Context, r *jobs.Result) error {
	for name, artifact := range r.Return.Outputs {
		if _, stored := artifact.Blob(); artifact.Ref == "" || stored && r.Dir == "" {
			continue // it is where it belongs: the worker stored it
		}
		file, ok := strings.CutPrefix(artifact.Ref, "file:")
		if !ok || file != artifact.Checksum || r.Dir == "" {
			return &contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageStore,
				Message: "output " + contracts.Quote(name) + " refers to " + contracts.Quote(artifact.Ref) + ", which is no file of its own"}
		}
		err := s.persist(ctx, "store output "+contracts.Quote(name), func(ctx context.Context) error {
			stored, err := s.store(ctx, filepath.Join(r.Dir, file), artifact)
			if err == nil {
				r.Return.Outputs[name] = stored
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// store moves one file into the archive. Tasks whose outputs are equal share the file:
// it may be gone because another's was stored first.
func (s *sink) store(ctx context.Context, path string, artifact contracts.Artifact) (contracts.Artifact, error) {
	if s.uploaded.has(artifact.Checksum) {
		_ = os.Remove(path)
		artifact.Ref = contracts.BlobRef(artifact.Checksum)
		return artifact, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && s.uploaded.has(artifact.Checksum) {
		artifact.Ref = contracts.BlobRef(artifact.Checksum)
		return artifact, nil
	}
	if err != nil {
		return artifact, (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageStore, Message: "output: " + err.Error()}).Because(err)
	}
	defer func() { _ = f.Close() }()
	stored, err := s.results.PutBlob(ctx, artifact, f)
	if err != nil {
		return artifact, err
	}
	s.uploaded.add(artifact.Checksum)
	_ = os.Remove(path) // what stays is removed with the directory
	return stored, nil
}

// write makes a batch durable, while the job is this attempt's.
func (s *sink) write(ctx context.Context, results []jobs.Result) error {
	var good, bad []*contracts.SimReturn
	for _, r := range results {
		if r.Return.Error == nil {
			good = append(good, r.Return)
		} else {
			bad = append(bad, r.Return)
		}
	}
	if err := s.append(ctx, "store results", s.good, good); err != nil {
		return err
	}
	s.located.add(s.good.Segment(), s.job.ID, good)
	return s.append(ctx, "store failures", s.bad, bad)
}

func (s *sink) append(ctx context.Context, what string, to *archive.Writer, results []*contracts.SimReturn) error {
	return s.persist(ctx, what, func(ctx context.Context) error {
		if err := s.own(ctx); err != nil {
			return err
		}
		return to.Append(ctx, results)
	})
}
