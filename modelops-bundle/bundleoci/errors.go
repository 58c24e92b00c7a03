package bundleoci

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/modelops-suite/modelops-go/contracts"
)

// translate is the one place where what a registry or the network answers becomes an
// error of the suite. what says, as in "bundle my-model@sha256:…", what was asked for.
func (r *Repository) translate(err error, stage contracts.Stage, what string) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*contracts.Error](err); ok {
		return own
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := &contracts.Error{Stage: stage}
	registry := "registry " + contracts.Quote(r.Location.Host)
	response, answered := errors.AsType[*errcode.ErrorResponse](err)
	switch {
	case errors.Is(err, errdef.ErrNotFound) || answered && response.StatusCode == http.StatusNotFound:
		e.Code, e.Message = contracts.CodeBundleNotFound, registry+" has no "+what
		e.Hint = "push it, or check the environment: this one is " + r.Location.String()
	case errors.Is(err, auth.ErrBasicCredentialNotFound) || answered && response.StatusCode == http.StatusUnauthorized:
		state := r.credentials.state()
		e.Code, e.Message = contracts.CodeUnauthenticated, registry+" refuses access to "+what+": "+state.refused(response)
		e.Hint = r.loginHint(state)
	case answered && response.StatusCode == http.StatusForbidden:
		e.Code, e.Message = contracts.CodeDenied, registry+" does not permit access to "+what+said(response)
		e.Hint = "ask for the right to pull from or push to " + r.Location.String()
	case answered && (response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500):
		e.Code, e.Retryable, e.Message = contracts.CodeUnavailable, true, registry+" is overloaded or broken"+said(response)
		e.Hint = "try again later"
	case answered:
		e.Code, e.Message = contracts.CodeFailed, registry+" refuses "+what+said(response)
	default:
		r.unreachable(e, err)
	}
	return e.Because(err)
}

// unreachable explains an error that is not an answer.
func (r *Repository) unreachable(e *contracts.Error, err error) {
	registry := "registry " + contracts.Quote(r.Location.Host)
	_, unknownAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	_, network := errors.AsType[net.Error](err)
	switch {
	case unknownAuthority:
		e.Code, e.Message = contracts.CodeUnavailable, registry+" has a certificate of an authority that is not known here"
		e.Hint = "name the authority's certificate in registry.ca_file of the environment file"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Code, e.Message = contracts.CodeUnavailable, registry+" speaks plain HTTP"
		e.Hint = "if that is meant, set registry.insecure: true in the environment file"
	case network || errors.Is(err, context.DeadlineExceeded):
		e.Code, e.Retryable, e.Message = contracts.CodeUnavailable, true, registry+" does not answer: "+cause(err)
		e.Hint = "check its name and the network; for the local environment, run: mops infra up"
	default:
		e.Code, e.Message = contracts.CodeUnavailable, registry+" did not answer as a registry does: "+contracts.Quote(err.Error())
		e.Hint = "check that registry.login_server names a registry, not a web page in front of one"
	}
}

// refused says whose credentials were refused. Those that have expired are called expired.
func (f found) refused(response *errcode.ErrorResponse) string {
	switch {
	case f.source == "" && f.failure != nil:
		return "no credentials were found: " + f.failure.Error()
	case f.source == "":
		return "no credentials were found"
	case !f.expired.IsZero():
		return "the credentials of " + f.source + " expired at " + f.expired.UTC().Format(time.RFC3339)
	case response != nil && slices.ContainsFunc(response.Errors, func(e errcode.Error) bool {
		return strings.Contains(strings.ToLower(e.Message), "expired")
	}):
		return "the credentials of " + f.source + " have expired"
	}
	return "the credentials of " + f.source + " are wrong or have expired"
}

func (r *Repository) loginHint(state found) string {
	name, azure := strings.CutSuffix(r.Location.Host, ".azurecr.io")
	own := contracts.AsError(state.failure)
	switch {
	case state.source == "" && own != nil && own.Hint != "":
		return own.Hint
	case r.credentials.opts.CredentialSource != "" && state.source == r.credentials.opts.CredentialSource:
		return "correct " + state.source
	case r.registry.Username != "":
		return "correct registry.username and registry.password in the environment file"
	case azure && r.credentials.opts.Identity != nil:
		return "run: az login; or: az acr login --name " + name
	case azure:
		return "run: az acr login --name " + name
	default:
		return "run: modelops-bundle login " + r.Location.Host + " (or docker login), or set registry.username and registry.password in the environment file"
	}
}

// said is what the registry gave as its reason, for the end of a message.
func said(response *errcode.ErrorResponse) string {
	if len(response.Errors) > 0 {
		return ": " + contracts.Quote(response.Errors[0].Code+" "+response.Errors[0].Message)
	}
	return ": " + http.StatusText(response.StatusCode)
}

// cause is the innermost reason of a network error.
func cause(err error) string {
	if opErr, ok := errors.AsType[*net.OpError](err); ok {
		return contracts.Quote(opErr.Err.Error())
	}
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok {
		return contracts.Quote(dnsErr.Error())
	}
	return contracts.Quote(err.Error())
}
