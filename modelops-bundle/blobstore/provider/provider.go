// Package provider opens storage of every provider that there is: a program that links it
// links every client library.
package provider

import (
	"maps"
	"os"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/azurecredential"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
)

// Limits bound how long an operation waits for a service in trouble; the zero value is for
// minutes.
type Limits = azure.Limits

// Open opens the storage of an environment, as [blobstore.Open] does. The libraries of the
// clouds read the process's own variables, as they do.
func Open(env *contracts.BundleEnvironment, limits Limits) (blobstore.Store, error) {
	openers := azure.Openers(azure.Options{Getenv: os.Getenv, Credential: azurecredential.For, Limits: limits})
	maps.Copy(openers, s3.Openers(s3.Options{Getenv: os.Getenv, Limits: limits}))
	return blobstore.Open(env, openers)
}
