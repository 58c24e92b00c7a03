package acrauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
)

const (
	host   = "seir.azurecr.io"
	canary = "CANARY-a7f3" // in every secret of these tests
)

// internet is every host that there is. What is dialled is recorded, and goes nowhere else.
type internet struct {
	caFile string
	key    *ecdsa.PrivateKey
	cert   []byte // DER; of every host, and of those that sign tokens

	mu    sync.Mutex
	hosts map[string]string // "host:port" to a listener
	dials []string
}

// newInternet replaces the network below http.DefaultTransport until the test ends.
func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{hosts: map[string]string{}, caFile: filepath.Join(t.TempDir(), "ca.pem")}
	var err error
	if n.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{host, "evil.example", host + ".evil.example"},
	}
	if n.cert, err = x509.CreateCertificate(rand.Reader, template, template, &n.key.PublicKey, n.key); err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.cert})
	if err := os.WriteFile(n.caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	old := http.DefaultTransport
	replaced := old.(*http.Transport).Clone()
	replaced.Proxy, replaced.DialContext = nil, n.dial
	http.DefaultTransport = replaced
	t.Cleanup(func() { http.DefaultTransport = old })
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return n
}

func (n *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, address)
	local := n.hosts[address]
	n.mu.Unlock()
	if local == "" {
		return nil, fmt.Errorf("no such host: %s", address)
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, local)
	return distant{conn}, err
}

// distant is a connection that seems to lead to another machine.
type distant struct{ net.Conn }

func (distant) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 443} }

// elsewhere is what was dialled besides the registry.
func (n *internet) elsewhere() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.dials), func(a string) bool { return a == host+":443" })
}

func (n *internet) serve(t *testing.T, name string, handler http.Handler) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{n.cert}, PrivateKey: n.key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name+":443"] = server.Listener.Addr().String()
}

// attacker keeps all that it is sent.
type attacker struct {
	answer http.HandlerFunc

	mu       sync.Mutex
	received []string
}

func (a *attacker) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	a.mu.Lock()
	a.received = append(a.received, fmt.Sprintf("%s %s %v %s", req.Method, req.URL, req.Header, body))
	a.mu.Unlock()
	if a.answer != nil {
		a.answer(w, req)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"access_token": "x", "token": "x", "refresh_token": "x"})
}

func (a *attacker) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.received, "\n")
}

// service is one of Azure's registries: its token service, and a registry behind it.
type service struct {
	net     *internet
	backend http.Handler
	lenient bool // the backend checks the tokens itself

	mu         sync.Mutex
	realm      string
	before     func(http.ResponseWriter, *http.Request) bool
	life       time.Duration
	refresh    string // the refresh token that is taken
	generation int    // of access tokens; older ones have expired
	exchanges  int
	tokens     []string // the scopes that tokens were asked for
	requests   int
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{net: newInternet(t), realm: "https://" + host + "/oauth2/token", life: time.Hour}
	s.backend = ociserver.New(ocimem.New(), nil)
	s.net.serve(t, host, s)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	s.requests++
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, req) {
		return
	}
	switch req.URL.Path {
	case "/oauth2/exchange":
		s.exchange(w, req)
	case "/oauth2/token":
		s.token(w, req)
	default:
		s.pass(w, req)
	}
}

func (s *service) exchange(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.FormValue("grant_type") != "access_token" || req.FormValue("access_token") != "aad."+canary || req.FormValue("service") != host {
		unauthorized(w, "unknown identity")
		return
	}
	s.exchanges++
	s.refresh = fmt.Sprintf("refresh-%s-%d", canary, s.exchanges)
	_ = json.NewEncoder(w).Encode(map[string]string{"refresh_token": s.refresh})
}

func (s *service) token(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, password, basic := req.BasicAuth()
	known := basic && password == "static."+canary || s.refresh != "" && req.FormValue("refresh_token") == s.refresh
	if !known {
		unauthorized(w, "refresh token has expired")
		return
	}
	scope := req.FormValue("scope")
	s.tokens = append(s.tokens, scope)
	_ = json.NewEncoder(w).Encode(map[string]string{"access_token": s.sign(scope, time.Now(), s.generation)})
}

func (s *service) pass(w http.ResponseWriter, req *http.Request) {
	token, bearer := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	if bearer && generation(token) < s.generation { // what it is after its hour
		token = s.sign("repository:x:pull", time.Now().Add(-2*time.Hour), 0)
		req.Header.Set("Authorization", "Bearer "+token)
		bearer = false
	}
	realm := s.realm
	s.mu.Unlock()
	if s.lenient || bearer && generation(token) >= 0 {
		s.backend.ServeHTTP(w, req)
		return
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service=%q,error="invalid_token"`, realm, host))
	unauthorized(w, "authentication required")
}

func unauthorized(w http.ResponseWriter, message string) {
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":%q}]}`, message)
}

// sign makes an access token as a registry checks it.
func (s *service) sign(scope string, issued time.Time, generation int) string {
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	var granted []access
	for one := range strings.FieldsSeq(scope) {
		if parts := strings.Split(one, ":"); len(parts) == 3 {
			granted = append(granted, access{parts[0], parts[1], strings.Split(parts[2], ",")})
		}
	}
	encode := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	signed := encode(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(s.net.cert)}}) + "." +
		encode(map[string]any{
			"iss": "acr", "aud": host, "sub": canary, "jti": fmt.Sprint(generation), "access": granted,
			"iat": issued.Unix(), "nbf": issued.Unix(), "exp": issued.Add(s.life).Unix(),
		})
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.net.key, sum[:])
	if err != nil {
		panic(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// generation is a token's, or -1.
func generation(token string) int {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return -1
	}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Jti string }
	var n int
	if json.Unmarshal(raw, &claims) != nil {
		return -1
	}
	if _, err := fmt.Sscan(claims.Jti, &n); err != nil {
		return -1
	}
	return n
}

// expire ends every access token that there is.
func (s *service) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
}

func (s *service) counts() (exchanges, tokens int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exchanges, len(s.tokens)
}

func (s *service) environment() *contracts.BundleEnvironment {
	return &contracts.BundleEnvironment{Environment: "dev", Registry: contracts.Registry{
		Provider: "acr", LoginServer: host, RequiresAuth: true, CAFile: s.net.caFile,
	}}
}

func (s *service) open(t *testing.T, opts bundleoci.Options) *bundleoci.Repository {
	t.Helper()
	repository, err := bundleoci.Open(s.environment(), "team/seir", opts)
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

// person is a credential of Azure.
type person struct {
	token string
	err   error
}

func (p person) GetToken(_ context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if !slices.Equal(opts.Scopes, []string{"https://containerregistry.azure.net/.default"}) {
		return azcore.AccessToken{}, fmt.Errorf("asked for %q", opts.Scopes)
	}
	return azcore.AccessToken{Token: p.token, ExpiresOn: time.Now().Add(time.Hour)}, p.err
}
