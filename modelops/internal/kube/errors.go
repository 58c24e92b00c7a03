package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
)

// translate makes an envelope of what went wrong with a thing, as in "apply Deployment x".
// ctx is that of the call: its own end is no fault of the cluster's.
func (c *Cluster) translate(ctx context.Context, verb, thing string, err error) error {
	if err == nil {
		return nil
	}
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision}
	var status apierrors.APIStatus // not an error by itself, so no errors.AsType
	if errors.As(err, &status) {
		c.explain(e, verb+" "+thing, status.Status())
		return e.Because(err)
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		e.Code, e.Message = contracts.CodeInterrupted, verb+" "+thing+": interrupted"
		return e.Because(err)
	}
	c.unreachable(e, verb+" "+thing, err)
	return e.Because(err)
}

// unreachable is for what did not get as far as an answer of the API.
func (c *Cluster) unreachable(e *contracts.Error, what string, err error) {
	e.Message = what + ": " + strings.TrimSpace(reason(err))
	if !isNetwork(err) {
		if strings.Contains(err.Error(), "getting credentials") { // the kubeconfig's program, which signs somebody in
			e.Code, e.Hint = contracts.CodeUnauthenticated, "sign in again; for AKS: az login, or kubelogin"
		}
		return
	}
	e.Code, e.Retryable = contracts.CodeUnavailable, true
	e.Message = what + ": the cluster at " + c.Host() + " does not answer: " + strings.TrimSpace(reason(err))
	e.Hint = "check the network, and that the cluster runs; the address is the kubeconfig's"
}

// isNetwork says whether the connection failed, not the request.
func isNetwork(err error) bool {
	_, isURL := errors.AsType[*url.Error](err)
	_, isNet := errors.AsType[net.Error](err)
	refused := strings.Contains(err.Error(), "getting credentials")
	return (isURL || isNet || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)) && !refused
}

// reason is the innermost part of a network's error that still says something.
func reason(err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in " + callTimeout.String()
	}
	return err.Error()
}

// explain fills the envelope from an answer of the API server.
func (c *Cluster) explain(e *contracts.Error, what string, status metav1.Status) {
	e.Message = what + ": " + strings.TrimSpace(status.Message)
	switch status.Reason {
	case metav1.StatusReasonNotFound:
		e.Code = contracts.CodeNotFound
	case metav1.StatusReasonUnauthorized:
		e.Code, e.Message = contracts.CodeUnauthenticated, what+": the cluster at "+c.Host()+" does not know who asks"
		e.Hint = "sign in again; for AKS: az login, or az aks get-credentials"
	case metav1.StatusReasonForbidden:
		e.Code, e.Hint = contracts.CodeDenied, "ask who runs the cluster for this right"
		if strings.Contains(status.Message, "quota") {
			e.Hint = "the namespace's quota is used up"
		}
	case metav1.StatusReasonConflict, metav1.StatusReasonAlreadyExists:
		e.Code = contracts.CodeConflict
	case metav1.StatusReasonExpired, metav1.StatusReasonGone:
		e.Code, e.Retryable = contracts.CodeUnavailable, true
	case metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout, metav1.StatusReasonTooManyRequests, metav1.StatusReasonServiceUnavailable:
		e.Code, e.Retryable = contracts.CodeUnavailable, true
	case metav1.StatusReasonInvalid:
		e.Problems = problems(status)
	default:
		if status.Code >= http.StatusInternalServerError {
			e.Code, e.Retryable = contracts.CodeUnavailable, true
		}
	}
}

// problems are the faults of an object, in the API server's words.
func problems(status metav1.Status) []contracts.Problem {
	if status.Details == nil {
		return nil
	}
	var list []contracts.Problem
	for _, cause := range status.Details.Causes {
		list = append(list, contracts.Problem{Field: cause.Field, Message: cause.Message})
	}
	return list
}

// invalid is for a file, or an answer, that cannot be understood.
func invalid(what string, err error) error {
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageEnvironment, Message: what + ": " + err.Error()}).Because(err)
}
