package azure

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// The program's outputs.
const (
	outLoginServer = "login_server"
	outUsername    = "registry_username"
	outPassword    = "registry_password" // secret
	outAccount     = "storage_account"
	outEndpoint    = "blob_endpoint"
	outConnection  = "connection_string" // secret
)

// cloudResource is a resource of the plugin, registered by its type's name: the typed SDK
// of these four types costs 40 s and 4 GB to compile, and is not to be had for all that
// a cluster needs. Its struct tags are where the names of properties come from.
type cloudResource struct {
	pulumi.CustomResourceState
	Name        pulumi.StringOutput    `pulumi:"name"`
	LoginServer pulumi.StringOutput    `pulumi:"loginServer"`
	Endpoints   pulumi.StringMapOutput `pulumi:"primaryEndpoints"`

	OIDC        pulumi.MapOutput    `pulumi:"oidcIssuerProfile"` // of a cluster
	Kubelet     pulumi.MapOutput    `pulumi:"identityProfile"`
	PrincipalID pulumi.StringOutput `pulumi:"principalId"` // of an identity
	ClientID    pulumi.StringOutput `pulumi:"clientId"`
	TenantID    pulumi.StringOutput `pulumi:"tenantId"`
}

// builder registers the resources of one run of the program.
type builder struct {
	*pulumi.Context
	Settings
	provider pulumi.ProviderResource
}

// program has build register the resources of a stack.
func (s Settings) program(build func(*builder) error) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		provider, err := s.provider(ctx)
		if err != nil {
			return err
		}
		return build(&builder{Context: ctx, Settings: s, provider: provider})
	}
}

// data is what the environment stands on. Compute is no part of it: it comes and goes in
// a stack of its own, and data stays.
func (b *builder) data() error {
	group, err := b.group()
	if err != nil {
		return err
	}
	if err := b.registry(group); err != nil {
		return err
	}
	return b.storage(group)
}

// provider is the plugin with its configuration.
func (s Settings) provider(ctx *pulumi.Context) (pulumi.ProviderResource, error) {
	var azure pulumi.ProviderResourceState
	config := pulumi.Map{"subscriptionId": pulumi.String(s.Subscription)}
	if s.Tenant != "" {
		config["tenantId"] = pulumi.String(s.Tenant)
	}
	return &azure, ctx.RegisterResource("pulumi:providers:"+plugin, "azure", config, &azure, pulumi.Version(pluginVersion))
}

// make registers a resource.
func (b *builder) make(token, name string, properties pulumi.Map, options ...pulumi.ResourceOption) (*cloudResource, error) {
	var r cloudResource
	options = append(options, pulumi.Provider(b.provider), pulumi.Version(pluginVersion))
	return &r, b.RegisterResource(token, name, properties, &r, options...)
}

// adopted is put before the name of what is somebody else's.
const adopted = "adopted-"

// find is a resource that is somebody else's: it is read, and never changed.
func (b *builder) find(token, name, id string) (*cloudResource, error) {
	var r cloudResource
	err := b.ReadResource(token, adopted+name, pulumi.ID(id), nil, &r, pulumi.Provider(b.provider), pulumi.Version(pluginVersion))
	return &r, err
}

// holding are the options of what holds data: the engine refuses every step that would
// delete it. (RetainOnDelete beside it would make of a replacement one that leaves the
// data somewhere and forgets it.)
func holding(after *cloudResource) []pulumi.ResourceOption {
	return []pulumi.ResourceOption{pulumi.Protect(true), pulumi.DependsOn([]pulumi.Resource{after})}
}

// group is the resource group. Deleting one deletes all in it, whoever made it, so mops
// never does.
func (b *builder) group() (*cloudResource, error) {
	if b.AdoptGroup {
		return b.find(groupType, groupName, b.groupID())
	}
	return b.make(groupType, groupName, pulumi.Map{
		"resourceGroupName": pulumi.String(b.Group),
		"location":          pulumi.String(b.Location),
		"tags":              pulumi.ToStringMap(b.tags()),
	}, pulumi.Protect(true), pulumi.RetainOnDelete(true))
}

func (b *builder) registry(group *cloudResource) error {
	r, err := b.theRegistry(group)
	if err != nil {
		return err
	}
	b.Export(outLoginServer, r.LoginServer)
	if !b.Registry.AdminUser {
		return nil
	}
	admin := r.ID().ApplyT(func(id pulumi.ID) (map[string]string, error) { return b.credentials(string(id)) }).(pulumi.StringMapOutput)
	b.Export(outUsername, admin.MapIndex(pulumi.String("username")))
	b.Export(outPassword, pulumi.ToSecret(admin.MapIndex(pulumi.String("password"))))
	return nil
}

