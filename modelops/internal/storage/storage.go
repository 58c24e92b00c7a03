// Package storage opens the storage of environments: it says which kinds mops links.
package storage

import (
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/azurecredential"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
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

// open lets the libraries of Azure read the process's own variables, as they do.
func open(env *contracts.BundleEnvironment, limits azure.Limits) (blobstore.Store, error) {
	return blobstore.Open(env, azure.Openers(azure.Options{Getenv: os.Getenv, Credential: azurecredential.For, Limits: limits}))
}
