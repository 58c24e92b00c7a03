package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The version of the API that clusters are served by, and its function.
const (
	containerService = "azure-native:containerservice/v20240501:"
	userCall         = containerService + "listManagedClusterUserCredentials"
)

const clusterPlace = "/resourceGroups/{resourceGroupName}/providers/Microsoft.ContainerService/managedClusters/{resourceName}"

// fixedOfPools are the properties of a pool that Azure refuses to change.
func fixedOfPools() []string {
	return []string{"vmSize", "osDiskSizeGB", "osDiskType", "availabilityZones", "scaleSetPriority", "scaleSetEvictionPolicy", "spotMaxPrice", "osType", "type"}
}

// clusterKinds are the types of a cluster, and of the identities of its pods.
func clusterKinds(group, location, tags property) map[string]kind {
	flag, resource := property{flag: true}, must(text(`[a-zA-Z0-9](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?`))
	version := text(`[1-9][0-9]*\.[0-9]+(?:\.[0-9]+)?`)
	enabled := must(object(map[string]property{"enabled": must(flag)}))
	pool := poolProperties(version, tags)
	profile := maps.Clone(pool)
	profile["name"] = must(text(`[a-z][a-z0-9]{0,11}`))
	beside := maps.Clone(pool)
	maps.Copy(beside, map[string]property{"resourceGroupName": group, "resourceName": resource, "agentPoolName": must(text(`[a-z][a-z0-9]{0,11}`))})
	const identity = "/resourceGroups/{resourceGroupName}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{resourceName}"
	return map[string]kind{
		containerService + "ManagedCluster": {
			id: clusterPlace,
			properties: map[string]property{
				"resourceGroupName": group, "resourceName": resource, "location": location, "tags": tags,
				"dnsPrefix": must(text(`[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,52}[a-zA-Z0-9])?`)), "nodeResourceGroup": text(`[-\w.()]{1,80}`),
				"sku":                  object(map[string]property{"name": must(one("Base")), "tier": must(one("Free", "Standard", "Premium"))}),
				"identity":             must(object(map[string]property{"type": must(one("SystemAssigned"))})),
				"kubernetesVersion":    version,
				"enableRBAC":           flag,
				"disableLocalAccounts": flag,
				"aadProfile":           object(map[string]property{"managed": must(flag), "enableAzureRBAC": flag}),
				"oidcIssuerProfile":    enabled,
				"securityProfile":      object(map[string]property{"workloadIdentity": enabled}),
				"autoUpgradeProfile": object(map[string]property{"upgradeChannel": one("rapid", "stable", "patch", "node-image", "none"),
					"nodeOSUpgradeChannel": one("None", "Unmanaged", "NodeImage", "SecurityPatch")}),
				"networkProfile": object(map[string]property{
					"networkPlugin": must(one("azure", "kubenet", "none")), "networkPluginMode": one("overlay"), "networkPolicy": one("calico", "azure", "cilium"),
					"networkDataplane": one("azure", "cilium"), "loadBalancerSku": one("standard"), "podCidr": text(cidr), "serviceCidr": text(cidr), "dnsServiceIP": text(address),
				}),
				"apiServerAccessProfile": object(map[string]property{"enablePrivateCluster": flag, "authorizedIPRanges": list(text(cidr))}),
				"agentPoolProfiles":      must(list(object(profile))),
			},
			replaces: []string{"resourceGroupName", "resourceName", "location", "dnsPrefix", "nodeResourceGroup", "networkProfile", "apiServerAccessProfile.enablePrivateCluster"},
			outputs:  clusterOutputs, create: newCluster, update: changeCluster, made: firstPools, read: withPools,
		},
		containerService + "AgentPool": {
			id: clusterPlace + "/agentPools/{agentPoolName}", properties: beside,
			replaces: append([]string{"resourceGroupName", "resourceName", "agentPoolName"}, fixedOfPools()...),
			create:   func(_ contents, made *thing) error { return soundPool(made.Inputs) },
			update:   changePool, remove: removePool,
		},
		"azure-native:managedidentity:UserAssignedIdentity": {
			id:         identity,
			properties: map[string]property{"resourceGroupName": group, "resourceName": must(text(`[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}`)), "location": location, "tags": tags},
			replaces:   []string{"resourceGroupName", "resourceName", "location"},
			outputs: func(t *thing, _ string) map[string]any {
				return map[string]any{"principalId": t.Self, "clientId": clientOf(t.Self), "tenantId": tenant}
			},
		},
		"azure-native:managedidentity:FederatedIdentityCredential": {
			id: identity + "/federatedIdentityCredentials/{federatedIdentityCredentialResourceName}",
			properties: map[string]property{
				"resourceGroupName": group, "resourceName": must(text(`[a-zA-Z0-9_-]{3,128}`)), "federatedIdentityCredentialResourceName": must(text(`[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}`)),
				"issuer": must(text(`https://.+`)), "subject": must(text(`system:serviceaccount:[a-z0-9-]{1,63}:[a-z0-9-]+`)), "audiences": must(list(text(`\S+`))),
			},
			replaces: []string{"resourceGroupName", "resourceName", "federatedIdentityCredentialResourceName"},
			create:   federate,
		},
	}
}

