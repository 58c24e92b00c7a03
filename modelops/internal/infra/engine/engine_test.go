package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/enginetest"
)

// keyCanary is a secret that the cloud hands out.
const keyCanary = "canary-key-9f27c1"

// toy is a provider with things, whose ID is their name, and whose key is secret.
var toy = enginetest.Provider{
	Name: "toy", Version: "1.0.0",
	Types: map[string]enginetest.Type{"toy:index:Thing": {
		ID: func(in map[string]any) string { return "/things/" + in["name"].(string) },
		Check: func(in map[string]any) []enginetest.Problem {
			if name, ok := in["name"].(string); ok && strings.Contains(name, "_") {
				return []enginetest.Problem{{Property: "name", Reason: "has an underscore"}}
			}
			return nil
		},
		Outputs: func(id string, _ map[string]any) map[string]any { return map[string]any{"key": keyCanary} },
		Secrets: []string{"key"},
		Replace: []string{"name"},
	}},
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "first-run":
			firstRun()
			return
		case "up":
			upAlone()
			return
		}
	}
	enginetest.Main(m, toy)
}

type thing struct {
	pulumi.CustomResourceState
	Key pulumi.StringOutput `pulumi:"key"`
}

type spec struct {
	name, size string
	needs      string
	protect    bool
}

// program registers things, and the key of the first as a secret output.
func program(specs ...spec) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		made := map[string]*thing{}
		for _, s := range specs {
			options := []pulumi.ResourceOption{pulumi.Version("1.0.0"), pulumi.Protect(s.protect)}
			if s.needs != "" {
				options = append(options, pulumi.DependsOn([]pulumi.Resource{made[s.needs]}))
			}
			r := &thing{}
			if err := ctx.RegisterResource("toy:index:Thing", s.name, pulumi.Map{"name": pulumi.String(s.name), "size": pulumi.String(s.size)}, r, options...); err != nil {
				return err
			}
			made[s.name] = r
			ctx.Export(s.name, r.ID())
		}
		if len(specs) > 0 {
			ctx.Export("key", made[specs[0].name].Key)
			ctx.Export("of", pulumi.String(ctx.Stack()+" in "+ctx.Project()))
		}
		return nil
	}
}

