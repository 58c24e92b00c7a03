package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine/pulumicli"
)

// Program is the Pulumi program that the engine would run, and its version. Both are
// empty, without an error, when it would first install one; unfit says why then.
// Nothing is installed.
func (e *Engine) Program(ctx context.Context) (path, version, unfit string, err error) {
	cli, unfit, err := pulumicli.Look(ctx, e.search())
	if cli == nil {
		return "", "", unfit, err
	}
	return cli.Path(), cli.Version().String(), "", nil
}

// Place is where the state is kept: a directory, or the URL of a shared one.
func (e *Engine) Place() string {
	if e.config.Backend.local() {
		return e.layout.state()
	}
	return e.config.Backend.URL
}

// Stacks counts the stacks in the state, which it reads. With any on this machine the
// passphrase must be there. A shared state is asked for by the program at cli. Nothing is
// made.
func (e *Engine) Stacks(ctx context.Context, cli string) (int, error) {
	if !e.config.Backend.local() {
		return e.sharedStacks(ctx, cli)
	}
	for _, dir := range []string{e.layout.home, filepath.Dir(e.layout.passphrase()), filepath.Dir(e.layout.dir), e.layout.dir} {
		if err := environment.CheckDirectory(dir); err != nil {
			return 0, err
		}
	}
	states, err := filepath.Glob(filepath.Join(e.layout.stacks(), "*", "*.json"))
	if err != nil || len(states) == 0 {
		return 0, err
	}
	for _, state := range states {
		data, err := os.ReadFile(state)
		if err != nil {
			return 0, infra.Cannot("read", state, err)
		}
		if !json.Valid(data) {
			return 0, &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
				Message: fmt.Sprintf("the state %s is not whole", contracts.Quote(state)), Hint: "put it back from a backup, or from " + contracts.Quote(filepath.Join(e.layout.dir, "snapshots"))}
		}
	}
	return len(states), e.passphrase(false)
}

// sharedStacks asks the program, which keeps what it writes in a directory that goes.
func (e *Engine) sharedStacks(ctx context.Context, cli string) (int, error) {
	if cli == "" {
		return 0, &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
			Message: "the shared state cannot be looked at without the program pulumi", Hint: "mops infra up installs one"}
	}
	found, _, err := pulumicli.Look(ctx, pulumicli.Search{Named: cli, NamedBy: "mops", Environ: e.config.Environ})
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "modelops-look-")
	if err != nil {
		return 0, infra.Cannot("make a directory in", os.TempDir(), err)
	}
	defer os.RemoveAll(work)
	environ := []string{"PULUMI_HOME=" + filepath.Join(work, "home")}
	for name, value := range e.environ() {
		environ = append(environ, name+"="+value)
	}
	out, said, _, err := found.Run(ctx, work, nil, nil, nil, environ, "stack", "ls", "--all", "--json")
	if err != nil {
		return 0, (&contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("the state at %s cannot be read: %s", e.config.Backend.URL, contracts.Lines(e.secret.text(said))),
			Hint:    "check pulumi.backend_url in modelops.yaml, and that you may read there"}).Because(err)
	}
	var stacks []json.RawMessage
	if err := json.Unmarshal([]byte(out), &stacks); err != nil {
		return 0, infra.Cannot("understand", e.config.Backend.URL, err)
	}
	return len(stacks), nil
}
