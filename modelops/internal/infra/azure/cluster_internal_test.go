package azure

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// recorder answers as Azure would, and keeps what was registered. The engine is no part
// of it: TestCluster has that.
type recorder struct {
	mu         sync.Mutex
	registered map[string]map[string]any // by name
	kubelet    map[string]any            // the cluster's identityProfile
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	inputs := args.Inputs.Mappable()
	r.registered[args.Name] = inputs
	outputs := args.Inputs.Copy()
	for key, value := range map[string]any{
		"oidcIssuerProfile": map[string]any{"issuerURL": "https://issuer/"}, "identityProfile": r.kubelet,
		"principalId": "worker-principal", "clientId": "c", "tenantId": "t",
	} {
		if _, given := inputs[key]; !given || key == "oidcIssuerProfile" {
			outputs[resource.PropertyKey(key)] = resource.NewPropertyValue(value)
		}
	}
	return "/" + args.Name, outputs, nil
}

func (r *recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	kubeconfig := base64.StdEncoding.EncodeToString([]byte("current-context: " + args.Token[strings.LastIndex(args.Token, ":")+1:]))
	return resource.NewPropertyMapFromMap(map[string]any{"objectId": "me", "kubeconfigs": []any{map[string]any{"value": kubeconfig}}}), nil
}