func (b *builder) theRegistry(group *cloudResource) (*cloudResource, error) {
	if b.Registry.Adopt != "" {
		return b.find(registryType, registryName, b.Registry.Adopt)
	}
	token, properties := registryType, pulumi.Map{
		"resourceGroupName": pulumi.String(b.Group),
		"registryName":      pulumi.String(b.Registry.Name),
		"location":          pulumi.String(b.Location),
		"sku":               pulumi.Map{"name": pulumi.String(b.Registry.SKU)},
		"adminUserEnabled":  pulumi.Bool(b.Registry.AdminUser),
		"tags":              pulumi.ToStringMap(b.tags()),
	}
	other := labelledType
	if b.Registry.LabelScope != "" || b.Registry.Anonymous {
		token, other = labelledType, registryType
	}
	if b.Registry.LabelScope != "" {
		properties["autoGeneratedDomainNameLabelScope"] = pulumi.String(b.Registry.LabelScope)
	}
	if b.Registry.Anonymous {
		properties["anonymousPullEnabled"] = pulumi.Bool(true)
	}
	// The two types are one resource, by two versions of Azure's API.
	return b.make(token, registryName, properties, append(holding(group), pulumi.Aliases([]pulumi.Alias{{Type: pulumi.String(other)}}))...)
}

func (b *builder) storage(group *cloudResource) error {
	account, err := b.account(group)
	if err != nil {
		return err
	}
	container, err := b.container(account)
	if err != nil {
		return err
	}
	b.Export(outAccount, account.Name)
	b.Export(outEndpoint, account.Endpoints.MapIndex(pulumi.String("blob")))
	if b.Storage.Identity {
		return b.access(container)
	}
	// Asked for by the account's ID, which is known when it is made.
	connection := pulumi.All(account.ID(), account.Endpoints.MapIndex(pulumi.String("blob"))).
		ApplyT(func(known []any) (string, error) {
			return b.connection(string(known[0].(pulumi.ID)), known[1].(string))
		}).(pulumi.StringOutput)
	b.Export(outConnection, pulumi.ToSecret(connection))
	return nil
}

// account is the storage account and what is set for all of it. One that is adopted is
// left as it is.
func (b *builder) account(group *cloudResource) (*cloudResource, error) {
	if b.Storage.Adopt != "" {
		return b.find(accountType, accountName, b.Storage.Adopt)
	}
	where := pulumi.Map{"resourceGroupName": pulumi.String(b.Group), "accountName": pulumi.String(b.Storage.Name)}
	with := func(properties pulumi.Map) pulumi.Map {
		for key, value := range where {
			properties[key] = value
		}
		return properties
	}
	account, err := b.make(accountType, accountName, with(pulumi.Map{
		"location":               pulumi.String(b.Location),
		"kind":                   pulumi.String("StorageV2"),
		"sku":                    pulumi.Map{"name": pulumi.String(b.Storage.SKU)},
		"accessTier":             pulumi.String("Hot"),
		"minimumTlsVersion":      pulumi.String("TLS1_2"),
		"enableHttpsTrafficOnly": pulumi.Bool(true),
		"allowBlobPublicAccess":  pulumi.Bool(false),
		"allowSharedKeyAccess":   pulumi.Bool(!b.Storage.Identity),
		"tags":                   pulumi.ToStringMap(b.tags()),
	}), holding(group)...)
	if err != nil {
		return nil, err
	}
	// Seven days to take back a deletion or an overwriting.
	kept := pulumi.Map{"enabled": pulumi.Bool(true), "days": pulumi.Int(deletedDays)}
	service, err := b.make(serviceType, serviceName, with(pulumi.Map{
		"blobServicesName":               pulumi.String("default"),
		"isVersioningEnabled":            pulumi.Bool(true),
		"deleteRetentionPolicy":          kept,
		"containerDeleteRetentionPolicy": kept,
	}), pulumi.DependsOn([]pulumi.Resource{account}))
	if err != nil {
		return nil, err
	}
	_, err = b.make(lifecycleType, lifecycleName, with(pulumi.Map{
		"managementPolicyName": pulumi.String("default"),
		"policy":               pulumi.Map{"rules": b.rules()},
	}), pulumi.DependsOn([]pulumi.Resource{service}))
	return account, err
}

// deletedDays is how long what was deleted or overwritten can be had back.
const deletedDays = 7

// rules delete what lies under Scratch after its time, and keep old versions from costing
// for ever.
func (b *builder) rules() pulumi.Array {
	rules := pulumi.Array{rule("versions", b.Storage.Container+"/", pulumi.Map{
		"version": pulumi.Map{"delete": pulumi.Map{"daysAfterCreationGreaterThan": pulumi.Int(deletedDays)}},
	})}
	if b.Storage.ScratchDays > 0 {
		rules = append(rules, rule("scratch", b.Storage.Container+"/"+Scratch, pulumi.Map{
			"baseBlob": pulumi.Map{"delete": pulumi.Map{"daysAfterModificationGreaterThan": pulumi.Int(b.Storage.ScratchDays)}},
		}))
	}
	return rules
}

