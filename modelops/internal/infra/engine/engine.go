// Package engine runs infrastructure programs with Pulumi's engine: its real program,
// driven by the Automation API, over real state. A provider package describes a [Stack],
// and an [Engine] makes the cloud agree with it.
//
//	e, err := engine.Open(engine.Config{Home: home, Environ: os.Environ(), Progress: show})
//	data := engine.Stack{Project: "modelops", Name: "dev-data", Program: program,
//		Config:   map[string]string{"azure-native:location": "eastus2"},
//		Plugins:  []engine.Plugin{{Name: "azure-native", Version: "2.90.0"}},
//		Identify: idOf}
//	result, err := e.Up(ctx, data, engine.UpOptions{})
//	host := result.Outputs["login_server"].Value
//
// Protection is the program's: resources with data are registered with pulumi.Protect
// and, where leaving the stack must not delete them, pulumi.RetainOnDelete. [Engine.Destroy]
// refuses what is protected unless it is told to lift the protection, and names what it
// would have deleted.
//
// # Where things lie
//
//	$MODELOPS_HOME/secrets/pulumi-passphrase          encrypts the secrets of the state
//	$MODELOPS_HOME/pulumi/cli/v3.255.0/bin/pulumi     the program, when the suite installed it
//	$MODELOPS_HOME/pulumi/go/state/.pulumi/           the state: one backend for all stacks
//	$MODELOPS_HOME/pulumi/go/home/                    PULUMI_HOME: pinned plugins
//	$MODELOPS_HOME/pulumi/go/work/PROJECT/STACK/      Pulumi.yaml and Pulumi.STACK.yaml
//	$MODELOPS_HOME/pulumi/go/snapshots/PROJECT/STACK/ the state before each of the last 10 updates
//	$MODELOPS_HOME/pulumi/go/unsettled/               what interrupted updates may have made
//	$MODELOPS_HOME/pulumi/go/locks/PROJECT.STACK      the lock among the commands of this machine
//
// The Python suite's state lies beside, under pulumi/backend, and is never touched. With
// [Backend] the state is a shared one, and this machine keeps the rest.
//
// # Promises
//
//   - A read, [Engine.Outputs] or [Engine.Status], never makes a stack, a passphrase or a
//     lock, and needs no Pulumi where there is no state.
//   - The passphrase is made once, however many begin at once, and never when there is
//     state that another one encrypted. It goes to the engine as a file's name. Nothing
//     that begins with PULUMI_ is inherited.
//   - A context that ends does not break a running update: the engine finishes the
//     resources at hand and stops. Config.Kill ends it at once, with its plugins.
//   - An update that was broken is mended by the next one: what was being created is
//     looked for in the cloud (Stack.Identify) and adopted, so that nothing is made twice.
//   - A lock is shown with its holder and broken only by [Engine.Unlock] or by options
//     that say so, and not while its holder runs on this machine.
//   - Errors are envelopes in the provider's own words; a [Failure] is their cause when a
//     resource failed. Secrets are blotted out of them. Configuration is no place for
//     secrets, for the engine keeps it in plain text: a program closes over those that it
//     needs and marks them with pulumi.ToSecret.
package engine

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine/pulumicli"
)

// Config is what an engine needs to know.
type Config struct {
	Home    string   // the suite's home
	Environ []string // of the command; a provider's credentials are in it
	CLI     string   // the pulumi program, by MODELOPS_PULUMI or pulumi.cli; empty to find or install one
	CLIBy   string   // who names it
	Backend Backend

	Progress func(Event)       // of resources; may be nil; never called concurrently
	Note     func(line string) // of the engine itself; may be nil
	Kill     <-chan struct{}   // ends what runs at once, as [KillSignal]; may be nil
}

// Backend is where state is kept. The zero value is this machine.
type Backend struct {
	URL             string // such as azblob://container?storage_account=name
	SecretsProvider string // such as azurekeyvault://vault.vault.azure.net/keys/name
}

// local says whether the state lies under the suite's home.
func (b Backend) local() bool { return b.URL == "" }

// Stack is a program and where its state is kept.
type Stack struct {
	Project string // such as modelops
	Name    string // of one tier of one environment, such as dev-data
	Program pulumi.RunFunc
	Config  map[string]string // such as azure-native:location; all of it, and no secrets
	Plugins []Plugin
	// Identify is the provider's ID of a resource whose creation was interrupted, told
	// from its type and inputs; "" when it cannot be told. What it names is adopted if it
	// exists. nil identifies nothing.
	Identify func(Pending) string
}

// Plugin is a provider's plugin, pinned.
type Plugin struct {
	Name    string // such as azure-native
	Version string // such as 2.90.0
	Path    string // the directory that holds it; empty for the released one
}

// Output is an output of a stack.
type Output struct {
	Value  any // as encoding/json decodes it
	Secret bool
}

// Result is what an operation did.
type Result struct {
	Changes   []Change          // without what stayed the same
	Outputs   map[string]Output // after Up
	Recovered []Recovery        // what an interrupted update had left
}

