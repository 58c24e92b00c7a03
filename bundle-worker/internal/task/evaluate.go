//go:build unix

package task

import (
	"context"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// evaluate calls the task's target over the outputs of its replicates.
func (r *running) evaluate(ctx context.Context, p *prepared) error {
	target := r.task.Entrypoint
	if p.entry.Kind == wire.KindCommand {
		return &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StagePrepare,
			Message: "target " + contracts.Quote(target) + " is a function in Python, and the bundle is the command " + contracts.Quote(p.entry.Name),
			Hint:    "leave targets out of the study",
		}
	}
	replicates, remove, err := r.inputs(ctx)
	defer remove()
	if err != nil {
		return err
	}
	return r.inProcess(ctx, p, false, func(ctx context.Context, s *wire.Session) (err error) {
		r.result.Evaluation, err = s.Evaluate(ctx, target, replicates)
		return err
	})
}

// inputs are the outputs of the replicates, in order. remove removes the copies of those
// that lie in the storage.
func (r *running) inputs(ctx context.Context) (_ [][]wire.Input, remove func(), err error) {
	fetched := &fetched{running: r}
	replicates := make([][]wire.Input, len(r.task.Replicates))
	for i, replicate := range r.task.Replicates {
		replicates[i] = make([]wire.Input, 0, len(replicate.Outputs)) // none is no null
		for _, name := range slices.Sorted(maps.Keys(replicate.Outputs)) {
			artifact := replicate.Outputs[name]
			input := wire.Input{Name: name, Data: artifact.Inline}
			if artifact.Ref != "" {
				if _, ok := artifact.Blob(); ok && r.ask.Storage {
					input.File, err = fetched.file(ctx, name, artifact)
				} else {
					input.File, err = r.file(name, artifact)
				}
				if err != nil {
					return nil, fetched.remove, err
				}
			}
			replicates[i] = append(replicates[i], input)
		}
	}
	return replicates, fetched.remove, nil
}

// file is the file that an output refers to, whose bytes are those that were recorded.
func (r *running) file(name string, artifact contracts.Artifact) (string, error) {
	broken := func(code contracts.Code, problem string) *contracts.Error {
		return &contracts.Error{Code: code, Stage: contracts.StagePrepare, Message: "output " + contracts.Quote(name) + " of a replicate " + problem}
	}
	checksum, ok := strings.CutPrefix(artifact.Ref, "file:")
	if !ok || checksum != artifact.Checksum || r.ask.Inputs == "" {
		return "", broken(contracts.CodeProtocol, "refers to "+contracts.Quote(artifact.Ref)+", which is no file among the worker's inputs")
	}
	path, err := filepath.Abs(filepath.Join(r.ask.Inputs, checksum))
	if err != nil {
		return "", broken(contracts.CodeFailed, "cannot be found: "+err.Error()).Because(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", broken(contracts.CodeFailed, "cannot be read: "+contracts.Quote(err.Error())).Because(err)
	}
	defer f.Close()
	hash, err := blake2b.New256(nil)
	if err != nil {
		return "", err
	}
	size, err := io.Copy(hash, f)
	if err != nil {
		return "", broken(contracts.CodeFailed, "cannot be read: "+contracts.Quote(err.Error())).Because(err)
	}
	if size != artifact.Size || hex.EncodeToString(hash.Sum(nil)) != checksum {
		return "", broken(contracts.CodeIntegrity, "is not what was recorded")
	}
	return path, nil
}
