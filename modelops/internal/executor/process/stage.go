package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// inlineInputs bounds the outputs of replicates that travel with an evaluation, in bytes;
// the rest go by file.
const inlineInputs = 8 << 20

// inputs is the directory of the files that the slot's worker reads for an evaluation.
func (e *Executor) inputs(number int) string {
	return filepath.Join(e.Outputs, fmt.Sprintf("inputs-%d", number))
}

// stage is the task as the worker can read it: of an evaluation, what is large or lies in
// the storage is in files. remove removes them. A simulation is staged as it is.
func (s *slot) stage(ctx context.Context, task jobs.Task) (staged jobs.Task, remove func(), err error) {
	if !task.Sim.Evaluates() {
		return task, func() {}, nil
	}
	remove = func() { _ = os.RemoveAll(s.inputs) } // what stays goes with the outputs
	if err := os.MkdirAll(s.inputs, 0o700); err != nil {
		return task, remove, inputError(err)
	}
	room := inlineInputs
	task.Sim.Replicates = slices.Clone(task.Sim.Replicates)
	for i, replicate := range task.Sim.Replicates {
		outputs := maps.Clone(replicate.Outputs)
		for _, name := range slices.Sorted(maps.Keys(outputs)) {
			artifact := outputs[name]
			if artifact.Ref == "" && len(artifact.Inline) <= room {
				room -= len(artifact.Inline)
				continue
			}
			if outputs[name], err = s.toFile(ctx, artifact); err != nil {
				return task, remove, err
			}
		}
		task.Sim.Replicates[i].Outputs = outputs
	}
	return task, remove, nil
}

// toFile writes an output to the file of its checksum; outputs that are equal share it.
func (s *slot) toFile(ctx context.Context, artifact contracts.Artifact) (contracts.Artifact, error) {
	path := filepath.Join(s.inputs, artifact.Checksum)
	if _, err := os.Stat(path); err != nil {
		if err := s.write(ctx, path, artifact); err != nil {
			return artifact, err
		}
	}
	artifact.Inline, artifact.Ref = nil, "file:"+artifact.Checksum
	return artifact, nil
}

func (s *slot) write(ctx context.Context, path string, artifact contracts.Artifact) error {
	var from io.ReadCloser = io.NopCloser(bytes.NewReader(artifact.Inline))
	if artifact.Ref != "" {
		var err error
		if from, err = s.Open(ctx, artifact); err != nil {
			return err
		}
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return inputError(err)
	}
	_, err = io.Copy(to, from)
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	if err != nil && contracts.AsError(err).Code == contracts.CodeInternal {
		return inputError(err)
	}
	return err
}

func inputError(err error) error {
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StagePrepare, Message: "outputs of replicates cannot be written for an evaluation: " + err.Error()}).Because(err)
}
