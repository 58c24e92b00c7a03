//go:build unix

package task

import (
	"context"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/contracts"
)

// ByHand is what somebody needs to run a task by hand.
type ByHand struct {
	Bundle  string   // the bundle's directory, read-only; there until the runner is closed
	Environ []string // the worker's own variables, with the bundle's programs in front
	Cores   int
	Python  bool // the bundle is called through Python
	// Recipe is the line that runs the task in a shell whose directory is a copy of the
	// bundle, and in which MODELOPS_TASK and MODELOPS_HARNESS name the task's file and
	// the harness. It is empty for a bundle that does not say how it is called.
	Recipe string
}

// ByHand has a task's bundle and its environment made, and says how to run it.
func (r *Runner) ByHand(ctx context.Context, task *contracts.SimTask) (*ByHand, error) {
	p, err := r.shelf.take(ctx, task)
	if err != nil {
		return nil, err
	}
	defer r.shelf.leave(p) // where it stays until the runner is closed
	hand := &ByHand{Bundle: p.bundle.Path, Environ: p.environ(r.Environ), Cores: task.Resources.Over(nil).Cores}
	if p.entry == nil {
		return hand, nil
	}
	hand.Cores = task.Resources.Over(p.entry.Resources).Cores
	if p.entry.Kind == wire.KindCommand {
		words := make([]string, len(p.entry.Command))
		for i, word := range p.entry.Command {
			words[i] = quote(word)
		}
		hand.Recipe = strings.Join(words, " ") + ` < "$MODELOPS_TASK"`
		return hand, nil
	}
	interpreter, err := p.resolve(ctx)
	if err != nil {
		return nil, err
	}
	hand.Python = true
	hand.Recipe = quote(interpreter) + ` "$MODELOPS_HARNESS" . ` + quote(p.entry.Name) + ` "$MODELOPS_TASK"`
	return hand, nil
}

// quote is a word as a shell reads it back.
func quote(word string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=,+@%", r))
	}
	if word != "" && !strings.ContainsFunc(word, special) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
