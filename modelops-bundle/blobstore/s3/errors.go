package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

// errCondition is the reason of the error for a condition that did not hold.
var errCondition = errors.New("the condition of the request does not hold")

// has says whether an error is the service's answer with this code.
func has(err error, code string) bool {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && answer.Code == code
}

// translate is an error of the client library in the terms of the package blobstore. Of what
// the service says only its codes are repeated: its texts may hold what was signed.
func (s *Store) translate(verb, what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if own, ok := errors.AsType[*contracts.Error](err); ok {
		return own
	}
	subject := "storage: cannot " + verb + " " + contracts.Quote(what) + ": "
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	switch {
	case !ok:
		return remote.Unreachable(subject, s.host, err)
	case answer.Code == minio.NoSuchKey:
		return blobstore.ErrNotFound
	}
	e := &contracts.Error{Stage: contracts.StageStore}
	e.Message = subject + s.refusal(e, answer)
	return e
}

// refusal fills in what an answer of the service means, and is its reason.
func (s *Store) refusal(e *contracts.Error, answer minio.ErrorResponse) (reason string) {
	status, code := answer.StatusCode, answer.Code
	if code == http.StatusText(status) || strings.HasPrefix(code, fmt.Sprint(status)) {
		code = ""
	}
	reason = strings.TrimSpace(fmt.Sprintf("%s answers %d %s", s.host, status, contracts.Quote(code)))
	switch {
	case code == "NoSuchBucket":
		e.Code, e.Hint = contracts.CodeNotFound, "make the bucket, or correct storage.container"
		return "there is no bucket " + contracts.Quote(s.bucket) + " at " + s.host
	case code == "BucketAlreadyExists":
		e.Code, e.Hint = contracts.CodeConflict, "somebody else has a bucket of this name: choose another"
	case status == http.StatusMovedPermanently, status == http.StatusTemporaryRedirect, code == "AuthorizationHeaderMalformed", code == "InvalidRegion", code == "IllegalLocationConstraintException":
		e.Code, e.Hint = contracts.CodeInvalidEnvironment, "write the bucket's region in storage.region"
		if answer.Region != "" {
			e.Hint = "the bucket is in region " + contracts.Quote(answer.Region) + ": write it in storage.region"
		}
	case code == "RequestTimeTooSkewed":
		e.Code, e.Hint = contracts.CodeUnauthenticated, "set this machine's clock: requests are signed with the time"
	case status == http.StatusUnauthorized, code == "SignatureDoesNotMatch", code == "InvalidAccessKeyId", code == "ExpiredToken",
		code == "InvalidToken", code == "TokenRefreshRequired", code == "InvalidSecurity":
		e.Code, e.Hint = contracts.CodeUnauthenticated, "put the present keys into storage.access_key and secret_key"
		if !s.static {
			e.Hint = identityHint
		}
	case status == http.StatusForbidden, status == http.StatusMethodNotAllowed:
		e.Code, e.Hint = contracts.CodeDenied, "the keys need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the bucket's objects, and s3:ListBucket on the bucket"
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		e.Code, e.Retryable, e.Hint = contracts.CodeUnavailable, true, "the storage is busy: try again later, or with less at once"
	case status >= 500, status == http.StatusRequestTimeout:
		e.Code, e.Retryable, e.Hint = contracts.CodeUnavailable, true, "try again later"
	case status == http.StatusPreconditionFailed:
		e.Code = contracts.CodeConflict
		_ = e.Because(errCondition)
	case status == http.StatusConflict:
		e.Code, e.Retryable = contracts.CodeConflict, isConcurrent(code)
	case status == http.StatusNotImplemented:
		e.Code, e.Hint = contracts.CodeUnsupported, "use a newer version of the server"
	default:
		e.Code = contracts.CodeFailed
	}
	return reason
}

// answers refuses answers that are not the storage's: those of a proxy, or of a web page. A
// page's 404 would pass for an object that is not there.
type answers struct {
	host string
	next http.RoundTripper
}

// RoundTrip sends the request.
func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	response, err := a.next.RoundTrip(req)
	if err != nil || remote.Passing(response.StatusCode) || isStorage(req, response) {
		return response, err
	}
	_ = response.Body.Close()
	e := &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageStore,
		Message: "storage: what answers for " + contracts.Quote(a.host) + " is no S3 storage: " + contracts.Quote(response.Status+" "+response.Header.Get("Content-Type")),
		Hint:    "check the endpoint; a proxy or a login page may be in between: see HTTPS_PROXY and NO_PROXY"}
	if response.StatusCode == http.StatusProxyAuthRequired {
		e.Message = "storage: the proxy on the way to " + contracts.Quote(a.host) + " asks for a login"
		e.Hint = "give it in HTTPS_PROXY, or name the host in NO_PROXY"
	}
	return nil, e
}

// isStorage judges answers by what S3 servers put into them. Requests for credentials, which
// go elsewhere, do not have the header of signed requests.
func isStorage(req *http.Request, response *http.Response) bool {
	signed := req.Header.Get("X-Amz-Content-Sha256") + req.Header.Get("X-Goog-Content-Sha256")
	for _, name := range []string{"X-Amz-Request-Id", "X-Guploader-Uploadid"} {
		if response.Header.Get(name) != "" {
			return true
		}
	}
	kind := response.Header.Get("Content-Type")
	return signed == "" || strings.Contains(kind, "xml") || kind == "" || response.StatusCode < 300 && !strings.Contains(kind, "html")
}
