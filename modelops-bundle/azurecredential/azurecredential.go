// Package azurecredential finds who this process is to Azure. It is a package of its own
// so that linking the identity library is a program's decision.
package azurecredential

import (
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// New is the credential of this process. In a pod with workload identity it is that and
// nothing else; elsewhere it is the first of the variables AZURE_CLIENT_…, a managed
// identity and the logins of Azure's tools that has one. AZURE_TOKEN_CREDENTIALS names
// another choice: prod, dev, or one credential. Nothing is asked for yet, and tokens stay
// in memory.
func New() (azcore.TokenCredential, error) {
	if os.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "" && os.Getenv("AZURE_TOKEN_CREDENTIALS") == "" {
		return azidentity.NewWorkloadIdentityCredential(nil)
	}
	return azidentity.NewDefaultAzureCredential(nil)
}
