// Package azuretoken signs in to a cluster whose users are Azure's. It links neither an
// engine nor a cloud's client, for the kubeconfig of every such cluster runs it.
package azuretoken

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/azurecredential"
)

// scope is that of all clusters of AKS.
const scope = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"

// ExecCredential is what Kubernetes' clients read from a program that signs in, in their
// version client.authentication.k8s.io/v1.
type ExecCredential struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Status     struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expirationTimestamp"`
	} `json:"status"`
}

// Get is a token for whoever the process is to Azure. The error is an envelope with
// [contracts.CodeUnauthenticated].
func Get(ctx context.Context) (*ExecCredential, error) {
	identity, err := azurecredential.For("")
	if err != nil {
		return nil, nobody(err)
	}
	token, err := identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		return nil, nobody(err)
	}
	answer := &ExecCredential{Kind: "ExecCredential", APIVersion: "client.authentication.k8s.io/v1"}
	answer.Status.Token, answer.Status.Expires = token.Token, token.ExpiresOn.UTC().Truncate(time.Second)
	return answer, nil
}

// nobody keeps the library's account of what it tried for --verbose: it is a page.
func nobody(err error) error {
	return (&contracts.Error{Code: contracts.CodeUnauthenticated, Stage: contracts.StageProvision,
		Message: "nobody is signed in to Azure for the cluster", Hint: "az login"}).Because(err)
}
