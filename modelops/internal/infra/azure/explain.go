package azure

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// explain adds to an error of the engine what is known of Azure: the code that fits, and
// what mends it.
func (p *Provider) explain(err error) error {
	f, ok := errors.AsType[*engine.Failure](err)
	if !ok {
		return err
	}
	if strings.Contains(f.Message, "marked for protection") || strings.Contains(f.Message, "because it is protected") {
		return p.loss(f.Name, nil)
	}
	e := *contracts.AsError(err)
	reason := azureError(f.Message)
	switch {
	case reason.code == "AlreadyInUse" || reason.code == "StorageAccountAlreadyTaken":
		e.Code, e.Hint = contracts.CodeConflict, "the name is somebody else's in all of Azure: choose another one in modelops.yaml ("+component(f.Name)+".name)"
	case reason.status == "401" || reason.code == "ExpiredAuthenticationToken":
		e.Code, e.Hint = contracts.CodeUnauthenticated, "az login"
	case strings.Contains(reason.code, "Quota"):
		e.Code, e.Hint = contracts.CodeDenied, "another vm_size or fewer nodes in cluster.node_pools, another azure.location, or a higher quota: az vm list-usage --location "+p.settings.Location+" --output table"
	case reason.code == "MissingSubscriptionRegistration":
		e.Code, e.Hint = contracts.CodeDenied, "once for the subscription: az provider register --wait --namespace "+namespace(f.Type)
	case reason.code == "RoleAssignmentExists":
		e.Code, e.Hint = contracts.CodeConflict, "somebody gave the role by hand: take it away with az role assignment delete, then mops infra up gives it, and takes it away again with the cluster"
	case reason.code == "AuthorizationFailed" && f.Type == assignmentType && component(f.Name) == infra.Cluster:
		e.Code, e.Hint = contracts.CodeDenied, "a cluster needs somebody who may assign roles (Owner or User Access Administrator): its nodes pull images from the registry, and its workers bundles"
	case reason.code == "AuthorizationFailed" && f.Type == assignmentType:
		e.Code, e.Hint = contracts.CodeDenied, "storage.auth: identity needs somebody who may assign roles (Owner or User Access Administrator); storage.auth: connection-string does not"
	case reason.status == "403":
		e.Code, e.Hint = contracts.CodeDenied, "making an environment needs the role Contributor on the subscription, or on a resource group that is adopted"
	case reason.code == "SubscriptionNotFound":
		e.Code, e.Hint = contracts.CodeNotFound, "az account list shows those that you can use; azure.subscription_id in modelops.yaml"
	case reason.status == "429" || strings.HasPrefix(reason.status, "5") || reason.status == "409":
		e.Code, e.Hint, e.Retryable = contracts.CodeUnavailable, "mops infra up goes on from here", true
	}
	return e.Because(err)
}

// namespace is Azure's for a type: what has to be registered.
func namespace(typ string) string {
	switch module := strings.Split(typ, ":")[1]; {
	case strings.HasPrefix(module, "containerservice"):
		return "Microsoft.ContainerService"
	case strings.HasPrefix(module, "containerregistry"):
		return "Microsoft.ContainerRegistry"
	case strings.HasPrefix(module, "managedidentity"):
		return "Microsoft.ManagedIdentity"
	}
	return "Microsoft.Storage"
}

// reason is what Azure says in an error of the plugin.
type reason struct{ status, code string }

func azureError(message string) reason {
	m := regexp.MustCompile(`Status=(\d+) Code="([^"]*)"`).FindStringSubmatch(message)
	if m == nil {
		return reason{}
	}
	return reason{m[1], m[2]}
}

// loss is the error for an update that would delete or replace data.
func (p *Provider) loss(name string, keys []string) error {
	part := component(name)
	held := map[string]string{infra.Registry: "every bundle in it", infra.Storage: "every job and result in it", infra.Group: "everything in it"}[part]
	e := &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("the configuration cannot be had without replacing the %s%s, and %s would be lost; nothing was changed", what(name), listed(keys), held),
		Hint:    "put the old configuration back"}
	if part != infra.Group {
		e.Hint += fmt.Sprintf("; to lose them on purpose: mops infra down --destroy-%s --confirm %s, then mops infra up", part, p.settings.Environment)
	}
	return e
}

// what is a resource in words.
func what(name string) string {
	switch name {
	case groupName:
		return "resource group"
	case accountName:
		return "storage account"
	case containerName:
		return "container"
	case identityName:
		return "identity"
	}
	return name
}
