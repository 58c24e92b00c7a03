package engine

import (
	"context"
	"fmt"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Adopt has the next update of a stack look for a resource that it could not create
// because the cloud has it already: the answer to an earlier creation was lost. It is
// found by Stack.Identify, of which it has the URN, type and name. Whose the resource is
// must have been asked before.
func (e *Engine) Adopt(ctx context.Context, s Stack, f *Failure) error {
	c, release, err := e.begin(ctx, s, reading, false)
	if err != nil {
		return err
	}
	defer release()
	state, err := e.export(ctx, c)
	if err != nil {
		return err
	}
	made := operation{Type: "creating", Found: true, Resource: map[string]any{"urn": f.URN, "type": f.Type, "custom": true, "inputs": map[string]any{}}}
	for _, r := range state.Resources {
		switch {
		case r.Type == stackType:
			made.Resource["parent"] = r.URN
		case r.Type == providerType(f.Type):
			made.Resource["provider"] = r.URN + "::" + r.ID
		}
	}
	if made.Resource["provider"] == nil {
		return &contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("stack %s has no provider of %s", s.Name, f.Type)}
	}
	unsettled, err := e.unsettled(s, state)
	if err != nil {
		return err
	}
	return e.remember(s, append(unsettled, made))
}