// bench is a home, a cloud and what the engine told.
type bench struct {
	t      *testing.T
	cloud  enginetest.Cloud
	home   string
	stack  engine.Stack
	kill   chan struct{}
	mu     sync.Mutex
	events []engine.Event
	notes  []string
	config engine.Config
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel() // the engine mostly waits
	b := &bench{t: t, cloud: enginetest.NewCloud(t), home: t.TempDir(), kill: make(chan struct{})}
	b.config = engine.Config{
		Home: b.home, CLI: enginetest.CLI(t), CLIBy: "the test", Kill: b.kill,
		Environ: append(os.Environ(), b.cloud.Environ(), "GORACE=atexit_sleep_ms=0", "PULUMI_CONFIG_PASSPHRASE=inherited-and-not-used", "PULUMI_BACKEND_URL=file:///nowhere"),
		Progress: func(e engine.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
		Note: func(line string) { b.notes = append(b.notes, line) },
	}
	b.stack = engine.Stack{Project: "modelops", Name: "dev-data",
		Plugins:  []engine.Plugin{{Name: "toy", Version: "1.0.0", Path: enginetest.Plugin(t, "toy")}},
		Identify: func(p engine.Pending) string { return "/things/" + p.Inputs["name"].(string) }}
	return b
}

func (b *bench) engine() *engine.Engine {
	b.t.Helper()
	e, err := engine.Open(b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

// with is the bench's stack with a program of those things.
func (b *bench) with(specs ...spec) engine.Stack {
	s := b.stack
	s.Program = program(specs...)
	return s
}

func (b *bench) up(specs ...spec) *engine.Result {
	b.t.Helper()
	result, err := b.engine().Up(context.Background(), b.with(specs...), engine.UpOptions{})
	if err != nil {
		b.t.Fatalf("up: %v", describe(err))
	}
	return result
}

func describe(err error) string {
	e := contracts.AsError(err)
	return string(e.Code) + ": " + e.Message + " | " + e.Hint
}

func done(changes []engine.Change) []string {
	var all []string
	for _, c := range changes {
		all = append(all, string(c.Op)+" "+c.Name)
	}
	slices.Sort(all)
	return all
}

func (b *bench) ids() []string {
	b.t.Helper()
	var ids []string
	for id := range b.cloud.Resources(b.t) {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func wants(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestLife(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()

	status, err := b.engine().Status(ctx, b.stack)
	if err != nil || status.Exists {
		t.Fatalf("before anything: %+v %v", status, err)
	}
	if outputs, err := b.engine().Outputs(ctx, b.stack); err != nil || outputs != nil {
		t.Fatalf("before anything: %v %v", outputs, err)
	}
	if entries, _ := os.ReadDir(b.home); len(entries) != 0 {
		t.Fatalf("reading made %v", entries)
	}

	two := []spec{{name: "a", size: "1"}, {name: "b", size: "1", needs: "a", protect: true}}
	preview, err := b.engine().Preview(ctx, b.with(two...))
	if err != nil {
		t.Fatal(describe(err))
	}
	wants(t, "preview", done(preview.Changes), []string{"create a", "create b"})
	if status, err := b.engine().Status(ctx, b.stack); err != nil || status.Exists {
		t.Fatalf("after a preview: %+v %v", status, err)
	}

	result := b.up(two...)
	wants(t, "up", done(result.Changes), []string{"create a", "create b"})
	wants(t, "cloud", b.ids(), []string{"/things/a", "/things/b"})
	wants(t, "outputs", result.Outputs, map[string]engine.Output{"a": {Value: "/things/a"}, "b": {Value: "/things/b"},
		"key": {Value: keyCanary, Secret: true}, "of": {Value: "dev-data in modelops"}})
	b.sawCreation("a")

	wants(t, "second up", done(b.up(two...).Changes), []string(nil))
	outputs, err := b.engine().Outputs(ctx, b.stack)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "outputs", outputs, result.Outputs)

	b.drift()
	wants(t, "grown", done(b.up(spec{name: "a", size: "2"}, two[1]).Changes), []string{"update a"})

	status, err = b.engine().Status(ctx, b.stack)
	if err != nil || len(status.Resources) != 2 || !status.Resources[1].Protected || len(status.Pending)+len(status.Locks) != 0 {
		t.Fatalf("status: %+v %v", status, err)
	}
	_, err = b.engine().Destroy(ctx, b.stack, engine.DestroyOptions{})
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, "protected: b") {
		t.Fatalf("destroy of what is protected: %v", err)
	}
	wants(t, "cloud", b.ids(), []string{"/things/a", "/things/b"})
	result, err = b.engine().Destroy(ctx, b.stack, engine.DestroyOptions{Unprotect: true, Remove: true})
	if err != nil {
		t.Fatal(describe(err))
	}
	wants(t, "destroy", done(result.Changes), []string{"delete a", "delete b"})
	wants(t, "cloud", b.ids(), []string(nil))
	if status, err := b.engine().Status(ctx, b.stack); err != nil || status.Exists {
		t.Fatalf("after destroy: %+v %v", status, err)
	}
	b.searchSecrets()
}

func (b *bench) sawCreation(name string) {
	b.t.Helper()
	var phases []engine.Phase
	for _, e := range b.events {
		if e.Name == name && e.Op == engine.Create && e.Type == "toy:index:Thing" && e.ID != "" || e.Name == name && e.Phase == engine.Started {
			phases = append(phases, e.Phase)
		}
	}
	// Once in the preview, where nothing has an ID, and once in the up.
	wants(b.t, "progress of "+name, phases, []engine.Phase{engine.Started, engine.Started, engine.Done})
}

// drift changes the cloud behind the engine's back, and looks at what a refresh says.
func (b *bench) drift() {
	t := b.t
	t.Helper()
	if err := b.cloud.Put(enginetest.Resource{ID: "/things/a", Type: "toy:index:Thing", Name: "a", Inputs: map[string]any{"name": "a", "size": "9"}}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []engine.RefreshOptions{{Preview: true}, {}} {
		result, err := b.engine().Refresh(context.Background(), b.stack, o)
		if err != nil {
			t.Fatal(describe(err))
		}
		wants(t, "drift", done(result.Changes), []string{"update a"})
	}
	result, err := b.engine().Refresh(context.Background(), b.stack, engine.RefreshOptions{})
	if err != nil {
		t.Fatal(describe(err))
	}
	wants(t, "no drift", done(result.Changes), []string(nil))
}

// searchSecrets looks for what must not be in plain text anywhere.
func (b *bench) searchSecrets() {
	b.t.Helper()
	passphrase, err := os.ReadFile(filepath.Join(b.home, "secrets", "pulumi-passphrase"))
	if err != nil {
		b.t.Fatal(err)
	}
	looked := 0
	err = filepath.WalkDir(b.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked++
		for _, secret := range []string{keyCanary, string(passphrase)} {
			if strings.Contains(string(data), secret) && filepath.Base(path) != "pulumi-passphrase" {
				b.t.Errorf("%s holds a secret", path)
			}
		}
		return nil
	})
	if err != nil || looked < 5 {
		b.t.Errorf("looked into %d files: %v", looked, err)
	}
}

func TestFailureAndRecovery(t *testing.T) {
	b := newBench(t)
	b.config.Environ = append(b.config.Environ, "ARM_CLIENT_SECRET=canary-client-secret")
	b.cloud.Inject(t, enginetest.Fault{Op: "create", Name: "b", Do: enginetest.Fail,
		Message: "409 Conflict: the registry name b is taken (client canary-client-secret, AccountKey=canary+account==;x)"})
	two := []spec{{name: "a", size: "1"}, {name: "b", size: "1", needs: "a"}, {name: "c", size: "1", needs: "b"}}
	result, err := b.engine().Up(context.Background(), b.with(two...), engine.UpOptions{})
	e := contracts.AsError(err)
	if e == nil || e.Code != contracts.CodeFailed || e.Stage != contracts.StageProvision {
		t.Fatalf("up: %v", err)
	}
	wants(t, "message", e.Message, "create b (toy:index:Thing): 409 Conflict: the registry name b is taken (client [secret], AccountKey=[secret];x)")
	if f, ok := errors.AsType[*engine.Failure](err); !ok || f.Name != "b" || f.Op != engine.Create {
		t.Errorf("failure: %+v", f)
	}
	wants(t, "done before", done(result.Changes), []string{"create a"})
	if i := slices.IndexFunc(b.events, func(e engine.Event) bool { return e.Phase == engine.Failed }); i < 0 || b.events[i].Name != "b" {
		t.Errorf("no progress of the failure: %+v", b.events)
	}
	wants(t, "second up", done(b.up(two...).Changes), []string{"create b", "create c"})

	_, err = b.engine().Up(context.Background(), b.with(append(two, spec{name: "x_y"})...), engine.UpOptions{})
	if e := contracts.AsError(err); e == nil || !strings.Contains(e.Message, "x_y (toy:index:Thing): ") || !strings.Contains(e.Message, "has an underscore") {
		t.Errorf("what the provider refuses: %v", err)
	}
	stack := b.stack
	stack.Program = func(*pulumi.Context) error { return errors.New("the configuration has no location") }
	_, err = b.engine().Up(context.Background(), stack, engine.UpOptions{})
	if err == nil || !strings.Contains(err.Error(), "the configuration has no location") || strings.Contains(err.Error(), "stdout") {
		t.Errorf("a program that fails: %v", err)
	}
	// The work directory is a cache: encryption is settled by the state and the passphrase.
	if err := os.RemoveAll(filepath.Join(b.home, "pulumi", "go", "work")); err != nil {
		t.Fatal(err)
	}
	wants(t, "third up", done(b.up(two...).Changes), []string(nil))
	b.searchSecrets()
	if kept, _ := filepath.Glob(filepath.Join(b.home, "pulumi/go/snapshots/modelops/dev-data/*.json")); len(kept) != 5 {
		t.Errorf("kept %d states", len(kept))
	}
}

// orphans are the processes of the toy's plugin.
func (b *bench) orphans() []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		environ, _ := os.ReadFile(path)
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
		if strings.Contains(string(environ), b.cloud.Environ()) {
			found = append(found, strings.TrimSpace(string(name))+" "+path)
		}
	}
	return found
}

// noOrphans waits for what was killed to be gone.
func (b *bench) noOrphans() {
	b.t.Helper()
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for len(b.orphans()) > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("left behind: %v", b.orphans())
		}
	}
}

