package azure

import (
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// noLabel is what the configuration calls a registry whose host is its name.
const noLabel = "Unsecure"

// SettingsOf are the settings of a configuration whose parts are called by names.
func SettingsOf(c *config.Config, names name.Names) Settings {
	s := Settings{
		Environment: c.Settings.Environment, Subscription: c.Azure.SubscriptionID, Tenant: c.Azure.TenantID, Location: c.Azure.Location,
		Group: names.ResourceGroup, AdoptGroup: c.Azure.ExistingResourceGroup,
		Registry: Registry{Name: names.Registry, SKU: c.Registry.SKU, AdminUser: c.Registry.AdminUser, Anonymous: c.Registry.AnonymousPull},
		Storage: Storage{Name: names.StorageAccount, SKU: c.Storage.SKU, Container: c.Storage.Container,
			Identity: c.Storage.Auth == config.Identity, ScratchDays: int(c.Storage.ScratchDays)},
	}
	if scope := c.Registry.DomainNameLabelScope; scope != noLabel {
		s.Registry.LabelScope = scope
	}
	in := func(group string) Settings {
		where := s
		if group != "" {
			where.Group = group
		}
		return where
	}
	if c.Registry.Existing {
		s.Registry.Adopt = in(c.Registry.ResourceGroup).registryID()
	}
	if c.Storage.Existing {
		s.Storage.Adopt = in(c.Storage.ResourceGroup).accountID()
	}
	if c.Cluster.Wanted {
		s.Cluster = &Cluster{Cluster: c.Cluster, Namespace: infra.Namespace(s.Environment, c.Workspace.Namespace)}
		s.Cluster.Name = names.Cluster
		if c.Cluster.Existing {
			s.Cluster.Adopt = in(c.Cluster.ResourceGroup).clusterID()
		}
	}
	return s
}
