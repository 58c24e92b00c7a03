//go:build unix

package jobscript

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
)

// TestAzurite runs the scripts of testdata/azurite, with the storage of the environment
// "cloud" in the emulator of Azure and its registry that of the local one.
func TestAzurite(t *testing.T) {
	server := azuritetest.Start(t)
	storage := &contracts.Storage{Provider: "azurite", Container: "bundle-blobs", Prefix: "team/seir", ConnectionString: contracts.Secret(server.ConnectionString())}
	store, err := azure.Open(storage, azure.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/azurite",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			if err := setup(env); err != nil {
				return err
			}
			env.Setenv("KEY", server.Key)
			env.Setenv("ENDPOINT", server.Endpoint)
			return cloud(env, storage)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"await": await, "table": checkTable, "killjob": killJob, "exits": exits,
		},
	})
}

// cloud writes the environment file.
func cloud(env *testscript.Env, storage *contracts.Storage) error {
	dir := filepath.Join(env.Getenv("HOME"), ".modelops", "bundle-env")
	local, err := os.ReadFile(filepath.Join(dir, "local.yaml"))
	if err != nil {
		return err
	}
	e, _, err := contracts.ParseEnvironment("local.yaml", local)
	if err != nil {
		return err
	}
	e.Environment, e.Storage = "cloud", storage
	data, err := e.Marshal()
	if err != nil {
		return fmt.Errorf("environment cloud: %w", err)
	}
	if !strings.Contains(string(data), storage.Provider) {
		return fmt.Errorf("environment cloud: %s", data)
	}
	return os.WriteFile(filepath.Join(dir, "cloud.yaml"), data, 0o600)
}
