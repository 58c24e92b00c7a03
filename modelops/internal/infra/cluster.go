package infra

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
)

// KubernetesCluster is what there is to know of an environment's cluster but how to sign
// in to it. No part of it is a secret.
type KubernetesCluster struct {
	Name           string `json:"name"`
	Context        string `json:"context"`                    // of the kubeconfig
	WorkerClientID string `json:"worker_client_id,omitempty"` // of the identity that its service accounts stand for
	WorkerTenantID string `json:"worker_tenant_id,omitempty"`
	Issuer         string `json:"issuer,omitempty"` // who signs the tokens of service accounts: a URL
}

// Namespace is where an environment's workers and drivers run in its cluster: what
// workspace.namespace says, if it says anything.
func Namespace(environment, named string) string {
	return cmp.Or(named, "modelops-dask-"+environment)
}

// ServiceAccounts are those of the namespace that have the identity of the cluster's
// workers: of workers, and of drivers.
func ServiceAccounts() []string { return []string{"modelops-worker", "modelops-driver"} }

// Clusters keeps what is known of the clusters that were made, for programs that ask no
// cloud: $MODELOPS_HOME/state/clusters/<environment>.json.
type Clusters struct{ Home string }

func (c Clusters) path(environment string) string {
	return filepath.Join(c.Home, "state", "clusters", environment+".json")
}

// Load is an environment's cluster, nil when it has none.
func (c Clusters) Load(environment string) (*KubernetesCluster, error) {
	data, err := os.ReadFile(c.path(environment))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Cannot("read", c.path(environment), err)
	}
	k := &KubernetesCluster{}
	if err := json.Unmarshal(data, k); err != nil || k.Name == "" {
		return nil, &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
			Message: "the record of the cluster of environment " + environment + " is damaged: " + contracts.Quote(c.path(environment)), Hint: "mops infra refresh writes it anew"}
	}
	return k, nil
}

// Save records an environment's cluster; nil forgets it.
func (c Clusters) Save(environment string, k *KubernetesCluster) error {
	path := c.path(environment)
	if k == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Cannot("remove", path, err)
		}
		return nil
	}
	return writeState(path, k)
}
