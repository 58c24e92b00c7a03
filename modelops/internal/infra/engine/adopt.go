package engine

import (
	"context"
	"fmt"
)

// Adoption is a resource that the cloud has and a stack does not.
type Adoption struct {
	Type, Name, ID         string // the program's type and name for it, and the provider's ID
	Provider, ProviderName string // type and name of the provider's resource in the stack
}

// Adopt records a resource in a stack, as the provider describes it. The program must
// register it with that type and name: the next update makes it agree with the program.
func (e *Engine) Adopt(ctx context.Context, s Stack, a Adoption) error {
	c, release, err := e.begin(ctx, s, reading, false)
	if err != nil {
		return err
	}
	defer release()
	e.config.Note(fmt.Sprintf("%s is there already; taking it up", a.Name))
	provider := fmt.Sprintf("%s=urn:pulumi:%s::%s::%s::%s", a.ProviderName, s.Name, s.Project, a.Provider, a.ProviderName)
	_, err = c.run(context.WithoutCancel(ctx), "import", "--yes", "--skip-preview", "--generate-code=false", "--protect=false",
		"--stack", s.Name, "--provider", provider, a.Type, a.Name, a.ID)
	if err != nil {
		return e.explain(ctx, c, "adoption", err, nil)
	}
	return nil
}