const (
	address = `\d+\.\d+\.\d+\.\d+`
	cidr    = address + `/\d+`
)

func poolProperties(version, tags property) map[string]property {
	flag, number := property{flag: true}, property{number: true}
	return map[string]property{
		"mode": must(one("System", "User")), "vmSize": must(text(`Standard_[A-Za-z0-9_-]+`)), "osType": one("Linux", "Windows"), "type": one("VirtualMachineScaleSets"),
		"count": number, "enableAutoScaling": flag, "minCount": number, "maxCount": number,
		"osDiskSizeGB": number, "osDiskType": one("Managed", "Ephemeral"), "availabilityZones": list(one("1", "2", "3")),
		"scaleSetPriority": one("Spot", "Regular"), "scaleSetEvictionPolicy": one("Delete", "Deallocate"), "spotMaxPrice": number,
		"nodeLabels": tags, "nodeTaints": list(text(`[^=:]+(?:=[^:]*)?:(?:NoSchedule|PreferNoSchedule|NoExecute)`)), "orchestratorVersion": version,
	}
}

// soundPool refuses what Azure refuses of a pool as a whole.
func soundPool(inputs map[string]any) error {
	n := func(key string) float64 { value, _ := inputs[key].(float64); return value }
	system := inputs["mode"] == "System"
	switch scales, _ := inputs["enableAutoScaling"].(bool); {
	case scales && (n("maxCount") < 1 || n("minCount") > n("maxCount") || n("count") < n("minCount") || n("count") > n("maxCount")):
		return failure(400, "InvalidParameter", "The value of parameter agentPoolProfile.count should be between min-count and max-count.")
	case !scales && (inputs["minCount"] != nil || inputs["maxCount"] != nil):
		return failure(400, "InvalidParameter", "min-count and max-count need enableAutoScaling.")
	case system && (n("count") < 1 || scales && n("minCount") < 1):
		return failure(400, "InvalidParameter", "System node pools require at least 1 node.")
	case system && inputs["scaleSetPriority"] == "Spot":
		return failure(400, "InvalidParameter", "A Spot pool can't be a cluster's system node pool.")
	}
	return nil
}

func newCluster(_ contents, made *thing) error {
	profiles, _ := made.Inputs["agentPoolProfiles"].([]any)
	system := false
	for _, p := range profiles {
		profile, _ := p.(map[string]any)
		system = system || profile["mode"] == "System"
		if err := soundPool(profile); err != nil {
			return err
		}
	}
	if !system {
		return failure(400, "InvalidParameter", "There has to be at least one system agent pool.")
	}
	return nil
}

// firstPools come into being with their cluster, and are resources of their own.
func firstPools(all contents, t *thing, did func(operation, id string)) {
	profiles, _ := t.Inputs["agentPoolProfiles"].([]any)
	for _, p := range profiles {
		profile, _ := p.(map[string]any)
		inputs := maps.Clone(profile)
		delete(inputs, "name")
		maps.Copy(inputs, map[string]any{"resourceGroupName": t.Inputs["resourceGroupName"], "resourceName": t.Inputs["resourceName"], "agentPoolName": profile["name"]})
		pool := &thing{ID: t.ID + "/agentPools/" + profile["name"].(string), Type: containerService + "AgentPool", Inputs: inputs}
		all[strings.ToLower(pool.ID)] = pool
		did("create", pool.ID)
	}
}

// pools are those of a cluster, by name. Roles that are given in it lie in it too.
func (all contents) pools(cluster string) []*thing {
	var pools []*thing
	for _, id := range slices.Sorted(slices.Values(all.children(cluster))) {
		if t := all[id]; t.Type == containerService+"AgentPool" {
			pools = append(pools, t)
		}
	}
	return pools
}

