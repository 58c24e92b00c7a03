package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

// translate is an error of the client library in the terms of the package blobstore. The
// library's texts have the request's address in them, and with it a signature: only codes
// of the service and reasons of the network are repeated.
func (s *Store) translate(verb, what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	subject := "storage: cannot " + verb + " " + contracts.Quote(what) + ": "
	if own, ok := errors.AsType[*contracts.Error](err); ok {
		return own
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		if answer.StatusCode == http.StatusNotFound && answer.ErrorCode == "BlobNotFound" {
			return blobstore.ErrNotFound
		}
		e := &contracts.Error{Stage: contracts.StageStore}
		if errors.Is(err, context.DeadlineExceeded) {
			_ = e.Because(context.DeadlineExceeded)
		}
		e.Message = subject + s.refusal(e, answer)
		return e
	}
	return remote.Unreachable(subject, s.account, err)
}

// refusal fills in what an answer of the service means, and is its reason.
func (s *Store) refusal(e *contracts.Error, answer *azcore.ResponseError) (reason string) {
	code := answer.ErrorCode
	reason = fmt.Sprintf("%s answers %d %s", s.account, answer.StatusCode, contracts.Quote(code))
	switch status := answer.StatusCode; {
	case code == "ContainerNotFound", code == "ResourceNotFound" && status == http.StatusNotFound:
		e.Code, e.Hint = contracts.CodeNotFound, "make it: mops infra up; or correct storage.container"
		return "there is no container " + contracts.Quote(s.name) + " in " + s.account
	case code == "ContainerAlreadyExists":
		e.Code = contracts.CodeConflict
	case status == http.StatusUnauthorized, code == "AuthenticationFailed", code == "AuthorizationFailure" && says(answer, "failed to authenticate"):
		e.Code, e.Hint = contracts.CodeUnauthenticated, s.loginHint(answer)
	case status == http.StatusForbidden, code == "AccountIsDisabled", strings.HasPrefix(code, "BlobImmutable"):
		e.Code, e.Hint = contracts.CodeDenied, s.deniedHint(code)
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		e.Code, e.Retryable, e.Hint = contracts.CodeUnavailable, true, "the account is busy: try again later, or with less at once"
	case status >= 500, status == http.StatusRequestTimeout, code == "ContainerBeingDeleted":
		e.Code, e.Retryable, e.Hint = contracts.CodeUnavailable, true, "try again later"
	case status == http.StatusConflict, status == http.StatusPreconditionFailed:
		e.Code = contracts.CodeConflict
	default:
		e.Code = contracts.CodeFailed
	}
	return reason
}

// says looks for words in the status line of an answer.
func says(answer *azcore.ResponseError, words string) bool {
	return answer.RawResponse != nil && strings.Contains(answer.RawResponse.Status, words)
}

// tolerance is what the service's clock and ours may differ by: it refuses requests that
// are 15 minutes old.
const tolerance = 5 * time.Minute

func (s *Store) loginHint(answer *azcore.ResponseError) string {
	if answer.RawResponse != nil {
		at, err := http.ParseTime(answer.RawResponse.Header.Get("Date"))
		if off := time.Since(at).Round(time.Minute); err == nil && off.Abs() > tolerance {
			return fmt.Sprintf("set this machine's clock, which is off by %s: requests are signed with the time", off.Abs())
		}
	}
	switch s.access {
	case bySignature:
		if expiry := s.signatureExpiry(); !expiry.IsZero() && time.Now().After(expiry) {
			return "get a new shared access signature: this one expired at " + expiry.UTC().Format(time.RFC3339)
		}
		return "get a new shared access signature for the connection string: this one has expired, or its key was replaced"
	case byIdentity:
		return loginHint
	}
	return "put the account's present key into the connection string"
}

func (s *Store) signatureExpiry() time.Time {
	u, err := url.Parse(s.client.URL())
	if err != nil {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z", "2006-01-02"} {
		if t, err := time.Parse(layout, u.Query().Get("se")); err == nil {
			return t
		}
	}
	return time.Time{}
}

func (s *Store) deniedHint(code string) string {
	switch {
	case code == "KeyBasedAuthenticationNotPermitted":
		return "the account takes no keys: leave the connection string out and write storage.endpoint, to use an identity"
	case strings.HasSuffix(code, "IPMismatch"), code == "AuthorizationFailure":
		return "the account's firewall may not let this machine in; or the signature does not cover this"
	case s.access == byIdentity:
		return "ask for the role Storage Blob Data Contributor on container " + s.name
	case s.access == bySignature:
		return "a shared access signature needs the permissions read, create, write, delete and list on the container"
	}
	return "ask the account's owner for access"
}
