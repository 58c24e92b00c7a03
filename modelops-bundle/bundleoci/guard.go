package bundleoci

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// guard keeps requests to the registry's own host and scheme. A registry may send a
// download elsewhere by a redirect, and then no credential goes along; it may not name
// another host as the place to get tokens from, or to upload to, and nothing that is
// encrypted goes on in plain.
type guard struct {
	host   string
	scheme string
	next   *http.Transport // to the registry
	away   *http.Transport // to where it sends downloads
}

// newGuard keeps what goes through a transport to a registry.
func newGuard(host, scheme string, next *http.Transport) *guard {
	g := &guard{host: host, scheme: scheme, next: next, away: next.Clone()}
	dial := next.DialContext
	g.away.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil || !g.reaches(conn) {
			return conn, err
		}
		conn.Close() // before anything is sent
		return nil, g.refuse("sends a download to " + contracts.Quote(address) + ", which is " + inwardly)
	}
	return g
}

// inwardly is what is said of an address where no download goes.
const inwardly = "an address of this machine or of its cloud's metadata; nothing was sent there"

// tokenHosts are the registries whose token service has a host of its own. The list is
// closed: a registry that is not in it is its own token service.
var tokenHosts = map[string]string{
	"docker.io":            "auth.docker.io",
	"registry-1.docker.io": "auth.docker.io",
	"registry.gitlab.com":  "gitlab.com",
}

// RoundTrip sends a request that may go where it wants to go.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case g.own(req.URL):
		return g.next.RoundTrip(req)
	case !download(req):
		return nil, g.refuse(fmt.Sprintf("asks for a request to %s, another host; nothing was sent there", contracts.Quote(req.URL.Scheme+"://"+req.URL.Host)))
	case req.URL.Scheme != "https" && g.scheme == "https":
		return nil, g.refuse("sends a download to " + contracts.Quote(req.URL.Host) + " without encryption; nothing was sent there")
	case g.inward(req.URL.Hostname()):
		return nil, g.refuse("sends a download to " + contracts.Quote(req.URL.Host) + ", " + inwardly)
	}
	if req.Header.Get("Authorization") != "" {
		req = req.Clone(req.Context())
		req.Header.Del("Authorization")
	}
	if proxy, err := g.proxy(req); err != nil || proxy != nil {
		return g.next.RoundTrip(req) // it connects to the proxy, which knows what names are
	}
	return g.away.RoundTrip(req)
}

// proxy is the proxy that a request goes by; nil for none.
func (g *guard) proxy(req *http.Request) (*url.URL, error) {
	if g.next.Proxy == nil {
		return nil, nil
	}
	return g.next.Proxy(req)
}

func (g *guard) refuse(why string) error {
	return &contracts.Error{
		Code: contracts.CodeDenied, Stage: contracts.StageResolve,
		Message: "registry " + contracts.Quote(g.host) + " " + why,
		Hint:    "check that registry.login_server is the registry that you mean",
	}
}

// inward says whether a host is this machine, where the registry is not, or is next to it,
// where clouds keep what machines may know. What answers there trusts whoever can ask. A
// private network is a usual place for a storage, so its addresses are none of these.
func (g *guard) inward(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return !local(g.host)
	}
	address, err := netip.ParseAddr(host)
	return err == nil && g.beside(address) // what a name stands for is seen when it is connected to
}

// reaches says whether a connection leads inward, whatever its name was.
func (g *guard) reaches(conn net.Conn) bool {
	address, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && g.beside(address.Addr())
}

func (g *guard) beside(address netip.Addr) bool {
	address = address.Unmap()
	return address.IsLinkLocalUnicast() || (address.IsLoopback() || address.IsUnspecified()) && !local(g.host)
}

// local says whether a registry's host is this machine.
func local(host string) bool { return contracts.Registry{LoginServer: host}.PlainHTTP() }

// own says whether a URL is the registry's, or its token service's.
func (g *guard) own(u *url.URL) bool {
	if u.User != nil {
		return false
	}
	return u.Host == canonical(g.host) && u.Scheme == g.scheme || u.Host == tokenHosts[g.host] && u.Scheme == "https"
}

// download says whether a request was redirected from one for a blob or a manifest.
func download(req *http.Request) bool {
	if req.Response == nil || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return false
	}
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return strings.Contains(req.URL.Path, "/blobs/") || strings.Contains(req.URL.Path, "/manifests/")
}