func TestKilledEngine(t *testing.T) {
	for name, after := range map[string]bool{"before the effect": false, "after the effect": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			two := []spec{{name: "a", size: "1"}, {name: "b", size: "1", needs: "a"}}
			b.cloud.Inject(t, enginetest.Fault{Op: "create", Name: "b", After: after, Do: enginetest.KillEngine})
			_, err := b.engine().Up(context.Background(), b.with(two...), engine.UpOptions{})
			if err == nil {
				t.Fatal("a killed engine succeeded")
			}
			b.noOrphans()
			status, err := b.engine().Status(context.Background(), b.stack)
			if err != nil || len(status.Pending) != 1 || status.Pending[0].String() != "creating b (toy:index:Thing)" || len(status.Locks) != 1 {
				t.Fatalf("status: %+v %v", status, err)
			}
			_, err = b.engine().Up(context.Background(), b.with(two...), engine.UpOptions{})
			if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, "which has ended") || !strings.Contains(e.Hint, "unlock") {
				t.Fatalf("up of a locked stack: %v", err)
			}
			locks, err := b.engine().Unlock(context.Background(), b.stack)
			if err != nil || len(locks) != 1 || locks[0].PID == 0 || locks[0].User == "" {
				t.Fatalf("unlock: %v %v", locks, err)
			}
			result := b.up(two...)
			wantChanges := []string{"create b"}
			if after {
				wantChanges = nil
			}
			wants(t, "up after", done(result.Changes), wantChanges)
			if len(result.Recovered) != 1 || result.Recovered[0].Adopted != after {
				t.Errorf("recovered: %+v", result.Recovered)
			}
			wants(t, "cloud", b.ids(), []string{"/things/a", "/things/b"})
			wants(t, "nothing more to do", done(b.up(two...).Changes), []string(nil))
			status, err = b.engine().Status(context.Background(), b.stack)
			if err != nil || len(status.Pending)+len(status.Locks) != 0 || len(status.Resources) != 2 {
				t.Errorf("status: %+v %v", status, err)
			}
			b.searchSecrets()
		})
	}
}

