package acrauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// refusal is that a token service does not give a token.
type refusal struct {
	status int
	said   string
}

// Error is the registry's own reason.
func (r *refusal) Error() string { return r.said }

// refused reads an answer that is no token. Only 4xx says something of the credential.
func refused(status int, body []byte) error {
	var said struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	text := http.StatusText(status)
	if json.Unmarshal(body, &said) == nil && len(said.Errors) > 0 {
		text = said.Errors[0].Code + " " + said.Errors[0].Message
	}
	if status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout {
		return &contracts.Error{
			Code: contracts.CodeUnavailable, Stage: contracts.StageResolve, Retryable: true,
			Message: "the registry's token service is overloaded or broken: " + contracts.Quote(text), Hint: "try again later",
		}
	}
	return &refusal{status, text}
}

// explain turns a refusal into an error of the suite, and leaves other errors alone.
func explain(host string, err error) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	e := &contracts.Error{
		Code: contracts.CodeUnauthenticated, Stage: contracts.StageResolve,
		Message: fmt.Sprintf("registry %s does not let this Azure identity in: %s", contracts.Quote(host), contracts.Quote(r.said)),
		Hint:    "ask for the role AcrPull or AcrPush on it; if it belongs to another tenant, set AZURE_TENANT_ID, or run: az login --tenant TENANT",
	}
	if r.status == http.StatusForbidden {
		e.Code = contracts.CodeDenied
	}
	return e.Because(err)
}

// attempt is a line of azidentity's account of what it tried: "AzureCLICredential: why".
var attempt = regexp.MustCompile(`(?m)^\s*(\w+Credential): (.+)$`)

// noIdentity says what was tried to learn who the process is. azidentity's own text goes
// over many lines; the first sentence of each attempt says enough.
func noIdentity(host string, err error) error {
	e := &contracts.Error{
		Code: contracts.CodeUnauthenticated, Stage: contracts.StageResolve,
		Message: "no Azure identity was found for registry " + contracts.Quote(host),
		Hint:    "run: az login; in a cluster, give the pod a workload identity; AZURE_TOKEN_CREDENTIALS names one kind to be tried alone",
	}
	for _, tried := range attempt.FindAllStringSubmatch(err.Error(), -1) {
		if tried[1] == "DefaultAzureCredential" || tried[1] == "ChainedTokenCredential" {
			continue
		}
		why, _, _ := strings.Cut(tried[2], ". ")
		e.Problems = append(e.Problems, contracts.Problem{Field: tried[1], Message: contracts.Quote(why)})
	}
	if len(e.Problems) == 0 {
		first, _, _ := strings.Cut(err.Error(), "\n")
		e.Message += ": " + contracts.Quote(first)
	}
	return e
}
