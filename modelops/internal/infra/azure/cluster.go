package azure

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
)

// The outputs of the cluster's program.
const (
	outKubeconfig = "kubeconfig" // secret
	outIssuer     = "oidc_issuer"
	outClientID   = "worker_client_id"
	outTenantID   = "worker_tenant_id"
)

// cluster is what jobs run on: the cluster, its pools, and the identity of the pods that
// run tasks, with the roles that they need. What it stands on is there: data made it.
func (b *builder) cluster() error {
	cluster, err := b.theCluster()
	if err != nil {
		return err
	}
	b.Export(outKubeconfig, pulumi.ToSecret(cluster.ID().ApplyT(func(id pulumi.ID) (string, error) {
		return b.kubeconfig(string(id))
	})))
	issuer := cluster.OIDC.ApplyT(b.issuer).(pulumi.StringOutput)
	b.Export(outIssuer, issuer)
	kubelet := cluster.Kubelet.ApplyT(kubeletIdentity).(pulumi.StringOutput)
	if err := b.grant("kubelet-pull", grant{b.registryID(), acrPull, kubelet, true}, cluster); err != nil {
		return err
	}
	if err := b.workerIdentity(issuer); err != nil {
		return err
	}
	if b.Cluster.Auth != config.Identity { // or it is somebody else's
		return nil
	}
	who, err := b.who()
	if err != nil {
		return err
	}
	return b.grant("cluster-access", grant{scope: b.clusterID(), role: clusterAdmin, to: pulumi.String(who).ToStringOutput()}, cluster)
}

// theCluster is the cluster with its pools.
func (b *builder) theCluster() (*cloudResource, error) {
	if b.Cluster.Adopt != "" {
		return b.find(clusterType, clusterName, b.Cluster.Adopt)
	}
	// Its first pool is born with it, and from then on a resource of its own like the
	// others, which the properties of the cluster say nothing of.
	properties, ignored := b.clusterProperties(), []string{"agentPoolProfiles"}
	if b.Cluster.KubernetesVersion == "" {
		ignored = append(ignored, "kubernetesVersion")
	}
	cluster, err := b.make(clusterType, clusterName, properties, pulumi.IgnoreChanges(ignored))
	if err != nil {
		return nil, err
	}
	for _, pool := range b.Cluster.Pools() {
		if err := b.pool(cluster, pool); err != nil {
			return nil, err
		}
	}
	return cluster, nil
}

// dnsLength is how long the first part of the API server's host may be.
const dnsLength = 54

func (b *builder) clusterProperties() pulumi.Map {
	c := b.Cluster
	enabled := pulumi.Map{"enabled": pulumi.Bool(true)}
	properties := pulumi.Map{
		"resourceGroupName": pulumi.String(b.Group),
		"resourceName":      pulumi.String(c.Name),
		"location":          pulumi.String(b.Location),
		"tags":              pulumi.ToStringMap(b.tags()),
		"dnsPrefix":         pulumi.String(c.Name[:min(dnsLength, len(c.Name))]),
		// By default it is made of three names, and too long when they are.
		"nodeResourceGroup":    pulumi.String(c.Name + "-nodes"),
		"sku":                  pulumi.Map{"name": pulumi.String("Base"), "tier": pulumi.String(c.Tier)},
		"identity":             pulumi.Map{"type": pulumi.String("SystemAssigned")},
		"enableRBAC":           pulumi.Bool(true),
		"disableLocalAccounts": pulumi.Bool(c.Auth == config.Identity),
		"oidcIssuerProfile":    enabled,
		"securityProfile":      pulumi.Map{"workloadIdentity": enabled},
		"autoUpgradeProfile":   upgrades(c.UpgradeChannel),
		"networkProfile":       b.network(),
		"apiServerAccessProfile": pulumi.Map{
			"enablePrivateCluster": pulumi.Bool(c.Private),
			"authorizedIPRanges":   pulumi.ToStringArray(c.AuthorizedIPRanges),
		},
		"agentPoolProfiles": pulumi.Array{b.firstPool()},
	}
	if c.KubernetesVersion != "" {
		properties["kubernetesVersion"] = pulumi.String(c.KubernetesVersion)
	}
	if c.Auth == config.Identity {
		properties["aadProfile"] = pulumi.Map{"managed": pulumi.Bool(true), "enableAzureRBAC": pulumi.Bool(true)}
	}
	return properties
}

