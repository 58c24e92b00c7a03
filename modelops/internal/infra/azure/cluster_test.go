package azure_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure/azuretest"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

const (
	clusterID = group + "/providers/microsoft.containerservice/managedclusters/modelops-dev-aks-a1f2"
	workersID = clusterID + "/agentpools/workers"
)

// withCluster is a bench whose environment has the cluster of a configuration that says
// nothing of it.
func withCluster(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.settings.Cluster = &azure.Cluster{Cluster: config.Default().Cluster, Namespace: infra.Namespace("dev", "")}
	b.settings.Cluster.Name = "modelops-dev-aks-a1f2"
	b.settings.Cluster.NodePools = config.DefaultPools()
	return b
}

// planned are the changes that are no keeping, as "update pool-workers (maxCount)".
func (b *bench) planned() []string {
	b.Helper()
	changes, err := b.provider().Preview(b.Context())
	if err != nil {
		b.Fatal(describe(err))
	}
	lines := []string{}
	for _, c := range changes {
		if c.Action != infra.Keep {
			lines = append(lines, c.Action+" "+c.Resource+" ("+strings.Join(c.Properties, ", ")+")")
		}
	}
	return lines
}

// made are the last parts of the IDs of what an operation was done to, after the first n.
func (b *bench) since(operation string, n int) []string {
	b.Helper()
	names := []string{}
	for _, id := range b.Did(b, operation)[n:] {
		names = append(names, id[strings.LastIndex(id, "/")+1:])
	}
	slices.Sort(names)
	return names
}

// A cluster is made whole, is left alone while nothing differs, follows its configuration,
// and goes without the data.
func TestClusterLife(t *testing.T) {
	t.Parallel()
	b := withCluster(t)
	state := b.up()
	if state.Cluster == nil || state.Cluster.Name != "modelops-dev-aks-a1f2" || state.Cluster.Context != "modelops-dev-aks-a1f2" {
		t.Fatalf("%+v", state.Cluster)
	}
	for _, e := range b.events {
		if e.Phase == engine.Failed {
			t.Errorf("%s %s is shown as failed", e.Op, e.Name)
		}
	}
	all := b.Resources(t)
	kubelet, workers := all[clusterID].Self, all[group+"/providers/microsoft.managedidentity/userassignedidentities/modelops-dev-aks-a1f2-workers"].Self
	var pulls []string
	for id, r := range all {
		if strings.HasSuffix(r.Type, ":RoleAssignment") && strings.HasPrefix(id, group+"/providers/microsoft.containerregistry/registries/modelopsdevacrvsb/") {
			pulls = append(pulls, r.Inputs["principalId"].(string))
		}
	}
	slices.Sort(pulls)
	if diff := cmp.Diff(slices.Sorted(slices.Values([]string{kubelet, workers})), pulls); diff != "" {
		t.Error(diff)
	}

	// The pool has grown by itself, which the cluster shows too, and Azure has filled in.
	all[workersID].Inputs["count"], all[workersID].Inputs["osDiskSizeGB"] = 7, 300
	b.Set(t, all)
	made := len(b.Did(t, "create"))
	if state := b.up(); state.Changed || len(b.Did(t, "create")) != made || len(b.Did(t, "update")) > 0 {
		t.Errorf("changed without a reason: %v %v", b.Did(t, "create")[made:], b.Did(t, "update"))
	}

	// A pool is resized, one comes; then that one goes.
	pools := b.settings.Cluster.NodePools
	pools[1].Max = 20
	b.settings.Cluster.NodePools = append(slices.Clone(pools), config.NodePool{Name: "big", Mode: config.UserPool, VMSize: "Standard_E32s_v5", Count: 1, DiskType: "managed"})
	b.settings.Cluster.KubernetesVersion = "1.33"
	want := []string{"update cluster (kubernetesVersion)", "update pool-system (orchestratorVersion)", "update pool-workers (maxCount, orchestratorVersion)", "create pool-big ()"}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(b.planned()))); diff != "" {
		t.Error(diff)
	}
	b.up()
	if got := b.Resources(t)[workersID].Inputs; got["maxCount"] != 20.0 || got["count"] != 7.0 {
		t.Error(got)
	}
	b.settings.Cluster.NodePools = pools
	before := len(b.Did(t, "delete"))
	b.up()
	if diff := cmp.Diff([]string{"big"}, b.since("delete", before)); diff != "" {
		t.Error(diff)
	}

	state, err := b.provider().Down(t.Context(), infra.Destruction{})
	if err != nil || state.Outputs == nil || state.Outputs.Storage == nil || state.Cluster != nil {
		t.Fatal(state, err)
	}
	if diff := cmp.Diff(everything, b.Types(t)); diff != "" {
		t.Error(diff)
	}
	_, err = b.provider().Kubeconfig(t.Context())
	b.refused(err, contracts.CodeNotFound, "has no cluster")
	b.settings.Cluster = nil
	if state := b.up(); state.Changed || len(state.Components) != 2 {
		t.Errorf("%+v", state)
	}
}

