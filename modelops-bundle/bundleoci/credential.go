package bundleoci

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Identity gets access tokens of Azure's registries by who the process is. Package acrauth
// has one; a program that does not link it has none.
type Identity interface {
	// AccessToken is a new access token for the scopes. client sends to host alone.
	AccessToken(ctx context.Context, client *http.Client, host string, scopes []string) (contracts.Secret, error)
}

// credentials finds what to show to a registry. Every source is read anew each time that
// the registry asks, so a credential that was replaced is found.
type credentials struct {
	host     string
	registry contracts.Registry
	opts     Options
	client   *http.Client // sends to host alone, and follows nothing; for the identity

	mu   sync.Mutex
	last found
}

// found is what a search ended with.
type found struct {
	source  string    // for people; empty when there was none
	expired time.Time // when it expired, if it says so and has
	failure error     // the first source that failed although it is configured
}

// find is an auth.CredentialFunc.
func (c *credentials) find(ctx context.Context, host string) (auth.Credential, error) {
	if host != canonical(c.host) {
		return auth.EmptyCredential, nil
	}
	credential, f, err := c.search(ctx)
	c.mu.Lock()
	told := c.last.source == f.source && f.source != ""
	c.last = f
	c.mu.Unlock()
	if c.opts.Note != nil && !told && err == nil {
		c.opts.Note("credentials for registry %s: %s", c.host, f)
	}
	return credential, err
}

// search asks the sources in their order. One that fails does not keep the next from being
// asked; the error is for when nothing else is found either.
func (c *credentials) search(ctx context.Context) (auth.Credential, found, error) {
	if username, password := c.static(); username != "" {
		source := c.opts.CredentialSource
		if source == "" {
			source = "the environment file"
		}
		credential := auth.Credential{Username: username, Password: password.Reveal()}
		return credential, found{source: source, expired: expired(credential)}, nil
	}
	credential, source, failure := dockerCredential(ctx, canonical(c.host))
	if ctx.Err() != nil {
		return auth.EmptyCredential, found{}, ctx.Err()
	}
	f := found{expired: expired(credential), failure: failure}
	if credential != auth.EmptyCredential {
		f.source = source
	}
	identity := c.registry.Provider == "acr" && c.opts.Identity != nil
	if credential != auth.EmptyCredential && (f.expired.IsZero() || !identity) {
		return credential, f, nil
	}
	if identity {
		token, err := c.opts.Identity.AccessToken(ctx, c.client, c.host, c.scopes(ctx))
		switch {
		case err == nil:
			return auth.Credential{AccessToken: token.Reveal()}, found{source: "this process's Azure identity"}, nil
		case ctx.Err() != nil:
			return auth.EmptyCredential, f, err
		case f.failure == nil:
			f.failure = err
		}
	}
	if c.registry.RequiresAuth && f.failure != nil {
		return auth.EmptyCredential, f, f.failure
	}
	return credential, f, nil // an expired one is tried for its refusal; else nobody is asked who they are
}

// static is the user name and password that the environment holds now.
func (c *credentials) static() (string, contracts.Secret) {
	r := c.registry
	if c.opts.Reload != nil {
		// A file that is broken for a moment does not stop a worker that has what it needs.
		if now, err := c.opts.Reload(); err == nil && now.LoginServer == r.LoginServer {
			r = now
		}
	}
	return r.Username, r.Password
}

// scopes are what the request in ctx needs.
func (c *credentials) scopes(ctx context.Context) []string {
	return auth.GetAllScopesForHost(ctx, canonical(c.host))
}

// state is what the last search ended with.
func (c *credentials) state() found {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// String says where the credentials came from.
func (f found) String() string {
	switch {
	case f.source != "":
		return f.source
	case f.failure != nil:
		return fmt.Sprintf("none, as a source failed: %v", f.failure)
	}
	return "none"
}

// expired is when a credential expired that is a token and says so; zero for any other. It
// is about this machine's clock, and therefore never more than advice.
func expired(c auth.Credential) time.Time {
	for _, token := range []string{c.RefreshToken, c.AccessToken, c.Password} {
		if _, until, ok := lifetime(token); ok && time.Now().After(until) {
			return until
		}
	}
	return time.Time{}
}

// canonical is the host that requests for a registry go to.
func canonical(host string) string {
	if host == "docker.io" {
		return "registry-1.docker.io"
	}
	return host
}
