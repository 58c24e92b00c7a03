// Package storage opens the storage of environments.
package storage

import (
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/provider"
)

// Open opens the storage of an environment. Its operations wait for minutes when the
// service is in trouble.
func Open(env *contracts.BundleEnvironment) (blobstore.Store, error) {
	return provider.Open(env, provider.Limits{})
}

// OpenBriefly opens it for somebody who wants to know whether it works: operations give up
// after seconds.
func OpenBriefly(env *contracts.BundleEnvironment) (blobstore.Store, error) {
	return provider.Open(env, provider.Limits{Busy: 5 * time.Second, Silence: 2 * time.Second, Stall: 10 * time.Second})
}
