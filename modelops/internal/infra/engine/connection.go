package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine/pulumicli"
)

// access says what a connection is for.
type access int

const (
	reading  access = iota // a stack that is there
	creating               // one that is made if it is not
)

// errNoStack is that there is no stack of the name.
var errNoStack = errors.New("no such stack")

// connection is a stack that the engine has opened.
type connection struct {
	stack Stack
	auto  auto.Stack
	cli   *pulumicli.Command
	made  bool // it was not there before
}

// run runs one of the program's other commands in the stack's place.
func (c *connection) run(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	w := c.auto.Workspace()
	environ := []string{"PULUMI_HOME=" + w.PulumiHome()}
	for name, value := range w.GetEnvVars() {
		environ = append(environ, name+"="+value)
	}
	out, _, _, err := c.cli.Run(ctx, w.WorkDir(), stdin, nil, nil, environ, args...)
	return out, err
}

// connect opens a stack. The error wraps errNoStack when it is to be read and is not
// there; nothing is made then.
func (e *Engine) connect(ctx context.Context, s Stack, how access) (*connection, error) {
	if _, err := os.Stat(e.layout.stateOf(s)); e.config.Backend.local() && how == reading && errors.Is(err, fs.ErrNotExist) {
		return nil, noStack(s)
	}
	if e.config.Backend.local() {
		if err := e.passphrase(how == creating); err != nil {
			return nil, err
		}
	}
	cli, err := e.program(ctx)
	if err != nil {
		return nil, err
	}
	c := &connection{stack: s, cli: cli.Until(ctx.Done(), e.config.Kill)}
	work := e.layout.work(s)
	for _, dir := range []string{work, e.layout.state(), e.layout.pulumiHome()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, infra.Cannot("make", dir, err)
		}
	}
	options := []auto.LocalWorkspaceOption{
		auto.WorkDir(work), auto.PulumiHome(e.layout.pulumiHome()), auto.Pulumi(c.cli),
		auto.Project(e.project(s)), auto.EnvVars(e.environ()), auto.SecretsProvider(e.secretsProvider()),
	}
	if s.Program != nil {
		options = append(options, auto.Program(s.Program))
	}
	ws, err := auto.NewLocalWorkspace(ctx, options...)
	if err != nil {
		return nil, infra.Cannot("write", work, err)
	}
	c.auto, err = auto.SelectStack(ctx, s.Name, ws)
	if err != nil && auto.IsSelectStack404Error(err) {
		if how == reading {
			return nil, noStack(s)
		}
		c.auto, err = auto.NewStack(ctx, s.Name, ws)
		c.made = true
	}
	if err != nil {
		return nil, e.explain(ctx, c, "opening", err, nil)
	}
	if how == creating {
		return c, c.configure(ctx)
	}
	return c, nil
}

func noStack(s Stack) error {
	return (&contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("there is no stack %s", s.Name), Hint: "mops infra up makes it"}).Because(errNoStack)
}

// project is what Pulumi.yaml says.
func (e *Engine) project(s Stack) workspace.Project {
	p := workspace.Project{Name: tokens.PackageName(s.Project), Runtime: workspace.NewProjectRuntimeInfo("go", nil), Main: e.layout.work(s)}
	for _, plugin := range s.Plugins {
		if plugin.Path != "" {
			if p.Plugins == nil {
				p.Plugins = &workspace.Plugins{}
			}
			p.Plugins.Providers = append(p.Plugins.Providers, workspace.PluginOptions{Name: plugin.Name, Version: plugin.Version, Path: plugin.Path})
		}
	}
	return p
}

// environ is what every command of the engine gets on top of the command's environment.
func (e *Engine) environ() map[string]string {
	env := map[string]string{
		"PULUMI_SKIP_UPDATE_CHECK":                    "true",
		"PULUMI_IGNORE_AMBIENT_PLUGINS":               "true",
		"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
		"PULUMI_BACKEND_URL":                          e.config.Backend.URL,
		"PULUMI_DIY_BACKEND_NO_LEGACY_WARNING":        "true",
		"PULUMI_SELF_MANAGED_STATE_NO_LEGACY_WARNING": "true",
	}
	if e.config.Backend.local() {
		env["PULUMI_BACKEND_URL"] = "file://" + filepath.ToSlash(e.layout.state())
		env["PULUMI_CONFIG_PASSPHRASE_FILE"] = e.layout.passphrase()
	}
	return env
}

func (e *Engine) secretsProvider() string {
	if e.config.Backend.local() {
		return "passphrase"
	}
	return e.config.Backend.SecretsProvider
}

// configure makes Pulumi.STACK.yaml hold the stack's configuration and no other; what the
// engine keeps there about encryption stays.
func (c *connection) configure(ctx context.Context) error {
	ws := c.auto.Workspace()
	settings, err := ws.StackSettings(ctx, c.stack.Name)
	if err != nil { // there is none until something is configured
		settings = &workspace.ProjectStack{}
	}
	wanted := config.Map{}
	for name, value := range c.stack.Config {
		key, err := config.ParseKey(name)
		if err != nil {
			return fmt.Errorf("configuration %q: %w", name, err)
		}
		wanted[key] = config.NewValue(value)
	}
	if maps.Equal(settings.Config, wanted) {
		return nil
	}
	settings.Config = wanted
	if err := ws.SaveStackSettings(ctx, c.stack.Name, settings); err != nil {
		return infra.Cannot("write", ws.WorkDir(), err)
	}
	return nil
}

// outputs are those of the last update.
func (e *Engine) outputs(ctx context.Context, c *connection) (map[string]Output, error) {
	found, err := c.auto.Outputs(ctx)
	if err != nil {
		return nil, e.explain(ctx, c, "reading outputs", err, nil)
	}
	outputs := map[string]Output{}
	for name, o := range found {
		outputs[name] = Output{Value: o.Value, Secret: o.Secret}
		if o.Secret {
			e.secret.add(o.Value)
		}
	}
	return outputs, nil
}

// learn adds the secret outputs of a stack to what errors must not show.
func (e *Engine) learn(c *connection) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if found, err := c.auto.Outputs(ctx); err == nil {
		for _, o := range found {
			if o.Secret {
				e.secret.add(o.Value)
			}
		}
	}
}
