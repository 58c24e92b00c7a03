//go:build unix

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/contracts/difference"
)

// repeat runs a task several times, each in a process of its own, and compares the bytes of
// what comes of it. Its result is the first, or an error that names what differs.
func (x *execution) repeat(ctx context.Context, t *contracts.SimTask) *contracts.SimReturn {
	x.ask.Cold = true
	first := x.run(ctx, t)
	for run := 2; run <= x.flags.repeat && first.Error == nil; run++ {
		next := x.run(ctx, t)
		if next.Error != nil && (next.Error.Retryable || ctx.Err() != nil) {
			return next // it says nothing about the task
		}
		if problem := x.differ(first, next, run); problem != "" {
			first.Outputs, first.Evaluation = map[string]contracts.Artifact{}, nil
			first.Error = &contracts.Error{
				Code: contracts.CodeFailed, Stage: contracts.StageRun, Message: problem,
				Hint: "the model uses something beside its parameters and its seed: random numbers that are not seeded by it, the time, the order of threads or of a directory's files",
			}
		}
	}
	return first
}

// differ says in which way two results of a task differ; "" for none.
func (x *execution) differ(first, next *contracts.SimReturn, run int) string {
	if next.Error != nil {
		return fmt.Sprintf("the task succeeded in run 1 and failed in run %d: %s", run, next.Error.Message)
	}
	names := slices.Concat(slices.Collect(maps.Keys(first.Outputs)), slices.Collect(maps.Keys(next.Outputs)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		a, inFirst := first.Outputs[name]
		b, inNext := next.Outputs[name]
		switch {
		case !inFirst || !inNext:
			has, lacks := 1, run
			if !inFirst {
				has, lacks = run, 1
			}
			return fmt.Sprintf("output %s is there in run %d and not in run %d", contracts.Quote(name), has, lacks)
		case a.Checksum != b.Checksum:
			return fmt.Sprintf("output %s differs between run 1 and run %d%s", contracts.Quote(name), run, x.where(a, b))
		}
	}
	if !reflect.DeepEqual(first.Evaluation, next.Evaluation) {
		return fmt.Sprintf("the target says %+v in run 1 and %+v in run %d", *first.Evaluation, *next.Evaluation, run)
	}
	return ""
}

// where shows the first difference of two outputs.
func (x *execution) where(a, b contracts.Artifact) string {
	first, err := x.open(a)
	if err != nil {
		return ""
	}
	defer func() { _ = first.Close() }()
	second, err := x.open(b)
	if err != nil {
		return ""
	}
	defer func() { _ = second.Close() }()
	d, err := difference.Find(first, second)
	switch {
	case err != nil || d == nil:
		return ""
	case d.Line > 0:
		return fmt.Sprintf(", first in line %d: %s, and %s", d.Line, contracts.Quote(d.First), contracts.Quote(d.Second))
	}
	return fmt.Sprintf(", first at byte %d: %s, and %s in hexadecimal", d.Offset, d.First, d.Second)
}

// open opens an output of a result.
func (x *execution) open(artifact contracts.Artifact) (io.ReadCloser, error) {
	if artifact.Ref == "" {
		return io.NopCloser(bytes.NewReader(artifact.Inline)), nil
	}
	return os.Open(filepath.Join(x.ask.Outputs, strings.TrimPrefix(artifact.Ref, "file:")))
}
