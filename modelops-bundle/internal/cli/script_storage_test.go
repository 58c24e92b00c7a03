package cli

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3test"
)

// storage ENV fs|azurite|s3 gives an environment of the registry a storage of its own, empty;
// with s3, its secret key is test-secret-key-canary.
func storageCommand(ts *testscript.TestScript, _ bool, args []string) {
	t := ts.Value(testKey{}).(testing.TB)
	env := &contracts.BundleEnvironment{Environment: args[0], Registry: contracts.Registry{Provider: "docker", LoginServer: registryOf(ts).Host}}
	switch args[1] {
	case "fs":
		env.Storage = &contracts.Storage{Provider: "fs", Container: ts.MkAbs("storage-" + args[0])}
	case "azurite":
		env.Storage = &contracts.Storage{Provider: "azurite", Container: "bundle-blobs", ConnectionString: contracts.Secret(azuritetest.Start(t).ConnectionString())}
		store, err := azure.Open(env.Storage, azure.Options{})
		ts.Check(err)
		ts.Check(store.Make(t.Context()))
	case "s3":
		env.Storage = s3test.Start(t).Bucket("bundle-blobs")
		store, err := s3.Open(env.Storage, s3.Options{})
		ts.Check(err)
		ts.Check(store.Make(t.Context()))
	}
	ts.Check(writeEnvironment(ts.Getenv("MODELOPS_HOME"), env))
}
