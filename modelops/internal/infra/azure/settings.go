package azure

import (
	"crypto/sha1"
	"fmt"
	"strings"
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
)

// blobContributor is Azure's role Storage Blob Data Contributor.
const blobContributor = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"

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
