package azure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// fixed are the properties of a cluster that Azure does not change once it is made, and
// fixedOfPools those of a pool. What is not among them is changed in place.
var (
	fixed = []string{"resourceGroupName", "resourceName", "location", "dnsPrefix", "nodeResourceGroup", "identity", "enableRBAC",
		"networkProfile", "apiServerAccessProfile.enablePrivateCluster"}
	fixedOfPools = []string{"vmSize", "osType", "type", "osDiskType", "osDiskSizeGB", "availabilityZones",
		"scaleSetPriority", "scaleSetEvictionPolicy", "spotMaxPrice"}
)

// within are the keys of a change that are among the properties, or in one of them.
func within(keys, properties []string) []string {
	var found []string
	for _, key := range keys {
		if slices.ContainsFunc(properties, func(p string) bool {
			rest, ok := strings.CutPrefix(key, p)
			return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
		}) {
			found = append(found, key)
		}
	}
	return found
}

// refuse is an error for a change of a cluster that cannot be had by changing it: it is
// replaced only by who removes it first.
func (p *Provider) refuse(c engine.Change) error {
	pool, isPool := strings.CutPrefix(c.Name, poolPrefix)
	switch {
	case c.Name == clusterName && c.Op != engine.Create:
		keys := within(c.Keys, fixed)
		if p.settings.Cluster.Auth != config.Identity {
			keys = append(keys, within(c.Keys, []string{"aadProfile"})...)
		}
		if len(keys) > 0 || c.Op != engine.Update {
			return unchangeable("the cluster "+p.settings.Cluster.Name, keys,
				fmt.Sprintf("put the old configuration back; to have another cluster, with nothing of what runs on this one: mops infra down --confirm %s, then mops infra up", p.settings.Environment))
		}
	case isPool && c.Op != engine.Create && c.Op != engine.Delete:
		if keys := within(c.Keys, fixedOfPools); len(keys) > 0 || c.Op == engine.Replace {
			return unchangeable("the node pool "+pool, keys,
				"give the pool another name in modelops.yaml: the new one is made, then the old one is emptied and removed")
		}
	}
	return nil
}

func unchangeable(what string, keys []string, hint string) error {
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("the configuration cannot be had without replacing %s%s; nothing was changed", what, listed(keys)), Hint: hint}
}

// halves says whether a change is the deletion that a replacement begins with.
func halves(c engine.Change, all []engine.Change) bool {
	return c.Op == engine.Delete && slices.ContainsFunc(all, func(other engine.Change) bool { return other.URN == c.URN && other.Op == engine.Replace })
}

// uncertain says whether a change is one that a preview foresees only because it does not
// know what an update of the cluster, or of an identity, leaves as it is.
func uncertain(c engine.Change, all []engine.Change) bool {
	if c.Op == engine.Create || c.Op == engine.Delete || c.Type != assignmentType && c.Type != federationType {
		return false
	}
	updated := false
	for _, other := range all {
		if other.Name != clusterName && other.Name != identityName {
			continue
		}
		if other.Op != engine.Update {
			return false
		}
		updated = true
	}
	return updated
}

// orphaned is the error for a cluster that is there and that the configuration does not
// have.
func (p *Provider) orphaned(found *engine.Status) error {
	what := "a part of a cluster"
	for _, r := range found.Resources {
		if strings.TrimPrefix(r.Name, adopted) == clusterName {
			_, name := split(r.ID)
			what = "the cluster " + name
		}
	}
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("the configuration of environment %s has no cluster, and %s is there; nothing was changed", p.settings.Environment, what),
		Hint:    fmt.Sprintf("mops infra down --confirm %s removes it and keeps the data; to keep it, put the section cluster back into modelops.yaml", p.settings.Environment)}
}
