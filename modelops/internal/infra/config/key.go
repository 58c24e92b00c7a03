package config

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// Key is one key of the file.
type Key = KeyOf[Config]

// KeyOf is one key of a mapping that is kept as a T.
type KeyOf[T any] struct {
	Path    string         // section and name, as in "registry.sku"
	Kind    contracts.Kind // KindString, KindBool, KindInt, KindList or KindMap
	Words   []string       // the values that there are; nil for others
	Max     int64          // of an integer, whose least is 0
	Default string         // as it is written; empty for none
	Pattern string         // of the value, for the JSON Schema; empty for any
	Doc     string         // one line of Markdown

	at func(*T) any // *string, *bool, *int64, or what nestedIn knows
	// rule says what is wrong with a value, as in "is no region", and what is right.
	rule func(string) (problem, hint string)
	tidy func(string) string // the value as it is kept; nil as it is written
}

// Keys are all keys, in the order that they are written.
func Keys() []Key {
	var keys []Key
	for _, section := range [][]Key{settingsKeys(), pulumiKeys(), azureKeys(), registryKeys(), storageKeys(), clusterKeys(), workspaceKeys()} {
		keys = append(keys, section...)
	}
	return keys
}

func settingsKeys() []Key {
	return []Key{
		{
			Path: "settings.environment", Kind: contracts.KindString, Pattern: `^\s*[A-Za-z][A-Za-z0-9-]{0,39}\s*$`,
			Doc:  "The default environment, and the one that `mops infra up` makes on Azure. Required for `azure`",
			at:   func(c *Config) any { return &c.Settings.Environment },
			rule: environmentRule, tidy: contracts.NormalizeEnvironmentName,
		},
		{
			Path: "settings.provider", Kind: contracts.KindString, Words: []string{Azure, Local},
			Doc: "Where `mops infra` works without `--provider`; absent is `local`",
			at:  func(c *Config) any { return &c.Settings.Provider },
		},
		{
			Path: "settings.username", Kind: contracts.KindString, Pattern: `^[ -~]*[A-Za-z0-9][ -~]*$`,
			Doc:  "Whose the environment is: part of the names in Azure. Leave it out of an environment that a team shares",
			at:   func(c *Config) any { return &c.Settings.Username },
			rule: usernameRule,
		},
	}
}

func pulumiKeys() []Key {
	return []Key{
		{
			Path: "pulumi.backend_url", Kind: contracts.KindString, Pattern: `^(azblob|file|gs|https|s3)://[^\s@]+$`,
			Doc:  "Where the engine keeps its state: `azblob://`, `file://`, `gs://`, `https://` or `s3://`. Absent: `$MODELOPS_HOME/pulumi/go`",
			at:   func(c *Config) any { return &c.Pulumi.BackendURL },
			rule: urlRule("azblob", "file", "gs", "https", "s3"),
		},
		{
			Path: "pulumi.secrets_provider", Kind: contracts.KindString, Pattern: `^(awskms|azurekeyvault|gcpkms|hashivault)://[^\s@]+$`,
			Doc:  "What encrypts secrets in the state: `awskms://`, `azurekeyvault://`, `gcpkms://` or `hashivault://`. Absent: a passphrase under `$MODELOPS_HOME/secrets`",
			at:   func(c *Config) any { return &c.Pulumi.SecretsProvider },
			rule: urlRule("awskms", "azurekeyvault", "gcpkms", "hashivault"),
		},
		{
			Path: "pulumi.cli", Kind: contracts.KindString,
			Doc:  "Absolute path of the `pulumi` program. Absent: the one on `PATH` if it fits, else one that is installed for the suite alone",
			at:   func(c *Config) any { return &c.Pulumi.CLI },
			rule: absoluteRule,
		},
	}
}

