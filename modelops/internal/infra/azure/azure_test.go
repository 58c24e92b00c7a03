package azure_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

const group = "/subscriptions/" + azuretest.Subscription + "/resourcegroups/modelops-dev-rg-vsb"

// The keys in the environment are Azure's, also after somebody changed them, and what
// somebody else changed or deleted is noticed, said, and made good by the next Up.
func TestDrift(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.up()
	all := b.Resources(t)
	account := all[group+"/providers/microsoft.storage/storageaccounts/modelopsdevvsba1f2"]
	account.Keys[0] = strings.Repeat("k", 86) + "=="
	b.Set(t, all)
	state, err := b.provider().Refresh(t.Context())
	if err != nil || state.Outputs == nil {
		t.Fatal(state, err)
	}
	if got := string(state.Outputs.Storage.ConnectionString); !strings.Contains(got, account.Keys[0]) {
		t.Error("the key is the old one")
	}

	account.Inputs["minimumTlsVersion"] = "TLS1_0"
	delete(all, group+"/providers/microsoft.storage/storageaccounts/modelopsdevvsba1f2/managementpolicies/default")
	b.Set(t, all)
	state, err = b.provider().Refresh(t.Context())
	if err != nil {
		t.Fatal(describe(err))
	}
	notes := strings.Join(state.Notes, "; ")
	for _, want := range []string{"would update storage (minimumTlsVersion)", "would create storage-lifecycle"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in %s", want, notes)
		}
	}
	if state := b.up(); !state.Changed {
		t.Error("nothing was made good")
	}
	if tls := b.Resources(t)[strings.ToLower(account.ID)].Inputs["minimumTlsVersion"]; tls != "TLS1_2" {
		t.Error(tls)
	}

	// A registry that is gone is no reason to say anything else of the environment.
	all = b.Resources(t)
	delete(all, group+"/providers/microsoft.containerregistry/registries/modelopsdevacrvsb")
	b.Set(t, all)
	state, err = b.provider().Refresh(t.Context())
	if err != nil || state.Outputs != nil || state.Components[0].Phase != infra.Absent {
		t.Errorf("%+v %v", state, err)
	}
	b.up()
	if diff := cmp.Diff(everything, b.Types(t)); diff != "" {
		t.Error(diff)
	}
}

// The engine writes over its state in place: a kill in that moment leaves a part of it.
func TestTornState(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.up()
	made := len(b.Did(t, "create"))
	path := filepath.Join(b.home, "pulumi", "go", "state", ".pulumi", "stacks", "modelops", "dev-data.json")
	if err := os.Truncate(path+".attrs", 0); err != nil {
		t.Fatal(err)
	}
	if state, err := b.provider().Status(t.Context()); err != nil || state.Outputs == nil {
		t.Fatal(state, err)
	}
	for _, length := range []int64{0, 1000} {
		if err := os.Truncate(path, length); err != nil {
			t.Fatal(err)
		}
		if length > 0 { // and the engine's own copy, too: that of before the update is left
			if err := os.Truncate(path+".bak", length); err != nil {
				t.Fatal(err)
			}
		}
		b.notes = nil
		if _, err := b.provider().Status(t.Context()); err != nil || !strings.Contains(strings.Join(b.notes, " "), "is put back") {
			t.Fatal(err, b.notes)
		}
		if state := b.up(); state.Outputs == nil || state.Outputs.Storage == nil {
			t.Error(state.Unread)
		}
	}
	if got := len(b.Did(t, "create")); got != made {
		t.Errorf("made %d resources, want %d", got, made)
	}
}

