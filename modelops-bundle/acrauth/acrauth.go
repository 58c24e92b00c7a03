// Package acrauth gets access to Azure's container registries by who the process is: a
// developer who ran az login, a pod with a workload identity, a virtual machine.
//
// The identity's token for the registry's audience is exchanged, at the registry itself,
// for a refresh token, and that for access tokens of one repository. All are kept in memory
// alone, and sent to the registry's own host alone.
package acrauth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/modelops-suite/modelops-go/contracts"
)

// audience is what tokens for registries are asked for: of every cloud the same.
const audience = "https://containerregistry.azure.net/.default"

// maxAnswer bounds what is read of a token service's answer, in bytes.
const maxAnswer = 128 << 10

// Identity is who the process is, for any number of registries and goroutines. It
// implements bundleoci.Identity.
type Identity struct {
	credential func(host string) (azcore.TokenCredential, error)

	mu       sync.Mutex
	sessions map[string]*session // by host
}

// New is the identity that the credential stands for.
func New(credential azcore.TokenCredential) *Identity {
	return &Identity{credential: func(string) (azcore.TokenCredential, error) { return credential, nil }}
}

// session is what is known of one registry.
type session struct {
	turn       chan struct{} // holds one element while somebody talks to the token service
	credential azcore.TokenCredential
	refresh    string // empty until the first exchange
}

// AccessToken is a new access token for the scopes, each as "repository:NAME:pull,push".
// client sends what it is given to host and to nobody else. The first call gets a token of
// the identity and exchanges it; later ones do so when the registry takes the refresh token
// no more.
func (i *Identity) AccessToken(ctx context.Context, client *http.Client, host string, scopes []string) (contracts.Secret, error) {
	s := i.session(host)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	service := tokenService{client: client, host: host}
	if s.refresh != "" {
		token, err := service.access(ctx, s.refresh, scopes)
		if _, refused := errors.AsType[*refusal](err); !refused {
			return contracts.Secret(token), err
		}
		s.refresh = ""
	}
	if s.credential == nil {
		credential, err := i.credential(host)
		if err != nil {
			return "", noIdentity(host, err)
		}
		s.credential = credential
	}
	identity, err := s.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{audience}})
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", noIdentity(host, err)
	}
	refresh, err := service.exchange(ctx, identity.Token)
	if err != nil {
		return "", explain(host, err)
	}
	s.refresh = refresh
	token, err := service.access(ctx, refresh, scopes)
	return contracts.Secret(token), explain(host, err)
}

func (i *Identity) session(host string) *session {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.sessions[host]
	if s == nil {
		if i.sessions == nil {
			i.sessions = map[string]*session{}
		}
		s = &session{turn: make(chan struct{}, 1)}
		i.sessions[host] = s
	}
	return s
}

// tokenService is the part of a registry that gives tokens.
type tokenService struct {
	client *http.Client
	host   string
}

// exchange turns a token of the identity into a refresh token.
func (t tokenService) exchange(ctx context.Context, identity string) (string, error) {
	answer, err := t.post(ctx, "/oauth2/exchange", url.Values{
		"grant_type": {"access_token"}, "service": {t.host}, "access_token": {identity},
	})
	if err != nil {
		return "", err
	}
	return answer.RefreshToken, t.valid(answer.RefreshToken)
}

// access turns a refresh token into an access token.
func (t tokenService) access(ctx context.Context, refresh string, scopes []string) (string, error) {
	answer, err := t.post(ctx, "/oauth2/token", url.Values{
		"grant_type": {"refresh_token"}, "service": {t.host}, "refresh_token": {refresh}, "scope": {strings.Join(scopes, " ")},
	})
	if err != nil {
		return "", err
	}
	return answer.AccessToken, t.valid(answer.AccessToken)
}

type answer struct {
	RefreshToken string `json:"refresh_token"`
	AccessToken  string `json:"access_token"`
}

func (t tokenService) post(ctx context.Context, path string, form url.Values) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+t.host+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, refused(response.StatusCode, body)
	}
	var a answer
	if len(body) > maxAnswer || json.Unmarshal(body, &a) != nil {
		return nil, t.nonsense("something that is not a token")
	}
	return &a, nil
}

// valid refuses what cannot stand in a header.
func (t tokenService) valid(token string) error {
	if token == "" {
		return t.nonsense("no token")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return t.nonsense("a token with characters that no token has")
	}
	return nil
}

func (t tokenService) nonsense(what string) error {
	return &contracts.Error{
		Code: contracts.CodeUnavailable, Stage: contracts.StageResolve,
		Message: "the token service of registry " + contracts.Quote(t.host) + " answered with " + what,
		Hint:    "check that registry.login_server is the registry that you mean",
	}
}
