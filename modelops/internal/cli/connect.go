package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/storage"
)

// connectTimeout bounds each attempt to reach a server.
const connectTimeout = 15 * time.Second

// connection is an attempt to reach what an environment file names.
type connection struct{ doctor.Check }

// connect tries everything that the environment names.
func connect(ctx context.Context, env *contracts.BundleEnvironment) []connection {
	list := []connection{{checkRegistry(ctx, env.Registry)}}
	if env.Storage != nil {
		list = append(list, connection{checkStorage(ctx, env, false)})
	}
	if env.Compute != nil && env.Compute.Scheduler != "" {
		list = append(list, connection{checkScheduler(ctx, env.Compute)})
	}
	return list
}

// checkRegistry asks the registry whether it is one, first without credentials and, when
// it asks for a password, with those of the file.
func checkRegistry(ctx context.Context, r contracts.Registry) doctor.Check {
	host, _, _ := strings.Cut(r.LoginServer, "/")
	scheme := "https"
	if r.PlainHTTP() {
		scheme = "http"
	}
	address := scheme + "://" + host + "/v2/"
	c := doctor.Check{Name: "registry", Looked: address}
	client, err := registryClient(r)
	if err != nil {
		return c.FailedWith(err)
	}
	defer client.CloseIdleConnections()
	response, err := get(ctx, client, address, "", "")
	if err != nil {
		return failedToReach(c, err)
	}
	basic := strings.HasPrefix(strings.ToLower(response.Header.Get("WWW-Authenticate")), "basic")
	if response.StatusCode == http.StatusUnauthorized && basic && r.Username != "" {
		if response, err = get(ctx, client, address, r.Username, r.Password.Reveal()); err != nil {
			return failedToReach(c, err)
		}
		if response.StatusCode == http.StatusUnauthorized {
			return c.Failed(contracts.CodeUnauthenticated, "mend username and password in the environment file", "it refuses the username and password")
		}
	}
	return registryAnswer(c, r, response)
}

func registryAnswer(c doctor.Check, r contracts.Registry, response *http.Response) doctor.Check {
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return c.OK("it answers")
	case code == http.StatusUnauthorized && (r.RequiresAuth || r.Username != ""):
		return c.OK("it answers, and asks for a login, which is not tried here")
	case code == http.StatusUnauthorized:
		return c.Failed(contracts.CodeUnauthenticated, "write requires_auth: true, with a username and password or a login of your own", "it asks for a login, and the file says that it needs none")
	case code == http.StatusForbidden:
		return c.Failed(contracts.CodeDenied, "ask who runs it for access", "it answers 403: not allowed")
	case code >= 500 || code == http.StatusTooManyRequests:
		return c.Failed(contracts.CodeUnavailable, "try again later", "it answers %s", response.Status)
	}
	return c.Failed(contracts.CodeFailed, "check login_server: host[:port], without the repository", "what answers there is no registry: %s", response.Status)
}

// registryClient keeps to the registry's own host: no redirect is followed.
func registryClient(r contracts.Registry) (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: connectTimeout, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if r.CAFile != "" && !r.PlainHTTP() {
		pem, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, readError(r.CAFile, err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, &contracts.Error{Code: contracts.CodeInvalidEnvironment, Message: "registry.ca_file " + contracts.Quote(r.CAFile) + " holds no certificate", Hint: "it is a PEM file"}
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{
		Transport: transport, Timeout: connectTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func get(ctx context.Context, client *http.Client, address, username, password string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if username != "" {
		request.SetBasicAuth(username, password)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	return response, response.Body.Close()
}

// failedToReach says why a server was not reached: name, port, certificate or time.
func failedToReach(c doctor.Check, err error) doctor.Check {
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		name        x509.HostnameError
		timeout     interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns):
		return c.Failed(contracts.CodeUnavailable, "check the spelling, and the network", "the name %s does not resolve", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return c.Failed(contracts.CodeUnavailable, "start it, or check host and port; the local one: mops infra up", "nothing listens there")
	case errors.As(err, &name):
		return c.Failed(contracts.CodeUnavailable, "write the name that the certificate has", "its certificate is for another name: %v", name)
	case errors.As(err, &certificate):
		return c.Failed(contracts.CodeUnavailable, "name the authority's certificate: registry.ca_file", "its certificate is not trusted: %v", certificate.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return c.Failed(contracts.CodeUnavailable, "if it has no TLS, write insecure: true (provider docker only)", "it does not speak TLS")
	case errors.As(err, &timeout) && timeout.Timeout():
		return c.Failed(contracts.CodeUnavailable, "check the network and its firewalls", "no answer in %s", connectTimeout)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return c.Failed(contracts.CodeUnavailable, "check the network", "%v", err)
}

// checkStorage looks into the storage; with write it also makes and removes an object there.
func checkStorage(ctx context.Context, env *contracts.BundleEnvironment, write bool) doctor.Check {
	c := doctor.Check{Name: "storage", Looked: env.Storage.Provider + " " + env.Storage.Container}
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	store, err := storage.OpenBriefly(env)
	if e := contracts.AsError(err); e != nil && e.Code == contracts.CodeUnsupported && !write {
		return c.Skipped("%s", e.Message)
	}
	if err != nil {
		return c.FailedWith(err)
	}
	for _, err := range store.List(ctx, "jobs/") {
		if err != nil {
			return c.FailedWith(err)
		}
		break
	}
	if !write {
		return c.OK("it can be read")
	}
	if err := infra.ProveStorage(ctx, store); err != nil {
		return c.FailedWith(err)
	}
	return c.OK("an object can be made exactly once, and removed")
}
