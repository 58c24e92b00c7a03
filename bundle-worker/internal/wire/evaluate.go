//go:build unix

package wire

import (
	"context"
	"errors"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Input is one output of a replicate, for a target: in memory, or a file if that is named.
type Input struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
	File string `json:"file,omitempty"` // absolute
}

type evaluateParams struct {
	Target     string            `json:"target"`
	Replicates [][]Input         `json:"replicates"`
	Environ    map[string]string `json:"environ"`
}

// Evaluate calls a target, module:name, over the outputs of replicates. It needs no wire
// to be loaded. The error names the target.
func (s *Session) Evaluate(ctx context.Context, target string, replicates [][]Input) (*contracts.Evaluation, error) {
	dirs, err := s.process.Scratch.Task()
	if err != nil {
		return nil, cannotPrepare(err)
	}
	defer func() { _ = dirs.Remove() }() // what cannot be removed now goes with the session
	s.process.Output.Reset()
	answer := &contracts.Evaluation{Replicates: len(replicates)}
	err = s.call(ctx, "evaluate", evaluateParams{Target: target, Replicates: replicates, Environ: dirs.Environment()}, answer)
	if err != nil {
		return nil, ofTarget(target, err)
	}
	return answer, nil
}

// ofTarget says whose error it is.
func ofTarget(target string, err error) error {
	e, ok := errors.AsType[*contracts.Error](err)
	if !ok {
		return err
	}
	named := *e
	named.Message = "target " + contracts.Quote(target) + ": " + e.Message
	if e.Code == contracts.CodeOutput {
		named.Hint = "a target is a function of the replicates, a list of {output name: bytes}; it answers a finite number, or a mapping with loss and further numbers"
	}
	return (&named).Because(err)
}