// What Azure does not change in place is refused, with what can be done, before anything
// is changed.
func TestClusterRefused(t *testing.T) {
	t.Parallel()
	b := withCluster(t)
	b.settings.Cluster.Auth = config.Identity
	b.up()
	if text, err := b.provider().Kubeconfig(t.Context()); err != nil || !strings.Contains(string(text), "command: mops") {
		t.Error("who signs in is not known", err)
	}
	good := b.settings
	for _, row := range []struct {
		change func(*azure.Settings)
		words  []string
	}{
		{func(s *azure.Settings) { s.Cluster.PodCIDR = "10.128.0.0/14" }, []string{"replacing the cluster modelops-dev-aks-a1f2 (networkProfile)", "mops infra down --confirm dev"}},
		{func(s *azure.Settings) { s.Cluster.Private = true }, []string{"apiServerAccessProfile.enablePrivateCluster"}},
		{func(s *azure.Settings) { s.Cluster.Auth = config.Certificate }, []string{"aadProfile"}},
		{func(s *azure.Settings) { s.Cluster.NodePools[1].VMSize = "Standard_D16s_v5" }, []string{"replacing the node pool workers (vmSize)", "give the pool another name"}},
		{func(s *azure.Settings) { s.Cluster.NodePools[0].Zones = []int64{1} }, []string{"the node pool system (availabilityZones)"}},
		{func(s *azure.Settings) { s.Cluster = nil }, []string{"the cluster modelops-dev-aks-a1f2 is there", "mops infra down --confirm dev"}},
	} {
		cluster := *good.Cluster
		cluster.NodePools = config.DefaultPools()
		b.settings.Cluster = &cluster
		row.change(&b.settings)
		_, err := b.provider().Preview(t.Context())
		b.refused(err, contracts.CodeConflict, append(row.words, "nothing was changed")...)
	}
	_, err := b.provider().Up(t.Context())
	b.refused(err, contracts.CodeConflict, "nothing was changed")
	b.settings = good
	if got := b.planned(); len(got) > 0 || len(b.Did(t, "update"))+len(b.Did(t, "delete")) > 0 {
		t.Error(got, b.Did(t, "update"), b.Did(t, "delete"))
	}
	// What others changed is noted, and made good.
	all := b.Resources(t)
	all[clusterID].Inputs["disableLocalAccounts"] = false
	b.Set(t, all)
	state, err := b.provider().Refresh(t.Context())
	if err != nil || !strings.Contains(strings.Join(state.Notes, "; "), "would update cluster (disableLocalAccounts)") {
		t.Error(state, err)
	}
}

// A cluster of somebody else's is used; only what it needs to be used is made, and goes.
func TestClusterAdopt(t *testing.T) {
	t.Parallel()
	b := withCluster(t)
	id := "/subscriptions/" + azuretest.Subscription + "/resourceGroups/theirs"
	theirs := map[string]azuretest.Resource{
		strings.ToLower(id): {ID: id, Type: "azure-native:resources:ResourceGroup", Inputs: map[string]any{"resourceGroupName": "theirs", "location": "westeurope"}},
	}
	id += "/providers/Microsoft.ContainerService/managedClusters/team-aks"
	theirs[strings.ToLower(id)] = azuretest.Resource{ID: id, Type: "azure-native:containerservice/v20240501:ManagedCluster", Self: "eeeeeeee-0000-4000-8000-000000000009", Keys: []string{"their-token-of-the-team"},
		Inputs: map[string]any{"resourceGroupName": "theirs", "resourceName": "team-aks", "location": "westeurope", "dnsPrefix": "team", "identity": map[string]any{"type": "SystemAssigned"}}}
	b.Set(t, theirs)
	b.settings.Cluster.Name, b.settings.Cluster.Existing, b.settings.Cluster.Adopt = "team-aks", true, id
	state := b.up()
	if state.Cluster == nil || state.Cluster.Context != "team-aks" {
		t.Fatal(state.Cluster, state.Notes)
	}
	want := append([]string{"authorization:RoleAssignment", "authorization:RoleAssignment", "containerservice/v20240501:ManagedCluster", "managedidentity:FederatedIdentityCredential",
		"managedidentity:FederatedIdentityCredential", "managedidentity:UserAssignedIdentity", "resources:ResourceGroup"}, everything...)
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), b.Types(t)); diff != "" {
		t.Error(diff)
	}
	if got := b.planned(); len(got) > 0 {
		t.Error(got)
	}
	changes, err := b.provider().PreviewDown(t.Context(), infra.Destruction{})
	if err != nil || slices.ContainsFunc(changes, func(c infra.Change) bool { return c.Place == id && c.Action != infra.Keep }) {
		t.Error(changes, err)
	}
	if _, err := b.provider().Down(t.Context(), infra.Destruction{Registry: true, Storage: true}); err != nil {
		t.Fatal(describe(err))
	}
	left := b.Resources(t)
	delete(left, group)
	if diff := cmp.Diff(theirs, left); diff != "" {
		t.Errorf("theirs changed: %s", diff)
	}
	if len(b.Did(t, "update")) > 0 {
		t.Error(b.Did(t, "update"))
	}
}

// What is there under the cluster's name and bears no marks is somebody else's.
func TestClusterNotOurs(t *testing.T) {
	t.Parallel()
	b := withCluster(t)
	b.settings.Cluster = nil
	b.up()
	cluster := withCluster(t).settings.Cluster
	all := b.Resources(t)
	all[clusterID] = azuretest.Resource{ID: "/subscriptions/" + azuretest.Subscription + "/resourceGroups/modelops-dev-rg-vsb/providers/Microsoft.ContainerService/managedClusters/modelops-dev-aks-a1f2",
		Type: "azure-native:containerservice/v20240501:ManagedCluster", Inputs: map[string]any{"resourceGroupName": "modelops-dev-rg-vsb", "resourceName": "modelops-dev-aks-a1f2"}, Keys: []string{"k"}}
	b.Set(t, all)
	b.settings.Cluster = cluster
	state, err := b.provider().Up(t.Context())
	b.refused(err, contracts.CodeConflict, "was not made for environment dev", "cluster.existing: true")
	if state.Outputs == nil {
		t.Error("the data that is there is not said")
	}
	if got := b.Resources(t)[clusterID].Inputs["sku"]; got != nil {
		t.Error("it was changed")
	}
}
