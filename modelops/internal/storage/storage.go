// Package storage opens the storage of environments: it says which kinds mops links.
package storage

import (
	"maps"
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/azurecredential"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
)

// Open opens the storage of an environment. Its operations wait for minutes when the
// service is in trouble.
func Open(env *contracts.BundleEnvironment) (blobstore.Store, error) {
	return open(env, azure.Limits{})
}

// OpenBriefly opens it for somebody who wants to know whether it works: operations give up
// after seconds.
func OpenBriefly(env *contracts.BundleEnvironment) (blobstore.Store, error) {
	return open(env, azure.Limits{Busy: 5 * time.Second, Silence: 2 * time.Second, Stall: 10 * time.Second})
}

// open lets the libraries of the clouds read the process's own variables, as they do.
func open(env *contracts.BundleEnvironment, limits azure.Limits) (blobstore.Store, error) {
	openers := azure.Openers(azure.Options{Getenv: os.Getenv, Credential: azurecredential.For, Limits: limits})
	maps.Copy(openers, s3.Openers(s3.Options{Getenv: os.Getenv, Limits: limits}))
	return blobstore.Open(env, openers)
}