// register runs the cluster's program for a section cluster of modelops.yaml.
func register(t *testing.T, section string, kubelet map[string]any) (map[string]map[string]any, error) {
	t.Helper()
	c, err := config.Parse("", []byte("schema_version: 3\nsettings: {environment: dev, provider: azure, username: vsb}\n"+
		"azure: {subscription_id: 3f2504e0-4f89-41d3-9a0c-0305e82c3301}\nstorage: {auth: identity}\ncluster: "+section+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	names, err := name.Ledger{Home: t.TempDir()}.Look(c.Names())
	if err != nil {
		t.Fatal(err)
	}
	if kubelet == nil {
		kubelet = map[string]any{"kubeletidentity": map[string]any{"objectId": "kubelet-principal"}}
	}
	r := &recorder{registered: map[string]map[string]any{}, kubelet: kubelet}
	err = pulumi.RunErr(SettingsOf(c, names).program((*builder).cluster), pulumi.WithMocks("modelops", "dev-cluster", r))
	return r.registered, err
}

// Every key of the section reaches what is asked of Azure.
func TestEveryClusterKey(t *testing.T) {
	before, err := register(t, "{}", nil)
	if err != nil {
		t.Fatal(err)
	}
	const pools = `{node_pools: [{name: system, mode: system, vm_size: Standard_D2s_v5}, {name: workers, vm_size: Standard_D8s_v5%s}]}`
	plain, err := register(t, fmt.Sprintf(pools, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{
		"name": "{name: another}", "existing": "{existing: true, name: theirs}", "resource_group": "{existing: true, name: theirs, resource_group: platform}",
		"kubernetes_version": `{kubernetes_version: "1.33"}`, "upgrade_channel": "{upgrade_channel: none}", "tier": "{tier: Standard}", "auth": "{auth: identity}",
		"private": "{private: true}", "authorized_ip_ranges": "{authorized_ip_ranges: [203.0.113.0/24]}", "network_policy": "{network_policy: none}",
		"pod_cidr": "{pod_cidr: 10.128.0.0/14}", "service_cidr": "{service_cidr: 172.16.0.0/16}", "node_pools": fmt.Sprintf(pools, ""),
	}
	for _, key := range config.Keys() {
		if key.Section() != "cluster" {
			continue
		}
		got, err := register(t, values[key.Name()], nil)
		if values[key.Name()] == "" || err != nil || cmp.Equal(before, got) {
			t.Errorf("%s changes nothing: %v", key.Path, err)
		}
	}
	ofPools := map[string]string{
		"name": "", "vm_size": "", // required: what there is without them is refused
		"mode": "mode: system", "count": "count: 3", "min": "min: 2, max: 5", "max": "max: 5", "disk_gb": "disk_gb: 200", "disk_type": "disk_type: ephemeral",
		"spot": "spot: true", "zones": "zones: [1, 3]", "labels": "labels: {a: b}", "taints": "taints: ['a=b:NoSchedule']",
	}
	for _, key := range config.PoolKeys() {
		value, known := ofPools[key.Name()]
		if !known {
			t.Errorf("nothing is known of %s", key.Path)
		}
		if value == "" {
			continue
		}
		got, err := register(t, fmt.Sprintf(pools, ", "+value), nil)
		if err != nil || cmp.Equal(plain["pool-workers"], got["pool-workers"]) {
			t.Errorf("%s changes nothing: %v", key.Path, err)
		}
	}
}

// What is made of a configuration that says nothing, in the properties that matter.
func TestClusterProgram(t *testing.T) {
	got, err := register(t, "{}", nil)
	if err != nil {
		t.Fatal(err)
	}
	cluster := got["cluster"]
	for key, want := range map[string]any{
		"resourceName": "modelops-dev-aks-a1f2", "dnsPrefix": "modelops-dev-aks-a1f2", "disableLocalAccounts": false,
		"oidcIssuerProfile": map[string]any{"enabled": true},
		"securityProfile":   map[string]any{"workloadIdentity": map[string]any{"enabled": true}},
		"networkProfile": map[string]any{"networkPlugin": "azure", "networkPluginMode": "overlay", "networkPolicy": "cilium", "networkDataplane": "cilium",
			"loadBalancerSku": "standard", "podCidr": "10.244.0.0/16", "serviceCidr": "10.0.0.0/16", "dnsServiceIP": "10.0.0.10"},
	} {
		if diff := cmp.Diff(want, cluster[key]); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	workers := map[string]any{
		"resourceGroupName": "modelops-dev-rg-vsb", "resourceName": "modelops-dev-aks-a1f2", "agentPoolName": "workers", "mode": "User", "vmSize": "Standard_D8s_v5",
		"osType": "Linux", "type": "VirtualMachineScaleSets", "osDiskType": "Managed", "count": 0.0, "enableAutoScaling": true, "minCount": 0.0, "maxCount": 10.0,
		"nodeLabels": map[string]any{"modelops.io/role": "cpu"}, "nodeTaints": []any{"modelops.io/role=cpu:NoSchedule"},
	}
	if diff := cmp.Diff(workers, got["pool-workers"]); diff != "" {
		t.Error(diff)
	}
	for _, account := range []string{"modelops-worker", "modelops-driver"} {
		if subject := got["federation-"+account]["subject"]; subject != "system:serviceaccount:modelops-dask-dev:"+account {
			t.Error(subject)
		}
	}
	for _, want := range []struct{ name, scope, role, principal string }{
		{"kubelet-pull", "/registries/modelopsdevacrvsb", acrPull, "kubelet-principal"},
		{"worker-pull", "/registries/modelopsdevacrvsb", acrPull, "worker-principal"},
		{"worker-storage", "/containers/bundle-blobs", blobContributor, "worker-principal"},
	} {
		a := got[want.name]
		scope, _ := a["scope"].(string)
		role, _ := a["roleDefinitionId"].(string)
		if !strings.HasSuffix(scope, want.scope) || !strings.HasSuffix(role, want.role) || a["principalId"] != want.principal || a["principalType"] != "ServicePrincipal" {
			t.Errorf("%s: %v", want.name, a)
		}
		if a["roleAssignmentName"] != assignment(scope, want.role, want.principal) {
			t.Errorf("%s is called %v", want.name, a["roleAssignmentName"])
		}
	}
	if got["cluster-access"] != nil {
		t.Error("somebody has a role in a cluster that knows no identities")
	}
	if got, err = register(t, "{auth: identity}", nil); err != nil || got["cluster-access"]["principalId"] != "me" {
		t.Error(got["cluster-access"], err)
	}
	if got, err = register(t, "{existing: true, name: theirs}", nil); err != nil || got["cluster-access"] != nil || got["cluster"] != nil {
		t.Error("what is theirs is changed", err)
	}
}

// The identity of the nodes is found however Azure's versions spell it, or said not to be.
func TestKubeletIdentity(t *testing.T) {
	for _, profile := range []map[string]any{
		{"kubeletidentity": map[string]any{"objectId": "kubelet-principal"}},
		{"kubeletIdentity": map[string]any{"objectID": "kubelet-principal"}},
		{"kubelet_identity": map[string]any{"object_id": "kubelet-principal"}},
	} {
		got, err := register(t, "{}", profile)
		if err != nil || got["kubelet-pull"]["principalId"] != "kubelet-principal" {
			t.Error(profile, got["kubelet-pull"], err)
		}
	}
	for _, profile := range []map[string]any{{}, {"kubeletidentity": map[string]any{}}, {"kubeletidentity": "x"}} {
		if id, err := kubeletIdentity(profile); err == nil {
			t.Errorf("%v is %s", profile, id)
		}
	}
}

func TestSignIn(t *testing.T) {
	text, err := signIn("current-context: dev\nclusters: [{name: dev, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {exec: {command: kubelogin}}}]\n")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	user := got["users"].([]any)[0].(map[string]any)
	exec := user["user"].(map[string]any)["exec"].(map[string]any)
	if user["name"] != "u" || exec["command"] != "mops" || got["current-context"] != "dev" || strings.Contains(string(text), "kubelogin") {
		t.Error(string(text))
	}
	const certificate = "current-context: dev\nusers: [{name: u, user: {token: t}}]\n"
	if text, err = signIn(certificate); err != nil || text != certificate {
		t.Error(text, err)
	}
	for _, wrong := range []string{"", "x", "current-context: --kubeconfig", "token: secret"} {
		_, err := currentContext(wrong)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// A change is told by the property, or by what is in it, and a preview's guesses are left out.
func TestChanges(t *testing.T) {
	if got := within([]string{"networkProfile.podCidr", "tags", "identityX", "agentPools[0]"}, []string{"networkProfile", "identity", "agentPools"}); !cmp.Equal(got, []string{"networkProfile.podCidr", "agentPools[0]"}) {
		t.Error(got)
	}
	guess := engine.Change{Name: "kubelet-pull", Type: assignmentType, Op: engine.Replace}
	for _, row := range []struct {
		all  []engine.Change
		want bool
	}{
		{[]engine.Change{guess}, false},
		{[]engine.Change{guess, {Name: clusterName, Op: engine.Update}}, true},
		{[]engine.Change{guess, {Name: clusterName, Op: engine.Create}}, false},
		{[]engine.Change{guess, {Name: identityName, Op: engine.Create}, {Name: clusterName, Op: engine.Update}}, false},
	} {
		if got := uncertain(guess, row.all); got != row.want {
			t.Errorf("%v: %v", row.all, got)
		}
	}
}