func rule(name, prefix string, actions pulumi.Map) pulumi.Map {
	return pulumi.Map{"enabled": pulumi.Bool(true), "name": pulumi.String(name), "type": pulumi.String("Lifecycle"), "definition": pulumi.Map{
		"filters": pulumi.Map{"blobTypes": pulumi.ToStringArray([]string{"blockBlob"}), "prefixMatch": pulumi.ToStringArray([]string{prefix})},
		"actions": actions,
	}}
}

func (b *builder) container(account *cloudResource) (*cloudResource, error) {
	group, name := split(b.accountID())
	return b.make(containerType, containerName, pulumi.Map{
		"resourceGroupName": pulumi.String(group),
		"accountName":       pulumi.String(name),
		"containerName":     pulumi.String(b.Storage.Container),
		"publicAccess":      pulumi.String("None"),
		"metadata":          pulumi.ToStringMap(b.metadata()),
	}, holding(account)...)
}

// access lets whoever runs this read and write the container.
func (b *builder) access(container *cloudResource) error {
	who, err := b.who()
	if err != nil {
		return err
	}
	return b.grant(assignmentName, grant{scope: b.containerID(), role: blobContributor, to: pulumi.String(who).ToStringOutput()}, container)
}

// who is the object ID of whoever runs this.
func (b *builder) who() (string, error) {
	var who struct {
		ObjectID string `pulumi:"objectId"`
	}
	if err := b.Invoke(whoCall, &struct{}{}, &who, pulumi.Provider(b.provider), pulumi.Version(pluginVersion)); err != nil {
		return "", err
	}
	if who.ObjectID == "" {
		return "", errors.New("azure does not say who is signed in")
	}
	return who.ObjectID, nil
}

// grant is a role at a scope for somebody.
type grant struct {
	scope, role string
	to          pulumi.StringOutput // the object ID
	program     bool                // it is a program's: Azure need not know it yet
}

// grant registers a role assignment. Its name follows from what it says, so that it is
// declared once and found again.
func (b *builder) grant(name string, g grant, after ...pulumi.Resource) error {
	properties := pulumi.Map{
		"scope": pulumi.String(g.scope),
		"roleAssignmentName": g.to.ApplyT(func(principal string) string {
			return assignment(g.scope, g.role, principal)
		}).(pulumi.StringOutput),
		"roleDefinitionId": pulumi.String("/subscriptions/" + b.Subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + g.role),
		"principalId":      g.to,
	}
	if g.program {
		properties["principalType"] = pulumi.String("ServicePrincipal")
	}
	_, err := b.make(assignmentType, name, properties, pulumi.DependsOn(after))
	return err
}

// credentials are the user name and the password of a registry's administrator.
func (b *builder) credentials(id string) (map[string]string, error) {
	group, name := split(id)
	var found struct {
		Username  string `pulumi:"username"`
		Passwords []struct {
			Value string `pulumi:"value"`
		} `pulumi:"passwords"`
	}
	args := struct {
		Group string `pulumi:"resourceGroupName"`
		Name  string `pulumi:"registryName"`
	}{group, name}
	if err := b.Invoke(credentialsCall, &args, &found, pulumi.Provider(b.provider), pulumi.Version(pluginVersion)); err != nil {
		return nil, err
	}
	if len(found.Passwords) == 0 {
		return nil, fmt.Errorf("registry %s has no password", name)
	}
	return map[string]string{"username": found.Username, "password": found.Passwords[0].Value}, nil
}

// connection is the connection string of a storage account.
func (b *builder) connection(id, endpoint string) (string, error) {
	group, name := split(id)
	var found struct {
		Keys []struct {
			Value string `pulumi:"value"`
		} `pulumi:"keys"`
	}
	args := struct {
		Group string `pulumi:"resourceGroupName"`
		Name  string `pulumi:"accountName"`
	}{group, name}
	if err := b.Invoke(keysCall, &args, &found, pulumi.Provider(b.provider), pulumi.Version(pluginVersion)); err != nil {
		return "", err
	}
	if len(found.Keys) == 0 {
		return "", fmt.Errorf("storage account %s has no keys", name)
	}
	suffix, ok := strings.CutPrefix(strings.TrimSuffix(endpoint, "/"), "https://"+name+".blob.")
	if !ok {
		return "", fmt.Errorf("storage account %s is at %s, which is not understood", name, endpoint)
	}
	return "DefaultEndpointsProtocol=https;AccountName=" + name + ";AccountKey=" + found.Keys[0].Value + ";EndpointSuffix=" + suffix, nil
}