// upgrades are Azure's two channels for one of the configuration's.
func upgrades(channel string) pulumi.Map {
	nodes := "NodeImage"
	if channel == "none" {
		nodes = "None"
	}
	if channel == "node-image" {
		channel = "none" // of Kubernetes itself
	}
	return pulumi.Map{"upgradeChannel": pulumi.String(channel), "nodeOSUpgradeChannel": pulumi.String(nodes)}
}

func (b *builder) network() pulumi.Map {
	network := pulumi.Map{
		"networkPlugin":     pulumi.String("azure"),
		"networkPluginMode": pulumi.String("overlay"),
		"loadBalancerSku":   pulumi.String("standard"),
		"podCidr":           pulumi.String(b.Cluster.PodCIDR),
		"serviceCidr":       pulumi.String(b.Cluster.ServiceCIDR),
		"dnsServiceIP":      pulumi.String(tenth(b.Cluster.ServiceCIDR)),
	}
	switch policy := b.Cluster.NetworkPolicy; policy {
	case "none":
	case "cilium":
		network["networkDataplane"] = pulumi.String(policy)
		fallthrough
	default:
		network["networkPolicy"] = pulumi.String(policy)
	}
	return network
}

// tenth is the tenth address of a network.
func tenth(cidr string) string {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return ""
	}
	address := prefix.Addr()
	for range 10 {
		address = address.Next()
	}
	return address.String()
}

// birthPool is the pool that the cluster is made with: a system pool.
func (s Settings) birthPool() config.NodePool {
	for _, pool := range s.Cluster.Pools() {
		if pool.Mode == config.SystemPool {
			return pool
		}
	}
	return config.NodePool{} // the configuration has one
}

func (b *builder) firstPool() pulumi.Map {
	pool := b.birthPool()
	profile := b.poolProperties(pool)
	profile["name"] = pulumi.String(pool.Name)
	return profile
}

// poolProperties are those that a pool has both within its cluster and beside it.
func (b *builder) poolProperties(p config.NodePool) pulumi.Map {
	properties := pulumi.Map{
		"mode":       pulumi.String(strings.ToUpper(p.Mode[:1]) + p.Mode[1:]),
		"vmSize":     pulumi.String(p.VMSize),
		"osType":     pulumi.String("Linux"),
		"type":       pulumi.String("VirtualMachineScaleSets"),
		"osDiskType": pulumi.String(strings.ToUpper(p.DiskType[:1]) + p.DiskType[1:]),
		"count":      pulumi.Int(int(p.Count)),
		"nodeLabels": pulumi.ToStringMap(p.Labels),
		"nodeTaints": taints(p),
	}
	if p.Scales() {
		properties["count"], properties["enableAutoScaling"] = pulumi.Int(int(p.Min)), pulumi.Bool(true)
		properties["minCount"], properties["maxCount"] = pulumi.Int(int(p.Min)), pulumi.Int(int(p.Max))
	}
	if p.DiskGB > 0 {
		properties["osDiskSizeGB"] = pulumi.Int(int(p.DiskGB))
	}
	if p.Spot {
		properties["scaleSetPriority"], properties["scaleSetEvictionPolicy"] = pulumi.String("Spot"), pulumi.String("Delete")
		properties["spotMaxPrice"] = pulumi.Int(-1) // that of other machines
	}
	if len(p.Zones) > 0 {
		zones := pulumi.StringArray{}
		for _, zone := range p.Zones {
			zones = append(zones, pulumi.String(strconv.FormatInt(zone, 10)))
		}
		properties["availabilityZones"] = zones
	}
	if version := b.Cluster.KubernetesVersion; version != "" {
		properties["orchestratorVersion"] = pulumi.String(version)
	}
	return properties
}

// taints are the pool's, and that which Azure gives to spot machines.
func taints(p config.NodePool) pulumi.StringArray {
	taints := pulumi.StringArray{}
	for _, t := range p.Taints {
		taints = append(taints, pulumi.String(t.String()))
	}
	if p.Spot {
		taints = append(taints, pulumi.String("kubernetes.azure.com/scalesetpriority=spot:NoSchedule"))
	}
	return taints
}

