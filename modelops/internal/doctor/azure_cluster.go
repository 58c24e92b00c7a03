package doctor

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// clusterSteps are the checks for an environment that is to have a cluster.
func (a Azure) clusterSteps() []step {
	if a.Config == nil || !a.Config.Cluster.Wanted {
		return nil
	}
	return []step{
		{"provider-cluster", func(ctx context.Context, c Check) Check {
			return a.provider(ctx, c, "Microsoft.ContainerService", "managedClusters")
		}},
		{"provider-identity", func(ctx context.Context, c Check) Check {
			return a.provider(ctx, c, "Microsoft.ManagedIdentity", "userAssignedIdentities")
		}},
		{"cluster", a.cluster},
		{"cores", a.cores},
	}
}

// cluster looks whether one that exists does. The name of one that is made is its own in
// its resource group only.
func (a Azure) cluster(ctx context.Context, c Check) Check {
	wanted := a.Config.Cluster
	return a.part(ctx, c, part{
		what: "cluster", section: "cluster", name: a.Names.Cluster, kind: "Microsoft.ContainerService/managedClusters",
		group: wanted.ResourceGroup, existing: wanted.Existing, free: "its name is its own in its resource group",
	})
}

// need is how many cores of a family of machines the pools want: at least, and at most.
type need struct{ least, most int64 }

// cores compares what the pools want with what the subscription may have.
func (a Azure) cores(ctx context.Context, c Check) Check {
	c.Looked = "cores in " + a.Config.Azure.Location
	if a.Config.Cluster.Existing {
		return c.OK("none are needed: the cluster exists")
	}
	var usage []struct {
		Current int64 `json:"currentValue"`
		Limit   int64 `json:"limit"`
		Name    struct {
			Value string `json:"value"`
		} `json:"name"`
	}
	if err := a.AZ.Ask(ctx, &usage, "vm", "list-usage", "--location", a.Config.Azure.Location, "--subscription", a.Config.Azure.SubscriptionID, "--output", "json"); err != nil {
		return asked(c, err)
	}
	needs := a.needs()
	const more = "ask for a higher quota (Azure portal, Quotas), or choose fewer or smaller nodes in cluster.node_pools"
	for _, u := range usage {
		n, wanted := needs[strings.ToLower(u.Name.Value)]
		free := u.Limit - u.Current
		switch {
		case !wanted || free >= n.most:
		case free < n.least:
			return c.Warning(more, "%d of %d of %s are in use, and %d more are needed: unless this environment's are among them, the cluster cannot be made", u.Current, u.Limit, u.Name.Value, n.least)
		default:
			return c.Warning(more, "%d of %d of %s are in use: unless this environment's are among them, its pools do not grow to all of their %d", u.Current, u.Limit, u.Name.Value, n.most)
		}
	}
	return c.OK("there are as many as the pools want, %d at most", needs[allCores].most)
}

// allCores is what Azure calls the cores of all families of a region together.
const allCores = "cores"

// needs are the cores that the pools want, by Azure's name for a family in lower case.
// Spot machines have a quota of their own, and are left out.
func (a Azure) needs() map[string]need {
	needs := map[string]need{}
	for _, pool := range a.Config.Cluster.Pools() {
		family, cores := machine(pool.VMSize)
		if pool.Spot {
			continue
		}
		least, most := pool.Count*cores, pool.Count*cores
		if pool.Scales() {
			least, most = pool.Min*cores, pool.Max*cores
		}
		for _, of := range []string{allCores, family} {
			needs[of] = need{needs[of].least + least, needs[of].most + most}
		}
	}
	return needs
}

// machine is the family of a size of machine, as quotas name it in lower case, and how
// many cores it has: Standard_D8s_v5 is 8 of standarddsv5family. By Azure's naming
// conventions; a family that is called otherwise is among all cores all the same.
func machine(size string) (family string, cores int64) {
	m := regexp.MustCompile(`^Standard_([A-Z]+)(\d+)(?:-\d+)?([a-z]*)((?:_[A-Za-z0-9]+)*)$`).FindStringSubmatch(size)
	if m == nil {
		return "", 0
	}
	cores, _ = strconv.ParseInt(m[2], 10, 64) // digits
	return strings.ToLower(fmt.Sprintf("standard%s%s%sfamily", m[1], m[3], strings.ReplaceAll(m[4], "_", ""))), cores
}

// rolesFor is what needs somebody who may give roles, and how to do without.
func (a Azure) rolesFor() (what, without string) {
	if a.Config.Cluster.Wanted {
		return "a cluster", "; without it there is none: leave the section cluster out of modelops.yaml"
	}
	return "storage.auth: identity", "; without it: storage.auth: connection-string in modelops.yaml"
}
