package config

import (
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// The section of the cluster, and the key of its pools.
const (
	clusterSection = "cluster"
	poolsKey       = "cluster.node_pools"
)

const (
	versionPattern = `^[1-9][0-9]*\.[0-9]+(\.[0-9]+)?$`
	vmSizePattern  = `^[A-Z][A-Za-z0-9]*(_[A-Za-z0-9-]+)+$`
)

func clusterKeys() []Key {
	keys := adoptableKeys(clusterSection, "cluster", "The cluster's name", name.Cluster(), func(c *Config) adopted {
		return adopted{&c.Cluster.Name, &c.Cluster.Existing, &c.Cluster.ResourceGroup}
	})
	return append(append(keys, []Key{
		{
			Path: "cluster.kubernetes_version", Kind: contracts.KindString, Pattern: versionPattern,
			Doc:  "In quotes, as in `\"1.33\"`: the version that is made, and upgraded to. Absent: Azure's default when it is made",
			at:   func(c *Config) any { return &c.Cluster.KubernetesVersion },
			rule: matching(versionPattern, "is not a version of Kubernetes", "write it as in \"1.33\"; az aks get-versions --location REGION --output table"),
		},
		{
			Path: "cluster.upgrade_channel", Kind: contracts.KindString, Words: []string{"node-image", "none", "patch", "rapid", "stable"}, Default: "patch",
			Doc: "What Azure upgrades by itself: nothing; node images; those and patches of the version; those and minor versions, one behind (`stable`) or the newest (`rapid`)",
			at:  func(c *Config) any { return &c.Cluster.UpgradeChannel },
		},
		{
			Path: "cluster.tier", Kind: contracts.KindString, Words: []string{"Free", "Standard"}, Default: "Free",
			Doc: "`Standard` has a promised availability of the API server, and costs by the hour",
			at:  func(c *Config) any { return &c.Cluster.Tier },
		},
		{
			Path: "cluster.auth", Kind: contracts.KindString, Words: []string{Certificate, Identity}, Default: Certificate,
			Doc: "How programs sign in: with an administrator's certificate, in the kubeconfig, or as who they are, with Azure's roles and no account of the cluster's own",
			at:  func(c *Config) any { return &c.Cluster.Auth },
		},
	}...), clusterNetworkKeys()...)
}

func clusterNetworkKeys() []Key {
	return []Key{
		{
			Path: "cluster.private", Kind: contracts.KindBool, Default: "false",
			Doc: "The API server has an address in the cluster's network only",
			at:  func(c *Config) any { return &c.Cluster.Private },
		},
		{
			Path: "cluster.authorized_ip_ranges", Kind: contracts.KindList,
			Doc: "The networks that reach the API server, as in `[203.0.113.0/24]`. Absent: all",
			at:  func(c *Config) any { return &c.Cluster.AuthorizedIPRanges },
		},
		{
			Path: "cluster.network_policy", Kind: contracts.KindString, Words: []string{"calico", "cilium", "none"}, Default: "cilium",
			Doc: "What enforces network policies. Pods have addresses of an overlay (Azure CNI)",
			at:  func(c *Config) any { return &c.Cluster.NetworkPolicy },
		},
		{
			Path: "cluster.pod_cidr", Kind: contracts.KindString, Default: "10.244.0.0/16",
			Doc:  "The addresses of pods. They need not be unique beyond the cluster",
			at:   func(c *Config) any { return &c.Cluster.PodCIDR },
			rule: network,
		},
		{
			Path: "cluster.service_cidr", Kind: contracts.KindString, Default: "10.0.0.0/16",
			Doc:  "The addresses of services; the tenth is the cluster's DNS",
			at:   func(c *Config) any { return &c.Cluster.ServiceCIDR },
			rule: network,
		},
		{
			Path: poolsKey, Kind: contracts.KindList,
			Doc: "The machines, see below. Absent: `system`, one Standard_D2s_v5, and `workers`, 0 to 10 Standard_D8s_v5 with the label and the taint `modelops.io/role=cpu`",
			at:  func(c *Config) any { return &c.Cluster.NodePools },
		},
	}
}

// PoolKeys are the keys of each pool.
func PoolKeys() []KeyOf[NodePool] {
	const at = poolsKey + "[]."
	return []KeyOf[NodePool]{
		{
			Path: at + "name", Kind: contracts.KindString, Pattern: name.NodePool().Pattern,
			Doc: "Required: a lower-case letter, and up to 11 of those and digits",
			at:  func(p *NodePool) any { return &p.Name }, rule: poolName,
		},
		{
			Path: at + "mode", Kind: contracts.KindString, Words: []string{SystemPool, UserPool}, Default: UserPool,
			Doc: "`system` for what the cluster needs itself, of which there is at least one",
			at:  func(p *NodePool) any { return &p.Mode },
		},
		{
			Path: at + "vm_size", Kind: contracts.KindString, Pattern: vmSizePattern,
			Doc:  "Required: the kind of machine, as in `Standard_D8s_v5`",
			at:   func(p *NodePool) any { return &p.VMSize },
			rule: matching(vmSizePattern, "is not the name of a size", "such as Standard_D8s_v5; az vm list-skus --location REGION --output table"),
		},
		{
			Path: at + "count", Kind: contracts.KindInt, Max: maxNodes, Default: "1",
			Doc: "How many nodes, always. Not beside `min` and `max`",
			at:  func(p *NodePool) any { return &p.Count },
		},
		{
			Path: at + "min", Kind: contracts.KindInt, Max: maxNodes, Default: "0",
			Doc: "The least nodes; 0 costs nothing while nothing runs, and is for mode `user`",
			at:  func(p *NodePool) any { return &p.Min },
		},
		{
			Path: at + "max", Kind: contracts.KindInt, Max: maxNodes, Default: "0",
			Doc: "The most nodes of a pool that grows and shrinks with what is to run",
			at:  func(p *NodePool) any { return &p.Max },
		},
		{
			Path: at + "disk_gb", Kind: contracts.KindInt, Max: 2048, Default: "0",
			Doc: "The size of a node's disk, where images and the caches of bundles and environments lie; 0 is Azure's default for the machine",
			at:  func(p *NodePool) any { return &p.DiskGB },
		},
		{
			Path: at + "disk_type", Kind: contracts.KindString, Words: []string{"ephemeral", "managed"}, Default: "managed",
			Doc: "`ephemeral` is the machine's own disk: faster, for nothing, and as large as the machine has it",
			at:  func(p *NodePool) any { return &p.DiskType },
		},
		{
			Path: at + "spot", Kind: contracts.KindBool, Default: "false",
			Doc: "Machines at a fraction of the price that Azure takes back when it needs them; what ran there runs again elsewhere. Only mode `user`",
			at:  func(p *NodePool) any { return &p.Spot },
		},
		{
			Path: at + "zones", Kind: contracts.KindList,
			Doc: "Availability zones, as in `[1, 2, 3]`. Absent: none",
			at:  func(p *NodePool) any { return &p.Zones },
		},
		{
			Path: at + "labels", Kind: contracts.KindMap,
			Doc: "Labels of the nodes, as in `{modelops.io/role: cpu}`",
			at:  func(p *NodePool) any { return &p.Labels },
		},
		{
			Path: at + "taints", Kind: contracts.KindList,
			Doc: "Taints of the nodes: `key=value:Effect`, `key:Effect`, or `{key: …, value: …, effect: …}`; the effect is `NoSchedule`, `PreferNoSchedule` or `NoExecute`",
			at:  func(p *NodePool) any { return &p.Taints },
		},
	}
}

// maxNodes bounds a pool, as Azure does.
const maxNodes = 1000