// withPools are a cluster's inputs with the pools that it has.
func withPools(all contents, t *thing) map[string]any {
	inputs := maps.Clone(t.Inputs)
	profiles := []any{}
	for _, pool := range all.pools(t.ID) {
		profile := maps.Clone(pool.Inputs)
		profile["name"] = profile["agentPoolName"]
		for _, key := range []string{"resourceGroupName", "resourceName", "agentPoolName"} {
			delete(profile, key)
		}
		profiles = append(profiles, profile)
	}
	inputs["agentPoolProfiles"] = profiles
	return inputs
}

func changeCluster(_ contents, t *thing, inputs map[string]any) error {
	was, _ := t.Inputs["kubernetesVersion"].(string)
	is, _ := inputs["kubernetesVersion"].(string)
	if was != "" && is != "" && older(is, was) {
		return failure(400, "OperationNotAllowed", "Upgrading Kubernetes version %s to %s is not allowed.", was, is)
	}
	if t.Inputs["aadProfile"] != nil && inputs["aadProfile"] == nil {
		return failure(400, "BadRequest", "Disabling managed AAD is not allowed.")
	}
	return nil
}

// older says whether a version is before another one.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m < n
		}
	}
	return false
}

func changePool(_ contents, t *thing, inputs map[string]any) error {
	for _, key := range fixedOfPools() {
		if fmt.Sprint(t.Inputs[key]) != fmt.Sprint(inputs[key]) {
			return failure(400, "PropertyChangeNotAllowed", "Changing property 'properties.%s' is not allowed.", key)
		}
	}
	return soundPool(inputs)
}

// removePool refuses to leave a cluster without a system pool.
func removePool(all contents, t *thing) error {
	for _, other := range all.pools(parent(t.ID)) {
		if other != t && other.Inputs["mode"] == "System" {
			return nil
		}
	}
	if t.Inputs["mode"] == "System" {
		return failure(400, "OperationNotAllowed", "There has to be at least one system agent pool.")
	}
	return nil
}

func clusterOutputs(t *thing, name string) map[string]any {
	return map[string]any{
		"provisioningState": "Succeeded", "fqdn": name + "-1a2b3c4d.hcp.eastus2.azmk8s.io",
		"oidcIssuerProfile": map[string]any{"enabled": true, "issuerURL": "https://eastus2.oic.prod-aks.azure.com/" + tenant + "/" + t.Self + "/"},
		"identityProfile":   map[string]any{"kubeletidentity": map[string]any{"objectId": t.Self, "resourceId": t.ID + "-agentpool"}},
	}
}

// federate refuses what stands for the same account already.
func federate(all contents, made *thing) error {
	for _, id := range all.children(parent(made.ID)) {
		if other := all[id]; other.Inputs["issuer"] == made.Inputs["issuer"] && other.Inputs["subject"] == made.Inputs["subject"] {
			return failure(409, "Conflict", "Issuer and subject combination already exists for this Managed Identity.")
		}
	}
	return nil
}

// kubeconfig is how to reach a cluster: with a token of its own, or, where its users are
// the directory's, as somebody whom a program signs in.
func kubeconfig(t *thing) (map[string]any, error) {
	if t == nil {
		return nil, failure(404, "ResourceNotFound", "The cluster was not found.")
	}
	return map[string]any{"kubeconfigs": []any{map[string]any{"name": "clusterUser", "value": base64.StdEncoding.EncodeToString(kubeconfigText(t))}}}, nil
}

func kubeconfigText(t *thing) []byte {
	name := t.ID[strings.LastIndex(t.ID, "/")+1:]
	sign := "{token: " + t.Keys[0] + "}"
	if t.Inputs["aadProfile"] != nil {
		sign = `{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: kubelogin, args: [get-token]}}`
	}
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- {name: %s, cluster: {server: "https://%s-1a2b3c4d.hcp.eastus2.azmk8s.io:443"}}
contexts:
- {name: %s, context: {cluster: %s, user: them}}
current-context: %s
users:
- {name: them, user: %s}
`, name, name, name, name, name, sign)
}

// clientOf is the client ID of an identity: another one than its object's. There is none
// of one that was not made.
func clientOf(self string) string {
	if self == "" {
		return ""
	}
	return "c" + self[1:]
}