// What is adopted is used, never changed, and never deleted.
func TestAdopt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	theirs := map[string]azuretest.Resource{}
	place := func(id, typ string, inputs map[string]any) string {
		theirs[strings.ToLower(id)] = azuretest.Resource{ID: id, Type: typ, Inputs: inputs, Keys: []string{strings.Repeat("t", 86) + "==", "other"}}
		return id
	}
	rg := "/subscriptions/" + azuretest.Subscription + "/resourceGroups/theirs"
	place(rg, "azure-native:resources:ResourceGroup", map[string]any{"resourceGroupName": "theirs", "location": "westeurope"})
	b.settings.Registry.Adopt = place(rg+"/providers/Microsoft.ContainerRegistry/registries/theirregistry", "azure-native:containerregistry:Registry",
		map[string]any{"resourceGroupName": "theirs", "registryName": "theirregistry", "location": "westeurope", "sku": map[string]any{"name": "Premium"}})
	b.settings.Storage.Adopt = place(rg+"/providers/Microsoft.Storage/storageAccounts/theirstorage", "azure-native:storage:StorageAccount",
		map[string]any{"resourceGroupName": "theirs", "accountName": "theirstorage", "location": "westeurope", "kind": "StorageV2", "sku": map[string]any{"name": "Standard_GRS"}})
	b.settings.Group, b.settings.AdoptGroup = "theirs", true
	b.Set(t, theirs)
	state := b.up()
	if got := state.Outputs.Registry.LoginServer; got != "theirregistry.azurecr.io" {
		t.Error(got)
	}
	if got := string(state.Outputs.Storage.ConnectionString); !strings.Contains(got, "AccountName=theirstorage;AccountKey=ttt") {
		t.Error("not their account")
	}
	if made := b.Did(t, "create"); len(made) != 1 || !strings.HasSuffix(made[0], "/containers/bundle-blobs") {
		t.Errorf("made %v", made)
	}
	_, err := b.provider().Down(t.Context(), infra.Destruction{Registry: true, Storage: true})
	b.refused(err, contracts.CodeDenied, "was there before this environment")
	if _, err := b.provider().Down(t.Context(), infra.Destruction{Storage: true}); err != nil {
		t.Fatal(describe(err))
	}
	if diff := cmp.Diff(theirs, b.Resources(t)); diff != "" {
		t.Errorf("theirs changed: %s", diff)
	}
	if len(b.Did(t, "update")) > 0 || len(b.Did(t, "delete")) != 1 {
		t.Errorf("updated %v, deleted %v", b.Did(t, "update"), b.Did(t, "delete"))
	}
}

// What is there under the environment's names and is somebody else's is not taken.
func TestNotOurs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := "/subscriptions/" + azuretest.Subscription + "/resourceGroups/modelops-dev-rg-vsb"
	theirs := map[string]azuretest.Resource{strings.ToLower(id): {ID: id, Type: "azure-native:resources:ResourceGroup",
		Inputs: map[string]any{"resourceGroupName": "modelops-dev-rg-vsb", "location": "westeurope"}}}
	b.Set(t, theirs)
	_, err := b.provider().Up(t.Context())
	b.refused(err, contracts.CodeConflict, "is there already, and was not made for environment dev", "azure.existing_resource_group")
	if diff := cmp.Diff(theirs, b.Resources(t)); diff != "" {
		t.Error(diff)
	}
}

// Outputs are believed when they are of the resources that they are about.
func TestOutputs(t *testing.T) {
	key := strings.Repeat("k", 86) + "=="
	good := map[string]string{
		"login_server": "modelopsdevacrvsb.azurecr.io", "blob_endpoint": "https://modelopsdevvsba1f2.blob.core.windows.net/",
		"connection_string": "DefaultEndpointsProtocol=https;AccountName=modelopsdevvsba1f2;AccountKey=" + key + ";EndpointSuffix=core.windows.net",
	}
	outputs := func(name, value string) map[string]engine.Output {
		o := map[string]engine.Output{}
		for k, v := range good {
			o[k] = engine.Output{Value: v}
		}
		if value == "" {
			delete(o, name)
		} else {
			o[name] = engine.Output{Value: value}
		}
		return o
	}
	s := newBench(t).settings
	for _, wrong := range [][2]string{
		{"login_server", ""}, {"login_server", "modelopsdevacrvsb.azurecr.io.evil.org"}, {"login_server", "another.azurecr.io"}, {"login_server", "https://modelopsdevacrvsb.azurecr.io"},
		{"connection_string", ""}, {"connection_string", "UseDevelopmentStorage=true"},
		{"connection_string", strings.Replace(good["connection_string"], "vsba1f2", "another", 1)},
		{"connection_string", strings.Replace(good["connection_string"], key, "", 1)},
	} {
		env, err := azure.Environment(s, outputs(wrong[0], wrong[1]), true)
		e := contracts.AsError(err)
		if env != nil || e == nil || e.Code != contracts.CodeIntegrity || !strings.Contains(e.Message, wrong[0]) {
			t.Errorf("%v: %v %v", wrong, env, err)
		} else if strings.Contains(e.Message, key) {
			t.Error("the error shows the key")
		}
	}
	if _, err := azure.Environment(s, outputs("", "x"), true); err != nil {
		t.Error(err)
	}
	s.Storage.Identity = true
	if _, err := azure.Environment(s, outputs("blob_endpoint", "http://modelopsdevvsba1f2.blob.core.windows.net/"), true); err == nil {
		t.Error("plain HTTP is believed")
	}
}