func TestKilledProvider(t *testing.T) {
	for name, after := range map[string]bool{"before the effect": false, "after the effect": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.cloud.Inject(t, enginetest.Fault{Op: "create", Name: "b", After: after, Do: enginetest.KillProvider})
			two := []spec{{name: "a", size: "1"}, {name: "b", size: "1", needs: "a"}}
			_, err := b.engine().Up(context.Background(), b.with(two...), engine.UpOptions{})
			if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeFailed || !strings.HasPrefix(e.Message, "create b ") {
				t.Fatalf("up without its provider: %v", err)
			}
			b.noOrphans()
			result := b.up(two...)
			if len(result.Recovered) != 1 || result.Recovered[0].Adopted != after {
				t.Errorf("recovered: %+v", result.Recovered)
			}
			wants(t, "cloud", b.ids(), []string{"/things/a", "/things/b"})
			wants(t, "nothing more to do", done(b.up(two...).Changes), []string(nil))
			b.searchSecrets()
		})
	}
}

func TestInterrupt(t *testing.T) {
	b := newBench(t)
	fault := b.cloud.Inject(t, enginetest.Fault{Op: "create", Name: "a", Do: enginetest.Wait})
	three := []spec{{name: "a", size: "1"}, {name: "b", size: "1", needs: "a"}}
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := b.engine().Up(ctx, b.with(three...), engine.UpOptions{})
		failed <- err
	}()
	fault.Await(t)
	cancel()
	select {
	case err := <-failed:
		t.Fatalf("ended with a resource at hand: %v", err)
	case <-time.After(11 * time.Second): // the SDK's limit is 10
	}
	fault.Lift()
	e := contracts.AsError(<-failed)
	if e == nil || e.Code != contracts.CodeInterrupted {
		t.Fatalf("up: %v", e)
	}
	wants(t, "cloud", b.ids(), []string{"/things/a"})
	status, err := b.engine().Status(context.Background(), b.stack)
	if err != nil || len(status.Pending)+len(status.Locks) != 0 || len(status.Resources) != 1 {
		t.Fatalf("status: %+v %v", status, err)
	}
	wants(t, "up after", done(b.up(three...).Changes), []string{"create b"})
}

