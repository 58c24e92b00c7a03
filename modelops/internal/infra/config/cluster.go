package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// Cluster is the Kubernetes cluster that jobs run on.
type Cluster struct {
	Wanted             bool   // the section is there, if empty
	Name               string // empty to derive it
	Existing           bool
	ResourceGroup      string // of an existing one; empty for the environment's
	KubernetesVersion  string // major.minor, or a patch of it; empty for Azure's default
	UpgradeChannel     string // none, node-image, patch, stable or rapid
	Tier               string
	Auth               string // Certificate or Identity
	Private            bool
	AuthorizedIPRanges []string // CIDR; empty for everybody
	NetworkPolicy      string   // cilium, calico or none
	PodCIDR            string
	ServiceCIDR        string
	NodePools          []NodePool // empty for [DefaultPools]
}

// Certificate is the value of cluster.auth beside [Identity].
const Certificate = "certificate"

// NodePool is a set of equal machines of the cluster.
type NodePool struct {
	Name     string
	Mode     string // SystemPool or UserPool
	VMSize   string
	Count    int64 // of one that does not scale
	Min, Max int64 // of one that does: Max is not 0
	DiskGB   int64 // 0 for Azure's default
	DiskType string
	Spot     bool
	Zones    []int64
	Labels   map[string]string
	Taints   []Taint
}

// The modes of a pool.
const (
	SystemPool = "system" // for what the cluster needs itself
	UserPool   = "user"
)

// Scales says whether the number of nodes follows what is to run.
func (p NodePool) Scales() bool { return p.Max > 0 }

// Taint keeps pods off a node that do not say that they bear it.
type Taint struct{ Key, Value, Effect string }

// String is the form key=value:Effect, or key:Effect.
func (t Taint) String() string {
	if t.Value == "" {
		return t.Key + ":" + t.Effect
	}
	return t.Key + "=" + t.Value + ":" + t.Effect
}

// role marks the nodes that simulations run on.
const role = "modelops.io/role"

// DefaultPools are those of a configuration that says nothing of them: one small machine
// that is always there, and up to ten of eight cores for as long as there is work.
func DefaultPools() []NodePool {
	return []NodePool{
		{Name: "system", Mode: SystemPool, VMSize: "Standard_D2s_v5", Count: 1, DiskType: "managed"},
		{Name: "workers", Mode: UserPool, VMSize: "Standard_D8s_v5", Count: 1, Max: 10, DiskType: "managed",
			Labels: map[string]string{role: "cpu"}, Taints: []Taint{{role, "cpu", "NoSchedule"}}},
	}
}

// Pools are the pools to make.
func (c Cluster) Pools() []NodePool {
	if len(c.NodePools) == 0 {
		return DefaultPools()
	}
	return c.NodePools
}

// checkCluster adds the faults that show only in several keys of the cluster together.
func (c *Config) checkCluster(l *problems) {
	var making []string
	for _, key := range clusterKeys() {
		if !slices.Contains([]string{"name", "existing", "resource_group"}, key.Name()) {
			making = append(making, key.Name())
		}
	}
	c.checkExisting(l, clusterSection, c.Cluster.Existing, c.Cluster.Name, c.Cluster.ResourceGroup, making...)
	if c.Cluster.Private && len(c.Cluster.AuthorizedIPRanges) > 0 {
		l.add("cluster.authorized_ip_ranges", "has no effect on a private cluster", "leave one of the two out")
	}
	if channel := c.Cluster.UpgradeChannel; c.Cluster.KubernetesVersion != "" && (channel == "stable" || channel == "rapid") {
		l.add("cluster.kubernetes_version", "would be overtaken by upgrade_channel "+channel, "leave one of the two out; upgrade_channel: patch stays with a version")
	}
	c.checkNetworks(l)
	checkPools(l, c.Cluster.NodePools)
}

func (c *Config) checkNetworks(l *problems) {
	pods, podErr := netip.ParsePrefix(c.Cluster.PodCIDR)
	services, serviceErr := netip.ParsePrefix(c.Cluster.ServiceCIDR)
	if podErr == nil && serviceErr == nil && pods.Overlaps(services) {
		l.add("cluster.service_cidr", "overlaps with pod_cidr "+pods.String(), "choose two networks that have no address in common")
	}
}

