package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"

	"github.com/modelops-suite/modelops-go/contracts"
)

// UpOptions changes how [Engine.Up] works.
type UpOptions struct {
	BreakLock bool // break the lock of somebody who is gone
}

// Up makes the cloud agree with the program. It makes the stack if there is none, keeps a
// copy of its state, and first mends what an interrupted update left.
func (e *Engine) Up(ctx context.Context, s Stack, o UpOptions) (*Result, error) {
	c, release, err := e.begin(ctx, s, creating, o.BreakLock)
	if err != nil {
		return nil, err
	}
	defer release()
	recovered, err := e.mend(ctx, c)
	if err != nil {
		return nil, err
	}
	result, err := e.operate(ctx, c, "up", func(w *watcher) error {
		_, err := c.auto.Up(context.WithoutCancel(ctx), optup.EventStreams(w.events), optup.SuppressProgress(), optup.SuppressOutputs(), optup.ShowSecrets(false))
		return err
	})
	if err != nil {
		return result, err
	}
	result.Recovered = recovered
	result.Outputs, err = e.outputs(context.WithoutCancel(ctx), c)
	return result, err
}

// Preview says what Up would do, and leaves nothing behind.
func (e *Engine) Preview(ctx context.Context, s Stack) (*Result, error) {
	c, release, err := e.begin(ctx, s, creating, false)
	if err != nil {
		return nil, err
	}
	defer release()
	if c.made {
		defer func() { _ = c.auto.Workspace().RemoveStack(context.WithoutCancel(ctx), s.Name) }()
	}
	return e.operate(ctx, c, "preview", func(w *watcher) error {
		_, err := c.auto.Preview(context.WithoutCancel(ctx), optpreview.EventStreams(w.events), optpreview.SuppressProgress(), optpreview.SuppressOutputs())
		return err
	})
}

// RefreshOptions changes how [Engine.Refresh] works.
type RefreshOptions struct {
	Preview   bool // say what differs and leave the state alone
	BreakLock bool
}

// Refresh compares the state with the cloud and makes the state agree. The changes are
// what others did: an Update, or a Delete of what is gone.
func (e *Engine) Refresh(ctx context.Context, s Stack, o RefreshOptions) (*Result, error) {
	c, release, err := e.begin(ctx, s, reading, o.BreakLock)
	if err != nil {
		return nil, err
	}
	defer release()
	if o.Preview {
		return e.operate(ctx, c, "refresh", func(w *watcher) error {
			_, err := c.auto.PreviewRefresh(context.WithoutCancel(ctx), optrefresh.EventStreams(w.events), optrefresh.SuppressProgress(), optrefresh.SuppressOutputs())
			return err
		})
	}
	recovered, err := e.mend(ctx, c)
	if err != nil {
		return nil, err
	}
	result, err := e.operate(ctx, c, "refresh", func(w *watcher) error {
		_, err := c.auto.Refresh(context.WithoutCancel(ctx), optrefresh.EventStreams(w.events), optrefresh.SuppressProgress(), optrefresh.SuppressOutputs(), optrefresh.ShowSecrets(false))
		return err
	})
	if err != nil {
		return result, err
	}
	result.Recovered = recovered
	result.Outputs, err = e.outputs(context.WithoutCancel(ctx), c)
	return result, err
}

// DestroyOptions changes how [Engine.Destroy] works.
type DestroyOptions struct {
	Only      []string // URNs, with what depends on them; empty for everything
	Unprotect bool     // delete what the program protects, too
	Remove    bool     // forget the stack and its history when nothing is left of it
	BreakLock bool
}

