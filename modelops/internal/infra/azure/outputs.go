package azure

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// Environment is what the outputs of a stack say, once they are believed: each must be
// there, be what it is called, and be of the resource that it is about.
func Environment(s Settings, outputs map[string]engine.Output, storage bool) (*contracts.BundleEnvironment, error) {
	r := reader{outputs: outputs}
	_, registry := split(s.registryID())
	env := &contracts.BundleEnvironment{Environment: s.Environment}
	env.Registry = contracts.Registry{
		Provider: "acr", RequiresAuth: true,
		LoginServer: r.text(outLoginServer, "^"+regexp.QuoteMeta(strings.ToLower(registry))+`(-[a-z0-9]+)?\.azurecr\.(io|us|cn)$`),
	}
	if s.Registry.AdminUser {
		env.Registry.Username = r.text(outUsername, `^\S+$`)
		env.Registry.Password = contracts.Secret(r.text(outPassword, `^\S+$`))
	}
	if storage {
		env.Storage = s.storage(&r)
	}
	if r.err != nil {
		return nil, r.err
	}
	if _, err := env.Marshal(); err != nil {
		return nil, unbelieved(contracts.AsError(err).Message).Because(err)
	}
	return env, nil
}

func (s Settings) storage(r *reader) *contracts.Storage {
	_, account := split(s.accountID())
	storage := &contracts.Storage{Provider: "azure", Container: s.Storage.Container}
	if s.Storage.Identity {
		storage.Endpoint = r.text(outEndpoint, `^https://`+regexp.QuoteMeta(account)+`(\.z\d+)?\.blob\.[a-z0-9.-]+/$`)
	} else {
		storage.ConnectionString = contracts.Secret(r.text(outConnection,
			`^DefaultEndpointsProtocol=https;AccountName=`+regexp.QuoteMeta(account)+`;AccountKey=[A-Za-z0-9+/]{40,}={0,2};EndpointSuffix=[a-z0-9.-]+$`))
	}
	return storage
}

// reader takes outputs out, and remembers the first that is not what it should be.
type reader struct {
	outputs map[string]engine.Output
	err     error
}

func (r *reader) text(name, pattern string) string {
	value, _ := r.outputs[name].Value.(string)
	if !regexp.MustCompile(pattern).MatchString(value) {
		r.fail(name)
	}
	return value
}

// fail never shows the value: it may be a secret.
func (r *reader) fail(name string) {
	if r.err != nil {
		return
	}
	if _, there := r.outputs[name]; !there {
		r.err = unbelieved(fmt.Sprintf("the output %s is missing", name))
		return
	}
	r.err = unbelieved(fmt.Sprintf("the output %s is not of the form that is expected", name))
}

func unbelieved(what string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
		Message: what + ", so what there is cannot be told", Hint: "mops infra up goes on, unless another one does at this moment"}
}