// Engine runs programs. It may be used by one goroutine at a time.
type Engine struct {
	config Config
	layout layout
	secret redactor
	cli    *pulumicli.Command // once it was needed
}

// Open is an engine. It looks at the configuration only.
func Open(c Config) (*Engine, error) {
	if err := c.Backend.check(); err != nil {
		return nil, err
	}
	if c.Progress == nil {
		c.Progress = func(Event) {}
	}
	if c.Note == nil {
		c.Note = func(string) {}
	}
	return &Engine{config: c, layout: layout{home: c.Home, dir: filepath.Join(c.Home, "pulumi", "go")}, secret: redactorOf(c.Environ)}, nil
}

func (b Backend) check() error {
	invalid := func(message, hint string) error {
		return &contracts.Error{Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageProvision, Message: message, Hint: hint}
	}
	u, err := url.Parse(b.URL)
	switch {
	case b.local() && b.SecretsProvider != "":
		return invalid("pulumi.secrets_provider is for a shared state, and pulumi.backend_url is not set", "leave it out, or set pulumi.backend_url")
	case b.local():
		return nil
	case err != nil || u.Scheme == "":
		return invalid("pulumi.backend_url is no URL", "such as azblob://container?storage_account=name")
	case u.User != nil:
		return invalid("pulumi.backend_url has credentials in it", "the provider's own environment variables or its login are used")
	case b.SecretsProvider == "" || b.SecretsProvider == "passphrase" || b.SecretsProvider == "default":
		return invalid("pulumi.backend_url is a shared state, and pulumi.secrets_provider does not name a key that all can use",
			"such as azurekeyvault://VAULT.vault.azure.net/keys/NAME; a passphrase of this machine would lock everybody else out")
	}
	return nil
}

// layout says where things lie.
type layout struct{ home, dir string }

func (l layout) passphrase() string { return filepath.Join(l.home, "secrets", "pulumi-passphrase") }
func (l layout) cli() string        { return filepath.Join(l.home, "pulumi", "cli") }
func (l layout) pulumiHome() string { return filepath.Join(l.dir, "home") }
func (l layout) state() string      { return filepath.Join(l.dir, "state") }
func (l layout) stacks() string     { return filepath.Join(l.state(), ".pulumi", "stacks") }
func (l layout) work(s Stack) string {
	return filepath.Join(l.dir, "work", s.Project, s.Name)
}

func (l layout) stateOf(s Stack) string {
	return filepath.Join(l.stacks(), s.Project, s.Name+".json")
}

func (l layout) snapshots(s Stack) string {
	return filepath.Join(l.dir, "snapshots", s.Project, s.Name)
}

func (l layout) lock(s Stack) string {
	return filepath.Join(l.dir, "locks", s.Project+"."+s.Name)
}

func (l layout) unsettled(s Stack) string {
	return filepath.Join(l.dir, "unsettled", s.Project+"."+s.Name+".json")
}

func (l layout) engineLocks(s Stack) string {
	return filepath.Join(l.state(), ".pulumi", "locks", "organization", s.Project, s.Name)
}

// check refuses names that cannot be those of files, and a home that others can change.
func (e *Engine) check(s Stack) error {
	for what, name := range map[string]string{"project": s.Project, "stack": s.Name} {
		if matched, _ := regexp.MatchString(`^[a-z0-9][a-z0-9-]{0,99}$`, name); !matched {
			return &contracts.Error{Code: contracts.CodeInvalidName, Stage: contracts.StageProvision,
				Message: fmt.Sprintf("%s name %s", what, contracts.Quote(name)), Hint: "lower-case letters, digits and hyphens"}
		}
	}
	for _, dir := range []string{e.layout.home, filepath.Dir(e.layout.passphrase()), filepath.Dir(e.layout.dir), e.layout.dir} {
		if err := environment.CheckDirectory(dir); err != nil {
			return err
		}
	}
	return nil
}

// program is Pulumi's, found or installed.
func (e *Engine) program(ctx context.Context) (*pulumicli.Command, error) {
	if e.cli != nil {
		return e.cli, nil
	}
	cli, err := pulumicli.Find(ctx, e.search())
	e.cli = cli
	return cli, err
}

func (e *Engine) search() pulumicli.Search {
	by := e.config.CLIBy
	if by == "" {
		by = "MODELOPS_PULUMI"
	}
	return pulumicli.Search{Named: e.config.CLI, NamedBy: by, Environ: e.config.Environ, Root: e.layout.cli(), Note: e.config.Note}
}

// urnName is the name in a URN, and urnType its type.
func urnName(urn string) string {
	_, name, _ := cutLast(urn, "::")
	return name
}

func urnType(urn string) string {
	rest, _, _ := cutLast(urn, "::")
	_, types, _ := cutLast(rest, "::")
	if _, last, ok := cutLast(types, "$"); ok {
		return last
	}
	return types
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
