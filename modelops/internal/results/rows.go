package results

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// Rows are the rows of a job in the study's order, each with its result. Memory does not
// grow with the results: what was stored in the order in which it was made is copied to
// a temporary file, once, and read from there in the study's order.
type Rows struct {
	Damaged int // stored batches that are damaged, and count as not run
	Kept    int // rows whose results a run that was killed had fetched

	job     *jobs.Job
	study   *contracts.SimulationStudy
	archive *archive.Archive
	spool   *archive.Spool
	file    *os.File

	inDirectory bool // that is the caller's to remove
}

// Row is a row of a job: a task of its study, which is there as often as the study has
// it.
type Row struct {
	Number int // from 0
	Task   *contracts.SimTask
	Result *contracts.SimReturn // nil when there is none
}

// OpenRows gathers the results that a job has now. The temporary file is in dir, where the
// file that a killed run left is used again, or where the system keeps such files when dir
// is empty. Progress, if not nil, is told how many
// of the rows have been gathered since it was told last. When stored results are damaged
// that is an error of [contracts.CodeIntegrity], and the next time they count as not run.
func OpenRows(ctx context.Context, catalog *jobs.Catalog, job *jobs.Job, dir string, progress func(rows int)) (_ *Rows, err error) {
	r := &Rows{job: job, archive: catalog.Results(job), inDirectory: dir != ""}
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	if r.study, err = catalog.LoadStudy(ctx, job.ID); err != nil {
		return nil, err
	}
	index, err := r.archive.Index(ctx, archive.Option{Job: job.ID, Only: job.Options.NoCache})
	if err != nil {
		return nil, err
	}
	r.Damaged = len(index.Damaged)
	if r.file, err = openRecords(dir); err != nil {
		return nil, writeError(err)
	}
	if r.spool, err = r.archive.NewSpool(ctx, index, r.keys(), r.file, progress); err != nil {
		return nil, err
	}
	r.Kept = r.spool.Kept
	return r, nil
}

func openRecords(dir string) (*os.File, error) {
	if dir == "" {
		return os.CreateTemp("", "mops-records-*.tmp")
	}
	return os.OpenFile(filepath.Join(dir, recordsName), os.O_RDWR|os.O_CREATE, 0o600)
}

// keys are those of the job's rows, and behind them those of its evaluations.
func (r *Rows) keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for task := range r.job.SimTasks(r.study) {
			if !yield(task.Key(r.job.Content)) {
				return
			}
		}
		for evaluation := range r.evaluations() {
			if !yield(contracts.EvaluationKey(r.job.Content, evaluation.Target, evaluation.Set.Keys)) {
				return
			}
		}
	}
}

// Evaluation is a target and a parameter set of the job.
type Evaluation struct {
	Set    jobs.ReplicateSet
	Target string
	Result *contracts.SimReturn // nil when there is none
}

// evaluations are the targets of each parameter set, in the study's order, without
// results. Sets that the job's limit cuts have none.
func (r *Rows) evaluations() iter.Seq[Evaluation] {
	return func(yield func(Evaluation) bool) {
		if len(r.study.Targets) == 0 {
			return
		}
		for set := range r.job.Sets(r.study) {
			if !set.Complete {
				continue
			}
			for _, target := range r.study.Targets {
				if !yield(Evaluation{Set: set, Target: target}) {
					return
				}
			}
		}
	}
}

// Evaluations are the evaluations of the study's targets. An error ends the sequence.
func (r *Rows) Evaluations(ctx context.Context) iter.Seq2[Evaluation, error] {
	return func(yield func(Evaluation, error) bool) {
		number := r.job.Tasks
		for e := range r.evaluations() {
			err := ctx.Err()
			if err == nil {
				e.Result, err = r.spool.Read(number)
				err = r.failure(ctx, number, err)
			}
			if e.Result != nil && e.Result.Evaluation == nil {
				e.Result = nil // no version writes that
			}
			if !yield(e, err) || err != nil {
				return
			}
			number++
		}
	}
}

// All are the rows. An error ends the sequence.
func (r *Rows) All(ctx context.Context) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		number := 0
		for task := range r.job.SimTasks(r.study) {
			row := Row{Number: number, Task: &task}
			err := ctx.Err()
			if err == nil {
				row.Result, err = r.spool.Read(number)
				err = r.failure(ctx, number, err)
			}
			if !yield(row, err) || err != nil {
				return
			}
			number++
		}
	}
}

// Output is the table that a row's output is. An error ends the sequence; one that
// [table.IsNotTable] knows says that the output is none.
func (r *Rows) Output(ctx context.Context, row Row, name string) table.Chunks {
	artifact := row.Result.Outputs[name]
	return func(yield func(*table.Chunk, error) bool) {
		for chunk, err := range table.Read(r.input(ctx, name, artifact)) {
			if !yield(chunk, r.failure(ctx, row.Number, err)) || err != nil {
				return
			}
		}
	}
}

// failure notes the segment of a row whose bytes, or those of its outputs, are not what
// was written, and is err.
func (r *Rows) failure(ctx context.Context, row int, err error) error {
	if err == nil || table.IsNotTable(err) {
		return err
	}
	segment := r.spool.Segment(row)
	if segment == "" {
		return err
	}
	return r.archive.Damaged(ctx, segment, err)
}

// Close closes the temporary file, and removes one that is in nobody's directory.
func (r *Rows) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	if r.inDirectory {
		return err
	}
	return errors.Join(err, os.Remove(r.file.Name()))
}