// pool registers a pool. What Azure chose where the configuration says nothing, and how
// many nodes one has that grows and shrinks by itself, is nobody's mistake.
func (b *builder) pool(cluster *cloudResource, p config.NodePool) error {
	properties := b.poolProperties(p)
	for key, value := range map[string]string{"resourceGroupName": b.Group, "resourceName": b.Cluster.Name, "agentPoolName": p.Name} {
		properties[key] = pulumi.String(value)
	}
	ignored := []string{"maxPods", "kubeletDiskType", "osSKU", "powerState", "enableFIPS", "securityProfile", "upgradeSettings"}
	for _, key := range []string{"osDiskSizeGB", "orchestratorVersion"} {
		if properties[key] == nil {
			ignored = append(ignored, key)
		}
	}
	if p.Scales() {
		ignored = append(ignored, "count")
	}
	_, err := b.make(poolType, poolPrefix+p.Name, properties, pulumi.IgnoreChanges(ignored), pulumi.DependsOn([]pulumi.Resource{cluster}), pulumi.DeletedWith(cluster))
	return err
}

// workerIdentity is who the pods are that run tasks: their service accounts, signed by
// the cluster, stand for it.
func (b *builder) workerIdentity(issuer pulumi.StringOutput) error {
	identity, err := b.make(identityType, identityName, pulumi.Map{
		"resourceGroupName": pulumi.String(b.Group), "resourceName": pulumi.String(b.workers()),
		"location": pulumi.String(b.Location), "tags": pulumi.ToStringMap(b.tags()),
	})
	if err != nil {
		return err
	}
	b.Export(outClientID, identity.ClientID)
	b.Export(outTenantID, identity.TenantID)
	// Azure takes one at a time.
	after := identity
	for _, account := range infra.ServiceAccounts() {
		if after, err = b.make(federationType, federationName+account, pulumi.Map{
			"resourceGroupName": pulumi.String(b.Group), "resourceName": pulumi.String(b.workers()),
			"federatedIdentityCredentialResourceName": pulumi.String(account),
			"issuer":    issuer,
			"subject":   pulumi.String("system:serviceaccount:" + b.Cluster.Namespace + ":" + account),
			"audiences": pulumi.ToStringArray([]string{"api://AzureADTokenExchange"}),
		}, pulumi.DependsOn([]pulumi.Resource{after}), pulumi.DeletedWith(identity)); err != nil {
			return err
		}
	}
	if err := b.grant("worker-pull", grant{b.registryID(), acrPull, identity.PrincipalID, true}, identity); err != nil || !b.Storage.Identity {
		return err
	}
	return b.grant("worker-storage", grant{b.containerID(), blobContributor, identity.PrincipalID, true}, identity)
}

// issuer is who signs the tokens of a cluster's service accounts.
func (b *builder) issuer(profile map[string]any) (string, error) {
	if url, _ := profile["issuerURL"].(string); url != "" {
		return url, nil
	}
	return "", fmt.Errorf("the cluster %s has no OIDC issuer, by which workers sign in: az aks update --enable-oidc-issuer --enable-workload-identity --ids %s", b.Cluster.Name, b.clusterID())
}

// kubeletIdentity is the object ID of who pulls images. Versions of Azure's API spell the
// keys in different ways.
func kubeletIdentity(profile map[string]any) (string, error) {
	kubelet, _ := spelled(profile, "kubeletidentity").(map[string]any)
	if id, _ := spelled(kubelet, "objectid").(string); id != "" {
		return id, nil
	}
	return "", errors.New("azure does not say which identity the nodes of the cluster have")
}

// spelled is the value of a key, however it is written.
func spelled(m map[string]any, key string) any {
	for written, value := range m {
		if strings.ToLower(strings.ReplaceAll(written, "_", "")) == key {
			return value
		}
	}
	return nil
}

// kubeconfig is how programs reach the cluster: with a certificate, or, where its users are
// Azure's, by a program that signs in.
func (b *builder) kubeconfig(id string) (string, error) {
	group, name := split(id)
	var found struct {
		Kubeconfigs []struct {
			Value string `pulumi:"value"` // base 64
		} `pulumi:"kubeconfigs"`
	}
	args := struct {
		Group  string `pulumi:"resourceGroupName"`
		Name   string `pulumi:"resourceName"`
		Format string `pulumi:"format"`
	}{group, name, "exec"}
	if err := b.Invoke(userCall, &args, &found, pulumi.Provider(b.provider), pulumi.Version(pluginVersion)); err != nil {
		return "", err
	}
	if len(found.Kubeconfigs) == 0 {
		return "", fmt.Errorf("azure gives no kubeconfig of cluster %s", name)
	}
	text, err := base64.StdEncoding.DecodeString(found.Kubeconfigs[0].Value)
	if err != nil {
		return "", fmt.Errorf("the kubeconfig of cluster %s is not in base64", name)
	}
	return string(text), nil
}
