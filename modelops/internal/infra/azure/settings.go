package azure

import (
	"crypto/sha1"
	"fmt"
	"strings"

	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
)

// Settings say what an environment on Azure is to be. Names are given, never made up
// here: whoever makes them records them, for a name that changes is another resource.
type Settings struct {
	Environment  string
	Subscription string
	Tenant       string // empty for the signed-in one
	Location     string

	Group      string // the resource group
	AdoptGroup bool   // it is there, and somebody else's

	Registry Registry
	Storage  Storage
	Cluster  *Cluster // nil for none
}

// Registry is the container registry.
type Registry struct {
	Name       string
	Adopt      string // the resource ID of one that is there, and somebody else's; it is never changed
	SKU        string // Basic, Standard, Premium
	AdminUser  bool   // with a password, which goes into the environment file
	Anonymous  bool   // whoever knows its name may pull
	LabelScope string // of the domain name label (TenantReuse, NoReuse, …); empty: the host is the name
}

// Storage is the storage account.
type Storage struct {
	Name        string
	Adopt       string // as with the registry; the container is made in it
	SKU         string // Standard_LRS, …
	Container   string
	Identity    bool // everybody signs in, the account has no keys
	ScratchDays int  // what lies under Scratch is deleted after so many; 0: never
}

// Cluster is the Kubernetes cluster, as the configuration describes it and under its name.
type Cluster struct {
	config.Cluster
	Adopt     string // as with the registry
	Namespace string // where workers and drivers run
}

// Scratch is the prefix in the container that nobody relies on.
const Scratch = "scratch/"

// The plugin, and the types that it serves.
const (
	plugin        = "azure-native"
	pluginVersion = "2.90.0"

	groupType       = "azure-native:resources:ResourceGroup"
	registryType    = "azure-native:containerregistry:Registry"
	labelledType    = "azure-native:containerregistry/v20241101preview:Registry" // the first with labels and anonymous pulls
	accountType     = "azure-native:storage:StorageAccount"
	serviceType     = "azure-native:storage:BlobServiceProperties"
	containerType   = "azure-native:storage:BlobContainer"
	lifecycleType   = "azure-native:storage:ManagementPolicy"
	assignmentType  = "azure-native:authorization:RoleAssignment"
	credentialsCall = "azure-native:containerregistry:listRegistryCredentials"
	keysCall        = "azure-native:storage:listStorageAccountKeys"
	whoCall         = "azure-native:authorization:getClientConfig"

	// A version of Azure's API that has an overlay network; the plugin's default has not.
	clusterType    = "azure-native:containerservice/v20240501:ManagedCluster"
	poolType       = "azure-native:containerservice/v20240501:AgentPool"
	userCall       = "azure-native:containerservice/v20240501:listManagedClusterUserCredentials"
	identityType   = "azure-native:managedidentity:UserAssignedIdentity"
	federationType = "azure-native:managedidentity:FederatedIdentityCredential"
)

// The program's names for the resources. They are part of the state: renaming one is
// another resource.
const (
	groupName      = "group"
	registryName   = "registry"
	accountName    = "storage"
	serviceName    = "storage-service"
	containerName  = "bundle-blobs"
	lifecycleName  = "storage-lifecycle"
	assignmentName = "storage-access"

	clusterName    = "cluster"
	poolPrefix     = "pool-" // and the pool's name
	identityName   = "worker-identity"
	federationName = "federation-" // and the account's name
)

// Azure's roles.
const (
	blobContributor = "ba92f5b4-2d11-453d-a403-e96b0029c9fe" // Storage Blob Data Contributor
	acrPull         = "7f951dda-4ed3-4680-a7ca-43fe172d538d" // AcrPull
	clusterAdmin    = "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b" // Azure Kubernetes Service RBAC Cluster Admin
)

func (s Settings) groupID() string {
	return "/subscriptions/" + s.Subscription + "/resourceGroups/" + s.Group
}

func (s Settings) registryID() string {
	if s.Registry.Adopt != "" {
		return s.Registry.Adopt
	}
	return s.groupID() + "/providers/Microsoft.ContainerRegistry/registries/" + s.Registry.Name
}

func (s Settings) accountID() string {
	if s.Storage.Adopt != "" {
		return s.Storage.Adopt
	}
	return s.groupID() + "/providers/Microsoft.Storage/storageAccounts/" + s.Storage.Name
}

func (s Settings) containerID() string {
	return s.accountID() + "/blobServices/default/containers/" + s.Storage.Container
}

// clusterID is the cluster's, "" for none.
func (s Settings) clusterID() string {
	switch {
	case s.Cluster == nil:
		return ""
	case s.Cluster.Adopt != "":
		return s.Cluster.Adopt
	}
	return s.groupID() + "/providers/Microsoft.ContainerService/managedClusters/" + s.Cluster.Name
}

// workers is the name of the identity that workers and drivers have. Several environments
// may adopt one cluster.
func (s Settings) workers() string {
	_, name := split(s.clusterID())
	if s.Cluster.Adopt != "" {
		name += "-" + s.Environment
	}
	return name + "-workers"
}

func (s Settings) identityID() string {
	return s.groupID() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + s.workers()
}

// id is the resource ID of what the program calls name, "" for what has none before it
// is made.
func (s Settings) id(name string) string {
	switch name {
	case groupName:
		return s.groupID()
	case registryName:
		return s.registryID()
	case accountName:
		return s.accountID()
	case serviceName:
		return s.accountID() + "/blobServices/default"
	case containerName:
		return s.containerID()
	case lifecycleName:
		return s.accountID() + "/managementPolicies/default"
	}
	if s.Cluster == nil {
		return ""
	}
	switch name {
	case clusterName:
		return s.clusterID()
	case identityName:
		return s.identityID()
	}
	if pool, ok := strings.CutPrefix(name, poolPrefix); ok {
		return s.clusterID() + "/agentPools/" + pool
	}
	if account, ok := strings.CutPrefix(name, federationName); ok {
		return s.identityID() + "/federatedIdentityCredentials/" + account
	}
	return ""
}

// assignment is the name of a role assignment, which Azure wants to be a GUID: the same
// for the same scope, role and person.
func assignment(scope, role, principal string) string {
	return guid(strings.ToLower(scope) + " " + role + " " + principal)
}

// guid is a version 5 UUID in the namespace of URLs.
func guid(name string) string {
	h := sha1.New()
	h.Write([]byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8})
	h.Write([]byte(name))
	u := h.Sum(nil)[:16]
	u[6], u[8] = u[6]&0x0f|0x50, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// split is the resource group and the name in a resource ID.
func split(id string) (group, name string) {
	parts := strings.Split(id, "/")
	if len(parts) < 9 {
		return "", ""
	}
	return parts[4], parts[8]
}

// maker is what the marks of a resource say that made it.
const maker = "mops"

// tags say whose a resource is.
func (s Settings) tags() map[string]string {
	return map[string]string{"modelops-maker": maker, "modelops-environment": s.Environment}
}

// metadata says the same of the container, whose keys are those of C.
func (s Settings) metadata() map[string]string {
	return map[string]string{"modelops_maker": maker, "modelops_environment": s.Environment}
}
