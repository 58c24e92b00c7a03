// Package azurecredential finds who the process is to Azure, for registries and for
// storage. It is a package of its own so that linking the identity library is a program's
// decision.
package azurecredential

import (
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// For is the identity that the process's surroundings give it, in the cloud of a host: the
// one kind that AZURE_TOKEN_CREDENTIALS names; in a pod with a workload identity, that;
// else the first of those that azidentity looks for. AZURE_TENANT_ID says which tenant, for
// people who are in several. Nothing is looked for until a token is needed, and tokens
// stay in memory.
func For(host string) (azcore.TokenCredential, error) {
	options := azcore.ClientOptions{Cloud: cloudOf(host), Telemetry: policy.TelemetryOptions{Disabled: true}}
	if os.Getenv("AZURE_TOKEN_CREDENTIALS") == "" && os.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "" {
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: options})
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: options,
		TenantID:      os.Getenv("AZURE_TENANT_ID"),
	})
}

// cloudOf is the cloud of a registry or a storage account, which its name says. For the
// public cloud it is left to AZURE_AUTHORITY_HOST.
func cloudOf(host string) cloud.Configuration {
	switch {
	case strings.HasSuffix(host, ".azurecr.cn"), strings.HasSuffix(host, ".chinacloudapi.cn"):
		return cloud.AzureChina
	case strings.HasSuffix(host, ".azurecr.us"), strings.HasSuffix(host, ".usgovcloudapi.net"):
		return cloud.AzureGovernment
	}
	return cloud.Configuration{}
}
