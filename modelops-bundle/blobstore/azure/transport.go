package azure

import (
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

// newClient is a client that follows no redirect: the storage makes none, and the
// request carries its signature.
func newClient(stall time.Duration) *http.Client {
	return &http.Client{
		Transport:     remote.NewTransport(stall),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answers refuses answers that are not the storage's: those of a proxy, or of a web page.
type answers struct{ host string }

// Do sends the request.
func (a *answers) Do(req *policy.Request) (*http.Response, error) {
	response, err := req.Next()
	if err != nil || response.Header.Get("x-ms-request-id") != "" || passing(response) {
		return response, err
	}
	_ = response.Body.Close()
	e := &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageStore,
		Message: "storage: what answers for " + contracts.Quote(a.host) + " is no Azure storage: " + contracts.Quote(response.Status+" "+response.Header.Get("Content-Type")),
		Hint:    "check the endpoint; a proxy or a login page may be in between: see HTTPS_PROXY and NO_PROXY"}
	if response.StatusCode == http.StatusProxyAuthRequired {
		e.Message = "storage: the proxy on the way to " + contracts.Quote(a.host) + " asks for a login"
		e.Hint = "give it in HTTPS_PROXY, or name the host in NO_PROXY"
	}
	return nil, e
}
