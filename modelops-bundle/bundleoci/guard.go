package bundleoci

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/modelops-suite/modelops-go/contracts"
)

// guard keeps requests to the registry's own host. A registry may send a download
// elsewhere by a redirect, and then no credential goes along; it may not name another
// host as the place to get tokens from, or to upload to.
type guard struct {
	host string
	next http.RoundTripper
}

// tokenHosts are the registries whose token service has a host of its own.
var tokenHosts = map[string]string{
	"docker.io":            "auth.docker.io",
	"registry-1.docker.io": "auth.docker.io",
}

// RoundTrip sends a request that may go where it wants to go.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if g.own(req.URL) {
		return g.next.RoundTrip(req)
	}
	redirected := req.Response != nil
	if !redirected || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return nil, &contracts.Error{
			Code: contracts.CodeDenied, Stage: contracts.StageResolve,
			Message: fmt.Sprintf("registry %s asks for a request to %s, another host; nothing was sent there", contracts.Quote(g.host), contracts.Quote(req.URL.Host)),
			Hint:    "check that registry.login_server is the registry that you mean",
		}
	}
	if req.Header.Get("Authorization") != "" {
		req = req.Clone(req.Context())
		req.Header.Del("Authorization")
	}
	return g.next.RoundTrip(req)
}

func (g *guard) own(u *url.URL) bool {
	if u.Host == tokenHosts[g.host] && u.Scheme == "https" {
		return true
	}
	return u.Host == g.host || g.host == "docker.io" && u.Host == "registry-1.docker.io"
}