func TestKill(t *testing.T) {
	b := newBench(t)
	fault := b.cloud.Inject(t, enginetest.Fault{Op: "create", Name: "a", Do: enginetest.Wait})
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := b.engine().Up(ctx, b.with(spec{name: "a", size: "1"}), engine.UpOptions{})
		failed <- err
	}()
	fault.Await(t)
	cancel()
	close(b.kill)
	if e := contracts.AsError(<-failed); e == nil || e.Code != contracts.CodeInterrupted || !strings.Contains(e.Message, "in the middle") {
		t.Fatalf("up: %v", e)
	}
	b.noOrphans()
	b.kill = nil
	b.config.Kill = nil
	result, err := b.engine().Up(context.Background(), b.with(spec{name: "a", size: "1"}), engine.UpOptions{BreakLock: true})
	if err != nil {
		t.Fatal(describe(err))
	}
	wants(t, "up after", done(result.Changes), []string{"create a"})
	if len(b.notes) == 0 || !strings.Contains(strings.Join(b.notes, "\n"), "broke the lock of") {
		t.Errorf("notes: %q", b.notes)
	}
}

func TestLocked(t *testing.T) {
	b := newBench(t)
	fault := b.cloud.Inject(t, enginetest.Fault{Op: "create", Name: "a", Do: enginetest.Wait})
	first := make(chan error, 1)
	go func() {
		_, err := b.engine().Up(context.Background(), b.with(spec{name: "a", size: "1"}), engine.UpOptions{})
		first <- err
	}()
	fault.Await(t)
	_, err := b.engine().Up(context.Background(), b.with(), engine.UpOptions{BreakLock: true})
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, "another mops on this machine") {
		t.Errorf("a second up: %v", err)
	}
	if _, err := b.engine().Unlock(context.Background(), b.stack); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("unlock while it runs: %v", err)
	}
	// As it is when the command that started the engine is gone, and the engine is not.
	if err := os.Remove(filepath.Join(b.home, "pulumi", "go", "locks", "modelops.dev-data")); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"up": func() error { _, err := b.engine().Up(context.Background(), b.with(), engine.UpOptions{}); return err },
		"break": func() error {
			_, err := b.engine().Up(context.Background(), b.with(), engine.UpOptions{BreakLock: true})
			return err
		},
		"unlock": func() error { _, err := b.engine().Unlock(context.Background(), b.stack); return err },
	} {
		e := contracts.AsError(try())
		if e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, "which is running") || strings.Contains(e.Hint, "infra unlock") {
			t.Errorf("%s of a stack that an engine holds: %v", name, e)
		}
	}
	fault.Lift()
	if err := <-first; err != nil {
		t.Errorf("the first: %v", describe(err))
	}
	wants(t, "cloud", b.ids(), []string{"/things/a"})
}

// upAlone is a process that makes a and b, to be killed.
func upAlone() {
	e, err := engine.Open(engine.Config{Home: os.Args[2], CLI: os.Args[3], Environ: os.Environ()})
	if err == nil {
		_, err = e.Up(context.Background(), engine.Stack{Project: "modelops", Name: "dev-data",
			Plugins: []engine.Plugin{{Name: "toy", Version: "1.0.0", Path: os.Args[4]}},
			Program: program(spec{name: "a", size: "1"}, spec{name: "b", size: "1", needs: "a"})}, engine.UpOptions{})
	}
	if err != nil {
		panic(err)
	}
}

// When the command itself is killed, the engine finishes the resource at hand, records
// it and ends.
func TestKilledCommand(t *testing.T) {
	b := newBench(t)
	fault := b.cloud.Inject(t, enginetest.Fault{Op: "create", Name: "a", Do: enginetest.Wait})
	command := exec.Command(os.Args[0], "up", b.home, enginetest.CLI(t), b.stack.Plugins[0].Path)
	command.Env = b.config.Environ
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	fault.Await(t)
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // killed
	_, err := b.engine().Up(context.Background(), b.with(), engine.UpOptions{BreakLock: true})
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, "which is running") {
		t.Errorf("up while the engine runs: %v", err)
	}
	fault.Lift()
	b.noOrphans()
	status, err := b.engine().Status(context.Background(), b.stack)
	if err != nil {
		t.Fatal(describe(err))
	}
	if len(status.Pending)+len(status.Locks) != 0 || len(status.Resources) != 1 {
		t.Errorf("the engine left %+v", status)
	}
	b.up(spec{name: "a", size: "1"}, spec{name: "b", size: "1", needs: "a"})
	wants(t, "cloud", b.ids(), []string{"/things/a", "/things/b"})
	wants(t, "creations", len(b.cloud.Calls(t, "create")), 2)
}