// checkPools wants of pools what Azure wants.
func checkPools(l *problems, pools []NodePool) {
	seen := map[string]bool{}
	for i, pool := range pools {
		at := poolsKey + "[" + strconv.Itoa(i) + "]."
		if pool.Name != "" && seen[pool.Name] {
			l.add(at+"name", "is "+contracts.Quote(pool.Name)+" a second time", "give every pool a name of its own")
		}
		seen[pool.Name] = true
		for key, value := range map[string]string{"name": pool.Name, "vm_size": pool.VMSize} {
			if value == "" {
				l.add(at+key, "is missing", map[string]string{"name": "name the pool, as in workers", "vm_size": "such as Standard_D8s_v5; az vm list-skus --location REGION --output table"}[key])
			}
		}
		pool.check(l, at)
	}
	if len(pools) > 0 && !slices.ContainsFunc(pools, func(p NodePool) bool { return p.Mode == SystemPool }) {
		l.add(poolsKey, "has no pool of mode system", "add one: {name: system, mode: system, vm_size: Standard_D2s_v5}")
	}
}

func (p NodePool) check(l *problems, at string) {
	switch {
	case p.Min > p.Max:
		l.add(at+"max", "is "+strconv.FormatInt(p.Max, 10)+", less than min", "write at least max: "+strconv.FormatInt(p.Min, 10))
	case p.Mode == SystemPool && p.Scales() && p.Min == 0:
		l.add(at+"min", "is 0 in a system pool", "the cluster itself runs on it: write at least min: 1")
	case p.Mode == SystemPool && !p.Scales() && p.Count == 0:
		l.add(at+"count", "is 0 in a system pool", "the cluster itself runs on it: write at least count: 1")
	}
	if p.Spot && p.Mode == SystemPool {
		l.add(at+"spot", "is true in a system pool", "a cluster whose own pool can be taken away at any time does not work: put it in a pool of mode user")
	}
	if p.DiskGB > 0 && p.DiskGB < 30 {
		l.add(at+"disk_gb", "is "+strconv.FormatInt(p.DiskGB, 10), "write 30 or more, or leave it out")
	}
}

// cidr is a rule for a network in CIDR form.
func cidr(value string) (problem, hint string) {
	const form = "write it as in 203.0.113.0/24"
	prefix, err := netip.ParsePrefix(value)
	switch {
	case err != nil || !prefix.Addr().Is4():
		return "is not a network of IPv4 addresses", form
	case prefix.Masked() != prefix:
		return "has bits set beyond its length", "write " + prefix.Masked().String()
	}
	return "", ""
}

// network is a rule for one that a cluster's own addresses are from.
func network(value string) (problem, hint string) {
	if problem, hint = cidr(value); problem == "" && netip.MustParsePrefix(value).Bits() > 24 {
		return "is too small", "its length is 24 at most, as in 10.0.0.0/16"
	}
	return problem, hint
}

// matching is a rule for a value of a pattern.
func matching(pattern, problem, hint string) func(string) (string, string) {
	return func(value string) (string, string) {
		if regexp.MustCompile(pattern).MatchString(value) {
			return "", ""
		}
		return problem, hint
	}
}

// labelKey is the rule for the key of a label or a taint; a value is of the latter half.
func labelKey(key string) (problem, hint string) {
	if problem, hint = selectorKey(key); problem != "" {
		return problem, hint
	}
	switch domain, _, _ := strings.Cut(key, "/"); {
	case domain == "kubernetes.azure.com" || strings.HasSuffix(domain, ".kubernetes.azure.com") || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io"):
		return "is one that the cluster sets itself", "choose a key under another domain"
	}
	return "", ""
}

// selectorKey is the rule for the key of a label or a taint that somebody else may have set.
func selectorKey(key string) (problem, hint string) {
	const part = `[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?`
	return matching(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?`+part+`$`, "is not a key that Kubernetes allows", "write it as in modelops.io/role")(key)
}

func labelValue(value string) (problem, hint string) {
	if value == "" {
		return "", ""
	}
	return matching(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`, "is not a value that Kubernetes allows",
		"at most 63 letters, digits, '-', '_' and '.', a letter or a digit at both ends")(value)
}

// poolName is the limit of a pool's name.
func poolName(value string) (problem, hint string) { return name.NodePool().Problem(value) }
