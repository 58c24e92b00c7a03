package bundleoci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// maxMargin is how long before its end a token is renewed, at most.
const maxMargin = 5 * time.Minute

// client is an auth.Client that renews also what an upload began with: auth.Client sends
// such a request as it is, and gives up when it is refused.
type client struct{ auth.Client }

// Do sends a request with what the registry asks for.
func (c *client) Do(req *http.Request) (*http.Response, error) {
	req = req.WithContext(context.WithValue(req.Context(), shownKey{}, &shown{}))
	response, err := c.Client.Do(req)
	if err != nil || response.StatusCode != http.StatusUnauthorized || req.Header.Get("Authorization") == "" {
		return response, err
	}
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return response, nil
		}
		if req.Body, err = req.GetBody(); err != nil {
			return response, nil
		}
	}
	response.Body.Close()
	req.Header.Del("Authorization")
	return c.Client.Do(req)
}

// shown is the token that a request was sent with, kept in its context.
type shown struct {
	mu    sync.Mutex
	token string
}

type shownKey struct{}

func (s *shown) set(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

func (s *shown) get() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// tokens is an auth.Cache. One caller fetches a token for all who need it, a token is not
// handed out shortly before its end, and one who is refused with a token that has been
// replaced meanwhile gets the new one.
type tokens struct {
	mu     sync.Mutex
	scheme auth.Scheme
	slots  map[string]*slot
}

// slot is the token of one host, scheme and set of scopes.
type slot struct {
	turn  chan struct{} // holds one element while somebody fetches
	mu    sync.Mutex
	token string
	until time.Time // when to renew it; zero for when it is refused
}

func (t *tokens) slot(host string, scheme auth.Scheme, scopes string) *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := host + " " + scheme.String() + " " + scopes
	s := t.slots[key]
	if s == nil {
		if t.slots == nil {
			t.slots = map[string]*slot{}
		}
		s = &slot{turn: make(chan struct{}, 1)}
		t.slots[key] = s
	}
	return s
}

// good is the token in the slot, or "".
func (s *slot) good() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.until.IsZero() && time.Now().After(s.until) {
		return ""
	}
	return s.token
}

func (s *slot) put(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.until = token, renewal(token, time.Now())
}

// GetScheme is what the registry last asked for.
func (t *tokens) GetScheme(context.Context, string) (auth.Scheme, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.scheme == auth.SchemeUnknown {
		return t.scheme, errdef.ErrNotFound
	}
	return t.scheme, nil
}

// GetToken is a token that is good for a while.
func (t *tokens) GetToken(ctx context.Context, host string, scheme auth.Scheme, scopes string) (string, error) {
	token := t.slot(host, scheme, scopes).good()
	if token == "" {
		return "", errdef.ErrNotFound
	}
	if s, ok := ctx.Value(shownKey{}).(*shown); ok {
		s.set(token)
	}
	return token, nil
}

// Set is called when a request was refused: with the token that its context says, or with
// none.
func (t *tokens) Set(ctx context.Context, host string, scheme auth.Scheme, scopes string, fetch func(context.Context) (string, error)) (string, error) {
	slot := t.slot(host, scheme, scopes)
	select {
	case slot.turn <- struct{}{}:
		defer func() { <-slot.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	refused := ""
	if s, ok := ctx.Value(shownKey{}).(*shown); ok {
		refused = s.get()
	}
	if token := slot.good(); token != "" && token != refused {
		return token, nil
	}
	token, err := fetch(ctx)
	if err != nil {
		return "", err
	}
	slot.put(token)
	t.mu.Lock()
	t.scheme = scheme
	t.mu.Unlock()
	return token, nil
}

// renewal is when a token that was got now should be replaced: some time before its end,
// counted from now, whatever the clocks say. It is zero when the token does not tell.
func renewal(token string, now time.Time) time.Time {
	from, until, ok := lifetime(token)
	if !ok || !until.After(from) {
		return time.Time{}
	}
	life := until.Sub(from)
	return now.Add(life - min(life/5, maxMargin))
}

// lifetime reads when a token was issued and when it ends, if it is a JWT that says so.
// Nothing is verified: that is the registry's part.
func lifetime(token string) (from, until time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return from, until, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Issued  float64 `json:"iat"`
		Expires float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 || claims.Expires > 1<<40 || claims.Issued < 0 {
		return from, until, false
	}
	until = time.Unix(int64(claims.Expires), 0)
	from = time.Now()
	if claims.Issued > 0 {
		from = time.Unix(int64(claims.Issued), 0)
	}
	return from, until, true
}