func azureKeys() []Key {
	return []Key{
		{
			Path: "azure.subscription_id", Kind: contracts.KindString, Pattern: guidPattern,
			Doc:  "The subscription. Required for `azure`",
			at:   func(c *Config) any { return &c.Azure.SubscriptionID },
			rule: guidRule("az account show --query id --output tsv"), tidy: strings.ToLower,
		},
		{
			Path: "azure.tenant_id", Kind: contracts.KindString, Pattern: guidPattern,
			Doc:  "The tenant. Absent: that of whoever is signed in",
			at:   func(c *Config) any { return &c.Azure.TenantID },
			rule: guidRule("az account show --query tenantId --output tsv"), tidy: strings.ToLower,
		},
		{
			Path: "azure.location", Kind: contracts.KindString, Default: "eastus2", Pattern: `^[a-z][a-z0-9]{1,49}$`,
			Doc:  "The region, by its short name: `az account list-locations --output table`",
			at:   func(c *Config) any { return &c.Azure.Location },
			rule: locationRule,
		},
		{
			Path: "azure.resource_group", Kind: contracts.KindString, Pattern: name.ResourceGroup().Pattern,
			Doc:  "The resource group's name. Absent: it is derived",
			at:   func(c *Config) any { return &c.Azure.ResourceGroup },
			rule: name.ResourceGroup().Problem,
		},
		{
			Path: "azure.existing_resource_group", Kind: contracts.KindBool, Default: "false",
			Doc: "`azure.resource_group` exists already, and is neither made nor removed",
			at:  func(c *Config) any { return &c.Azure.ExistingResourceGroup },
		},
	}
}

// adopted is where a section keeps what its keys of [adoptableKeys] say.
type adopted struct {
	name     *string
	existing *bool
	group    *string
}

// adoptableKeys are the keys of a part that is made, or exists already and is used: its name,
// which doc describes, that it exists, and where.
func adoptableKeys(section, noun, doc string, limit name.Limit, at func(*Config) adopted) []Key {
	return []Key{
		{
			Path: section + ".name", Kind: contracts.KindString, Pattern: limit.Pattern,
			Doc:  doc + ". Absent: it is derived",
			at:   func(c *Config) any { return at(c).name },
			rule: limit.Problem,
		},
		{
			Path: section + ".existing", Kind: contracts.KindBool, Default: "false",
			Doc: "`" + section + ".name` exists already: it is used, and neither made, changed nor removed",
			at:  func(c *Config) any { return at(c).existing },
		},
		{
			Path: section + ".resource_group", Kind: contracts.KindString, Pattern: name.ResourceGroup().Pattern,
			Doc:  "Where an existing " + noun + " lies. Absent: in the environment's own group",
			at:   func(c *Config) any { return at(c).group },
			rule: name.ResourceGroup().Problem,
		},
	}
}

func registryKeys() []Key {
	return append(adoptableKeys("registry", "registry", "The registry's name, 5 to 50 lower-case letters and digits", name.Registry(), func(c *Config) adopted {
		return adopted{&c.Registry.Name, &c.Registry.Existing, &c.Registry.ResourceGroup}
	}), []Key{
		{
			Path: "registry.sku", Kind: contracts.KindString, Words: []string{"Basic", "Premium", "Standard"}, Default: "Basic",
			Doc: "The registry's tier",
			at:  func(c *Config) any { return &c.Registry.SKU },
		},
		{
			Path: "registry.admin_user", Kind: contracts.KindBool, Default: "false",
			Doc: "Give the registry a user with a password. Without one, everybody signs in as who they are",
			at:  func(c *Config) any { return &c.Registry.AdminUser },
		},
		{
			Path: "registry.anonymous_pull", Kind: contracts.KindBool, Default: "false",
			Doc: "Let everybody in the world read every bundle. Not with `Basic`",
			at:  func(c *Config) any { return &c.Registry.AnonymousPull },
		},
		{
			Path: "registry.domain_name_label_scope", Kind: contracts.KindString, Default: "Unsecure",
			Words: []string{"NoReuse", "ResourceGroupReuse", "SubscriptionReuse", "TenantReuse", "Unsecure"},
			Doc:   "Put a hash into the registry's host, so that nobody else can have it later. `Unsecure`: the host is `NAME.azurecr.io`",
			at:    func(c *Config) any { return &c.Registry.DomainNameLabelScope },
		},
	}...)
}

func storageKeys() []Key {
	return append(adoptableKeys("storage", "account", "The storage account's name, 3 to 24 lower-case letters and digits", name.StorageAccount(), func(c *Config) adopted {
		return adopted{&c.Storage.Name, &c.Storage.Existing, &c.Storage.ResourceGroup}
	}), []Key{
		{
			Path: "storage.sku", Kind: contracts.KindString, Default: "Standard_LRS",
			Words: []string{"Standard_GRS", "Standard_GZRS", "Standard_LRS", "Standard_RAGRS", "Standard_RAGZRS", "Standard_ZRS"},
			Doc:   "How many copies there are, and where",
			at:    func(c *Config) any { return &c.Storage.SKU },
		},
		{
			Path: "storage.auth", Kind: contracts.KindString, Words: []string{ConnectionString, Identity}, Default: ConnectionString,
			Doc: "How programs sign in: with the account's key, in the environment file, or as who they are, with no key anywhere",
			at:  func(c *Config) any { return &c.Storage.Auth },
		},
		{
			Path: "storage.container", Kind: contracts.KindString, Default: "bundle-blobs", Pattern: name.Container().Pattern,
			Doc:  "The container that bundles, jobs and results lie in",
			at:   func(c *Config) any { return &c.Storage.Container },
			rule: name.Container().Problem,
		},
		{
			Path: "storage.scratch_days", Kind: contracts.KindInt, Max: MaxScratchDays, Default: "7",
			Doc: "Days after which Azure removes what lies under `scratch/` in the container; 0 keeps it. Bundles, jobs and results are never removed",
			at:  func(c *Config) any { return &c.Storage.ScratchDays },
		},
	}...)
}

