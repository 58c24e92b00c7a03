package azure_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure/azuretest"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/enginetest"
)

var plugin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "standin")
	if err == nil {
		plugin, err = azuretest.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// bench is an Azure of its own, and a home.
type bench struct {
	*testing.T
	azuretest.Cloud
	home     string
	settings azure.Settings
	events   []engine.Event
	notes    []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cloud, err := azuretest.New(t.TempDir(), plugin)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, Cloud: cloud, home: t.TempDir(), settings: azure.Settings{
		Environment: "dev", Subscription: azuretest.Subscription, Location: "eastus2", Group: "modelops-dev-rg-vsb",
		Registry: azure.Registry{Name: "modelopsdevacrvsb", SKU: "Basic"},
		Storage:  azure.Storage{Name: "modelopsdevvsba1f2", SKU: "Standard_LRS", Container: "bundle-blobs", ScratchDays: 7},
	}}
}

// provider is a fresh one, as a command has it.
func (b *bench) provider() *azure.Provider {
	b.Helper()
	p, err := azure.New(b.settings, engine.Config{Home: b.home, Environ: os.Environ(), CLI: enginetest.CLI(b), CLIBy: "test",
		Progress: func(ev engine.Event) { b.events = append(b.events, ev) },
		Note:     func(line string) { b.notes = append(b.notes, line) }}, b.Plugins)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bench) up() *infra.State {
	b.Helper()
	state, err := b.provider().Up(context.Background())
	if err != nil {
		b.Fatalf("up: %s", describe(err))
	}
	return state
}

func describe(err error) string {
	e := contracts.AsError(err)
	return fmt.Sprintf("%s: %s | %s", e.Code, e.Message, e.Hint)
}

// refused is an error with that code and those words.
func (b *bench) refused(err error, code contracts.Code, words ...string) {
	b.Helper()
	e := contracts.AsError(err)
	if e == nil || e.Code != code {
		b.Fatalf("%v, want %s", err, code)
	}
	for _, word := range words {
		if !strings.Contains(e.Message+" | "+e.Hint, word) {
			b.Errorf("%q is not in: %s", word, describe(err))
		}
	}
}

var everything = []string{
	"containerregistry:Registry", "resources:ResourceGroup", "storage:BlobContainer",
	"storage:BlobServiceProperties", "storage:ManagementPolicy", "storage:StorageAccount",
}

func TestUp(t *testing.T) {
	b := newBench(t)
	none, err := b.provider().Status(t.Context())
	if err != nil || none.Outputs != nil || none.Components[0].Phase != infra.Absent {
		t.Fatalf("%+v %v", none, err)
	}
	if entries, _ := os.ReadDir(b.home); len(entries) > 0 {
		t.Errorf("looking made %v", entries)
	}
	state := b.up()
	if diff := cmp.Diff(everything, b.Types(t)); diff != "" {
		t.Error(diff)
	}
	account := b.Resources(t)[strings.ToLower("/subscriptions/"+azuretest.Subscription+"/resourceGroups/modelops-dev-rg-vsb/providers/Microsoft.Storage/storageAccounts/modelopsdevvsba1f2")]
	want := &contracts.BundleEnvironment{Environment: "dev",
		Registry: contracts.Registry{Provider: "acr", LoginServer: "modelopsdevacrvsb.azurecr.io", RequiresAuth: true},
		Storage: &contracts.Storage{Provider: "azure", Container: "bundle-blobs",
			ConnectionString: contracts.Secret("DefaultEndpointsProtocol=https;AccountName=modelopsdevvsba1f2;AccountKey=" + account.Keys[0] + ";EndpointSuffix=core.windows.net")}}
	if diff := cmp.Diff(want.Storage, state.Outputs.Storage); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Registry, state.Outputs.Registry); diff != "" {
		t.Error(diff)
	}
	if !state.Changed || len(b.events) == 0 {
		t.Error("nothing is said to have changed")
	}

	// Again: nothing is changed.
	made := len(b.Did(t, "create"))
	if again := b.up(); again.Changed || again.Outputs == nil {
		t.Errorf("%+v", again)
	}
	changes, err := b.provider().Preview(t.Context())
	if err != nil || slices.ContainsFunc(changes, func(c infra.Change) bool { return c.Action != infra.Keep }) {
		t.Errorf("%v %v", changes, err)
	}
	if got := len(b.Did(t, "create")) + len(b.Did(t, "update")) + len(b.Did(t, "delete")); got != made {
		t.Errorf("%d operations, want %d", got, made)
	}
}

func TestDown(t *testing.T) {
	b := newBench(t)
	b.up()
	changes, err := b.provider().PreviewDown(t.Context(), infra.Destruction{})
	if err != nil || len(changes) != len(everything) || slices.ContainsFunc(changes, func(c infra.Change) bool { return c.Action != infra.Keep }) {
		t.Errorf("%v %v", changes, err)
	}
	state, err := b.provider().Down(t.Context(), infra.Destruction{})
	if err != nil || state.Outputs == nil || !strings.Contains(strings.Join(state.Notes, " "), "go on costing") {
		t.Errorf("%+v %v", state, err)
	}
	if diff := cmp.Diff(everything, b.Types(t)); diff != "" {
		t.Fatal(diff)
	}

	changes, err = b.provider().PreviewDown(t.Context(), infra.Destruction{Storage: true})
	var doomed []string
	for _, c := range changes {
		if c.Action == infra.Delete {
			doomed = append(doomed, c.Resource)
		}
	}
	slices.Sort(doomed)
	if diff := cmp.Diff([]string{"bundle-blobs", "storage", "storage-lifecycle", "storage-service"}, doomed); diff != "" || err != nil {
		t.Error(diff, err)
	}
	state, err = b.provider().Down(t.Context(), infra.Destruction{Storage: true})
	if err != nil {
		t.Fatal(describe(err))
	}
	if state.Outputs == nil || state.Outputs.Storage != nil {
		t.Errorf("%+v", state.Outputs)
	}
	if diff := cmp.Diff([]string{"containerregistry:Registry", "resources:ResourceGroup"}, b.Types(t)); diff != "" {
		t.Error(diff)
	}
	state, err = b.provider().Down(t.Context(), infra.Destruction{Registry: true})
	if err != nil || state.Outputs != nil || !strings.Contains(strings.Join(state.Notes, " "), "az group delete") {
		t.Fatalf("%+v %v", state, err)
	}
	if diff := cmp.Diff([]string{"resources:ResourceGroup"}, b.Types(t)); diff != "" {
		t.Error(diff)
	}
	b.up()
	if diff := cmp.Diff(everything, b.Types(t)); diff != "" {
		t.Error(diff)
	}
}
