// Package config is modelops.yaml, schema 3: what the environments of a cloud are made
// from. It reads, checks and writes the file; it asks nobody and makes nothing.
//
// Every key is declared once, in [Keys]: the reader, the writer, the JSON Schema and the
// reference in docs/configuration.md are made from that list. A key that is not in it is
// an error, at any level. The meaning of a key, and its default, do not change within a
// schema.
package config

import (
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// Schema is the version of the file that is written and read.
const Schema = environment.ConfigSchema

// The providers of settings.provider.
const (
	Local = "local" // this machine
	Azure = "azure"
)

// The values of storage.auth.
const (
	ConnectionString = "connection-string"
	Identity         = "identity"
)

// Config is the file. What it leaves out has its default.
type Config struct {
	Settings Settings
	Pulumi   PulumiSettings
	Azure    AzureSettings
	Registry Registry
	Storage  Storage
	Cluster  Cluster
	// Workspace is what runs in the cluster.
	Workspace Workspace
}

// Settings are the user's own.
type Settings struct {
	Environment string // the default one, and the one that "mops infra up" makes
	Provider    string // where it is made; empty for local
	Username    string // as it was typed
}

// PulumiSettings say where the engine keeps what it knows.
type PulumiSettings struct {
	BackendURL      string // empty for a directory under the suite's home
	SecretsProvider string // empty for a passphrase under the suite's home
	CLI             string // absolute path of the program; empty to find or install one
}

// AzureSettings say where in Azure.
type AzureSettings struct {
	SubscriptionID        string // in lower case
	TenantID              string // in lower case; empty for the signed-in one
	Location              string
	ResourceGroup         string // empty to derive it
	ExistingResourceGroup bool
}

// Registry is the container registry.
type Registry struct {
	Name                 string // empty to derive it
	Existing             bool
	ResourceGroup        string // of an existing one; empty for the environment's
	SKU                  string
	AdminUser            bool
	AnonymousPull        bool
	DomainNameLabelScope string
}

// Storage is the storage account and the container in it.
type Storage struct {
	Name          string // empty to derive it
	Existing      bool
	ResourceGroup string // of an existing one; empty for the environment's
	SKU           string
	Auth          string // ConnectionString or Identity
	Container     string
	ScratchDays   int64 // 0: scratch is kept
}

// Default is the configuration that says nothing.
func Default() *Config {
	c := &Config{}
	for _, key := range Keys() {
		key.reset(c)
	}
	return c
}

// Names is what the configuration says about the names of an environment's parts.
func (c *Config) Names() name.Choice {
	return name.Choice{
		Input:    name.Input{Environment: c.Settings.Environment, Username: c.Settings.Username, SubscriptionID: c.Azure.SubscriptionID},
		Given:    name.Names{ResourceGroup: c.Azure.ResourceGroup, Registry: c.Registry.Name, StorageAccount: c.Storage.Name, Cluster: c.Cluster.Name},
		Adopted:  name.Parts{ResourceGroup: c.Azure.ExistingResourceGroup, Registry: c.Registry.Existing, StorageAccount: c.Storage.Existing, Cluster: c.Cluster.Existing},
		Unwanted: name.Parts{Cluster: !c.Cluster.Wanted},
	}
}

// check adds every fault that shows only in several keys together.
func (c *Config) check(l *problems) {
	for _, absent := range c.missing(c.Settings.Provider) {
		l.add(absent, "is missing", "provider azure needs it; mops init finds it out")
	}
	if c.Azure.ExistingResourceGroup && c.Azure.ResourceGroup == "" {
		l.add("azure.resource_group", "is missing", "give the name of the resource group that exists")
	}
	if c.Registry.AnonymousPull && c.Registry.SKU == "Basic" {
		l.add("registry.anonymous_pull", "is true with sku Basic", "write sku: Standard or sku: Premium, or leave it out")
	}
	c.checkExisting(l, "registry", c.Registry.Existing, c.Registry.Name, c.Registry.ResourceGroup,
		"sku", "admin_user", "anonymous_pull", "domain_name_label_scope")
	c.checkExisting(l, "storage", c.Storage.Existing, c.Storage.Name, c.Storage.ResourceGroup, "sku", "scratch_days")
	c.checkCluster(l)
	c.checkWorkspace(l)
}

// checkExisting wants of a part that exists its name, and nothing that only says how to
// make one.
func (c *Config) checkExisting(l *problems, section string, existing bool, name, group string, making ...string) {
	if !existing {
		if group != "" {
			l.add(section+".resource_group", "is for one that exists already", "write existing: true; what is made lies in azure.resource_group")
		}
		return
	}
	if name == "" {
		l.add(section+".name", "is missing", "give the name of the one that exists")
	}
	for _, key := range Keys() {
		word, within := strings.CutPrefix(key.Path, section+".")
		if within && slices.Contains(making, word) && key.Text(c) != key.Default {
			l.add(key.Path, "has no effect on one that exists already", "leave it out")
		}
	}
}

// missing are the keys that a provider needs and that are not there.
func (c *Config) missing(provider string) []string {
	if provider != Azure {
		return nil
	}
	var absent []string
	if c.Settings.Environment == "" {
		absent = append(absent, "settings.environment")
	}
	if c.Azure.SubscriptionID == "" {
		absent = append(absent, "azure.subscription_id")
	}
	return absent
}

// Require is an error when c, from a file, lacks what the provider needs: for a provider
// that is not the file's own.
func (c *Config) Require(file, provider string) error {
	l := &problems{}
	for _, absent := range c.missing(provider) {
		l.add(absent, "is missing", "provider "+provider+" needs it; mops init finds it out")
	}
	return l.err(file)
}

// Load reads modelops.yaml of a home; nil without an error when there is none.
func Load(home string) (*Config, error) {
	data, err := environment.ReadConfig(home)
	if err != nil || data == nil {
		return nil, err
	}
	return Parse(environment.ConfigPath(home), data)
}

// problems collects the faults of a document, one for each field: others would follow
// from it.
type problems struct{ list []contracts.Problem }

func (l *problems) add(field, message, hint string) {
	if field == "" || !slices.ContainsFunc(l.list, func(p contracts.Problem) bool { return p.Field == field }) {
		l.list = append(l.list, contracts.Problem{Field: field, Message: message, Hint: hint})
	}
}

func (l *problems) err(file string) error {
	if len(l.list) == 0 {
		return nil
	}
	return contracts.DocumentError(contracts.CodeInvalidConfig, contracts.StageProvision, "configuration", file, l.list)
}
