// Package infra makes, shows and removes what an environment stands on, and keeps the
// environment file true to it. What is the same for every provider is here; a provider
// is a package beneath. Pulumi is imported by those packages only.
package infra

import (
	"context"

	"github.com/modelops-suite/modelops-go/contracts"
)

// The components of an environment.
const (
	Registry = "registry"
	Storage  = "storage"
	Compute  = "compute" // where jobs run; without it, on the machine that submits them
	Cluster  = "cluster" // of Kubernetes, that compute can be in
	Group    = "group"   // what the others lie in, where there is such a thing
)

// Phase says how a component is.
type Phase string

// The phases.
const (
	Ready   Phase = "ready"
	Stopped Phase = "stopped" // its data is there, and nothing serves it
	Absent  Phase = "absent"
)

// Component is a part of an environment.
type Component struct {
	Name  string `json:"name"`
	Phase Phase  `json:"phase"`
	Place string `json:"place,omitempty"` // where its data lies
}

// State is what a provider found or made.
type State struct {
	Components []Component
	Outputs    *contracts.BundleEnvironment // nil when there is no registry; without a timestamp
	Cluster    *KubernetesCluster           // nil when there is none, or not all of it
	Unread     error                        // why there are no outputs although something is there
	Changed    bool                         // by the operation that answers with it
	Notes      []string                     // what its user should know
}

// Change is one thing that Up, or Down, would do.
type Change struct {
	Component  string   `json:"component"`
	Resource   string   `json:"resource,omitempty"` // of several that a component stands on
	Action     string   `json:"action"`
	Place      string   `json:"place,omitempty"`
	Properties []string `json:"properties,omitempty"` // that an update changes
}

// Changes of a component.
const (
	Create = "create"
	Start  = "start"
	Keep   = "keep"
	Update = "update"
	Stop   = "stop"
	Delete = "delete"
)

// Destruction says whose data Down removes as well. Removing cannot be undone.
type Destruction struct{ Registry, Storage bool }

// Any says whether any data is to be removed.
func (d Destruction) Any() bool { return d.Registry || d.Storage }

// Provider makes an environment in one kind of place. Errors are envelopes. Beside an
// error there may be a state: what is known to be there although the operation failed.
type Provider interface {
	// Name is the provider's, as in --provider, and Environment that of the
	// environment that it makes.
	Name() string
	Environment() string
	// Preview says what Up would do, and does nothing.
	Preview(ctx context.Context) ([]Change, error)
	// Up makes what is missing and starts what is stopped.
	Up(ctx context.Context) (*State, error)
	// Status looks, and changes nothing.
	Status(ctx context.Context) (*State, error)
	// Refresh is Status after asking the place itself.
	Refresh(ctx context.Context) (*State, error)
	// PreviewDown says what Down would do, and does nothing.
	PreviewDown(ctx context.Context, destroy Destruction) ([]Change, error)
	// Down stops what costs; data stays, except what is to be destroyed.
	Down(ctx context.Context, destroy Destruction) (*State, error)
}