// MaxScratchDays bounds storage.scratch_days.
const MaxScratchDays = 3650

// Section is the mapping that the key lies in.
func (k KeyOf[T]) Section() string {
	section, _, _ := strings.Cut(k.Path, ".")
	return section
}

// Name is the key itself.
func (k KeyOf[T]) Name() string { return k.Path[strings.LastIndex(k.Path, ".")+1:] }

// Text is the key's value in a configuration, as it is written without quotes; a list or
// a mapping as JSON, and "" when it is empty.
func (k KeyOf[T]) Text(c *T) string {
	switch p := k.at(c).(type) {
	case *string:
		return *p
	case *bool:
		return strconv.FormatBool(*p)
	case *int64:
		return strconv.FormatInt(*p, 10)
	default:
		if v := nestedIn(p).value(); v.Kind() != contracts.KindNull {
			return v.Text()
		}
		return ""
	}
}

// reset sets the key to its default; a list or a mapping has none but to be empty.
func (k KeyOf[T]) reset(c *T) {
	switch p := k.at(c).(type) {
	case *string:
		*p = k.Default
	case *bool:
		*p = k.Default == "true"
	case *int64:
		*p, _ = strconv.ParseInt(k.Default, 10, 64) // of this page
	}
}

func usernameRule(value string) (problem, hint string) {
	_, err := name.Username(value)
	if err == nil {
		return "", ""
	}
	e := contracts.AsError(err)
	_, problem, _ = strings.Cut(e.Message, contracts.Quote(value)+" ") // the key says whose it is
	return problem, e.Hint
}

func environmentRule(value string) (problem, hint string) {
	if err := contracts.ValidateEnvironmentName(value); err != nil {
		return "is not an environment's name", contracts.AsError(err).Hint
	}
	return "", ""
}

const guidPattern = `^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`

// guidRule wants an identifier of Azure's, which the command prints.
func guidRule(command string) func(string) (string, string) {
	return func(value string) (problem, hint string) {
		hint = "it is 32 hexadecimal digits in five groups; this prints it: " + command
		switch {
		case !regexp.MustCompile(guidPattern).MatchString(value):
			return "is not an identifier of Azure's", hint
		case strings.Trim(value, "0-") == "":
			return "is a placeholder", hint
		}
		return "", ""
	}
}

func locationRule(value string) (problem, hint string) {
	if regexp.MustCompile(`^[a-z][a-z0-9]{1,49}$`).MatchString(value) {
		return "", ""
	}
	short := strings.ToLower(strings.ReplaceAll(value, " ", ""))
	if regexp.MustCompile(`^[a-z][a-z0-9]{1,49}$`).MatchString(short) {
		return "is not a region's short name", "write " + short
	}
	return "is not a region's short name", "write one as in eastus2; az account list-locations --output table lists them"
}

func urlRule(schemes ...string) func(string) (string, string) {
	return func(value string) (problem, hint string) {
		hint = "it begins with " + strings.Join(schemes, "://, ") + "://"
		u, err := url.Parse(value)
		switch {
		case err != nil || strings.ContainsAny(value, " \t"):
			return "is not a URL", hint
		case strings.Contains(value, "@"):
			return "has an @, as before a host with a user or a password", "credentials come from the environment of the command"
		}
		for _, scheme := range schemes {
			if u.Scheme == scheme && len(value) > len(scheme+"://") && strings.HasPrefix(value, scheme+"://") {
				return "", ""
			}
		}
		return "is not a URL of a kind that is known here", hint
	}
}

func absoluteRule(value string) (problem, hint string) {
	if !filepath.IsAbs(value) {
		return "is not an absolute path", "write the whole path of the program"
	}
	return "", ""
}