// Destroy deletes the resources of a stack.
func (e *Engine) Destroy(ctx context.Context, s Stack, o DestroyOptions) (*Result, error) {
	c, release, err := e.begin(ctx, s, reading, o.BreakLock)
	if err != nil {
		return nil, err
	}
	defer release()
	recovered, err := e.mend(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := e.unprotect(ctx, c, o); err != nil {
		return nil, err
	}
	options := []optdestroy.Option{optdestroy.SuppressProgress(), optdestroy.SuppressOutputs(), optdestroy.ShowSecrets(false)}
	if len(o.Only) > 0 {
		options = append(options, optdestroy.Target(o.Only), optdestroy.TargetDependents())
	}
	if o.Remove {
		options = append(options, optdestroy.Remove())
	}
	result, err := e.operate(ctx, c, "destroy", func(w *watcher) error {
		_, err := c.auto.Destroy(context.WithoutCancel(ctx), append(options, optdestroy.EventStreams(w.events))...)
		return err
	})
	if result != nil {
		result.Recovered = recovered
	}
	return result, err
}

// unprotect lifts the protection of what is to be deleted, or refuses to go on.
func (e *Engine) unprotect(ctx context.Context, c *connection, o DestroyOptions) error {
	state, err := e.export(ctx, c)
	if err != nil {
		return err
	}
	only := map[string]bool{}
	for _, urn := range o.Only {
		only[urn] = true
	}
	var urns, names []string
	for _, r := range state.Resources {
		if r.Protect && (len(only) == 0 || only[r.URN]) {
			urns, names = append(urns, r.URN), append(names, urnName(r.URN))
		}
	}
	if len(urns) == 0 {
		return nil
	}
	if !o.Unprotect {
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("stack %s holds what is protected: %s", c.stack.Name, strings.Join(names, ", "))}
	}
	_, err = c.run(ctx, nil, append([]string{"state", "unprotect", "--yes", "--stack", c.stack.Name}, urns...)...)
	if err != nil {
		return e.explain(ctx, c, "unprotect", err, nil)
	}
	return nil
}

// begin holds the stack for an operation that changes it.
func (e *Engine) begin(ctx context.Context, s Stack, how access, breakLock bool) (c *connection, release func(), err error) {
	if err := e.check(s); err != nil {
		return nil, nil, err
	}
	unhold, err := e.hold(s)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			unhold()
		}
	}()
	locks, err := e.locks(s)
	if err != nil {
		return nil, nil, err
	}
	if len(locks) > 0 && !breakLock {
		return nil, nil, e.locked(s, locks)
	}
	if err := e.idle(s, locks); err != nil {
		return nil, nil, err
	}
	if c, err = e.connect(ctx, s, how); err != nil {
		return nil, nil, err
	}
	if breakLock {
		broken, err := e.unlock(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		for _, l := range broken {
			e.config.Note("broke the lock of " + l.String())
		}
	}
	if err := e.snapshot(s); err != nil {
		return nil, nil, err
	}
	return c, unhold, e.plugins(ctx, c)
}

// operate runs one operation of the engine and watches it.
func (e *Engine) operate(ctx context.Context, c *connection, verb string, run func(*watcher) error) (*Result, error) {
	if ctx.Err() != nil {
		return nil, e.explain(ctx, c, verb, context.Cause(ctx), nil)
	}
	w := watch(e.config.Progress, e.secret)
	err := run(w)
	w.close()
	result := &Result{Changes: w.changes}
	if err == nil {
		return result, nil
	}
	said := c.cli.Stderr()
	if lost := w.lost(); len(lost) > 0 {
		if err := e.remember(c.stack, lost); err != nil {
			return result, err
		}
	}
	e.learn(c)
	for _, f := range w.failures {
		f.Message = e.secret.text(f.Message)
	}
	return result, e.explain(ctx, c, verb, &engineError{err, said}, w.failures)
}

// plugins installs those that are pinned and not there.
func (e *Engine) plugins(ctx context.Context, c *connection) error {
	for _, p := range c.stack.Plugins {
		if p.Path != "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(e.layout.pulumiHome(), "plugins", "resource-"+p.Name+"-v"+p.Version)); err == nil {
			continue
		}
		e.config.Note(fmt.Sprintf("installing the plugin %s %s, once", p.Name, p.Version))
		var err error
		for range 3 { // what a network loses once it may well have at the next try
			if err = c.auto.Workspace().InstallPlugin(ctx, p.Name, "v"+p.Version); err == nil || ctx.Err() != nil {
				break
			}
		}
		if err != nil {
			return &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision, Retryable: true,
				Message: fmt.Sprintf("the plugin %s %s could not be installed: %s", p.Name, p.Version, e.secret.text(errorLines(c.cli.Stderr()))),
				Hint: fmt.Sprintf("without a network: on a machine that has one, pulumi plugin install resource %s v%s, and copy ~/.pulumi/plugins/resource-%s-v%s into %s",
					p.Name, p.Version, p.Name, p.Version, contracts.Quote(filepath.Join(e.layout.pulumiHome(), "plugins")))}
		}
	}
	return nil
}
