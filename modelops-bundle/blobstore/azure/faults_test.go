package azure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
)

// proxy passes requests on to the emulator, unless a fault takes one.
type proxy struct {
	*httptest.Server
	next http.Handler

	mu       sync.Mutex
	faults   []fault // one for each request, in their order; nil passes it on
	requests []*http.Request
}

// fault answers a request in the place of the server, or with its help.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

func newProxy(t *testing.T) *proxy {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{next: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r)
	var f fault
	if len(p.faults) > 0 {
		f, p.faults = p.faults[0], p.faults[1:]
	}
	p.mu.Unlock()
	if f == nil {
		p.next.ServeHTTP(w, r)
		return
	}
	f(w, r, p.next)
}

// suffer is what happens to the next requests; the count of requests begins anew.
func (p *proxy) suffer(faults ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.requests = faults, nil
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests)
}

func (p *proxy) through(storage *contracts.Storage) *contracts.Storage {
	other := *storage
	other.ConnectionString = contracts.Secret(server.ConnectionStringAt(p.URL + "/" + azuritetest.Account))
	return &other
}

func answer(status int, header http.Header, body string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// refusal is an answer of the service.
func refusal(status int, code string) fault {
	return answer(status, http.Header{"X-Ms-Error-Code": {code}, "X-Ms-Request-Id": {"1"}, "Content-Type": {"application/xml"}}, "<Error><Code>"+code+"</Code></Error>")
}

// lost has the server do it, and drops the answer.
func lost(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// dropped drops the request.
func dropped(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// cut breaks the connection after n bytes of the answer's body; with stall it stays open
// and nothing more comes.
func cut(n int, stall bool) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		recorder := httptest.NewRecorder()
		next.ServeHTTP(recorder, r)
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(recorder.Body.Bytes()[:n])
		_ = http.NewResponseController(w).Flush()
		if stall {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
}

// silent answers nothing.
func silent(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// A Create whose answer got lost has made the object, and says so; one that meets another's
// says that.
func TestCreateAnswerLost(t *testing.T) {
	p, storage := newProxy(t), newContainer(t)
	s := open(t, p.through(storage), azure.Options{Limits: hasty})
	for _, size := range []int{0, 10, 20 << 20} {
		key, data := fmt.Sprintf("state/%d", size), bytes.Repeat([]byte("x"), size)
		if size < 8<<20 {
			p.suffer(lost, dropped, lost)
		} else {
			p.suffer(nil, lost, nil, nil, lost, dropped)
		}
		if err := s.Create(t.Context(), key, data); err != nil {
			t.Errorf("Create of %d bytes = %v, and it was ours", size, err)
		}
		p.suffer()
		if err := s.Create(t.Context(), key, data); !errors.Is(err, blobstore.ErrExists) {
			t.Errorf("Create of the same %d bytes = %v, want ErrExists", size, err)
		}
	}
	// Another came first, with the same content, while our first try was under way.
	other := open(t, storage, azure.Options{})
	p.suffer(func(http.ResponseWriter, *http.Request, http.Handler) {
		if err := other.Create(context.Background(), "k", []byte("same")); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	if err := s.Create(t.Context(), "k", []byte("same")); !errors.Is(err, blobstore.ErrExists) {
		t.Errorf("Create = %v, want ErrExists", err)
	}
}

// What passes is waited for, and nothing is lost or mixed.
func TestFaultsThatPass(t *testing.T) {
	p, storage := newProxy(t), newContainer(t)
	s := open(t, p.through(storage), azure.Options{Limits: hasty})
	large := strings.Repeat("0123456789abcdef", 20<<16) // 20 MiB
	if err := s.Put(t.Context(), "large", strings.NewReader(large)); err != nil {
		t.Fatal(err)
	}
	busy := answer(http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}, "")
	for name, faults := range map[string][]fault{
		"cut":         {cut(0, false), cut(1<<20, false), cut(1, false), cut(5<<20, false)},
		"stall":       {cut(1<<20, true), silent},
		"unavailable": {refusal(503, "ServerBusy"), refusal(500, "InternalError"), answer(502, nil, "<html>"), busy},
		"throttled":   {refusal(429, "TooManyRequests")},
		"dropped":     {dropped, dropped, dropped},
	} {
		p.suffer(faults...)
		if got, err := blobstore.Read(t.Context(), s, "large", 1<<30); err != nil || string(got) != large {
			t.Errorf("%s: Read = %d bytes, %v", name, len(got), err)
		}
		if p.count() != len(faults)+1 {
			t.Errorf("%s: %d requests, want %d", name, p.count(), len(faults)+1)
		}
		if name == "cut" || name == "stall" { // of a short answer that would be nothing else
			continue
		}
		p.suffer(faults...)
		if err := s.Put(t.Context(), "small", strings.NewReader(name)); err != nil {
			t.Errorf("%s: Put = %v", name, err)
		}
		p.suffer(faults...)
		for entry, err := range s.List(t.Context(), "small") {
			if err != nil || entry.Size != int64(len(name)) {
				t.Errorf("%s: List = %v, %v", name, entry, err)
			}
		}
		p.suffer(faults...)
		if err := s.Delete(t.Context(), "small"); err != nil {
			t.Errorf("%s: Delete = %v", name, err)
		}
	}
	p.suffer(dropped, silent, refusal(503, "ServerBusy"), nil, dropped)
	if err := s.Put(t.Context(), "again", strings.NewReader(large)); err != nil {
		t.Fatal(err)
	}
	if got, err := blobstore.Read(t.Context(), open(t, storage, azure.Options{}), "again", 1<<30); err != nil || string(got) != large {
		t.Errorf("Read = %d bytes, %v", len(got), err)
	}
}

// An object that is written anew while it is read is not mixed.
func TestWrittenWhileRead(t *testing.T) {
	p, storage := newProxy(t), newContainer(t)
	s := open(t, p.through(storage), azure.Options{Limits: hasty})
	if err := s.Put(t.Context(), "k", strings.NewReader(strings.Repeat("a", 1<<20))); err != nil {
		t.Fatal(err)
	}
	p.suffer(cut(1000, false), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := open(t, storage, azure.Options{}).Put(context.Background(), "k", strings.NewReader(strings.Repeat("b", 1<<20))); err != nil {
			t.Error(err)
		}
		next.ServeHTTP(w, r)
	})
	data, err := blobstore.Read(t.Context(), s, "k", 1<<30)
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !e.Retryable {
		t.Errorf("Read = %d bytes, %v; want a conflict", len(data), err)
	}
}

// What does not pass is told apart, without a secret, and within the limits.
func TestErrors(t *testing.T) {
	p, storage := newProxy(t), newContainer(t)
	through := p.through(storage)
	limits := hasty
	limits.Busy = 100 * time.Millisecond
	limits.Silence = 100 * time.Millisecond
	wrongKey := *storage
	wrongKey.ConnectionString = contracts.Secret(strings.Replace(server.ConnectionString(), server.Key, "Q0FOQVJZ", 1))
	expired := signed(t, storage, everything, time.Now().Add(-time.Hour))
	reading := signed(t, storage, sas.ContainerPermissions{List: true}, time.Now().Add(time.Hour))
	html := http.Header{"Content-Type": {"text/html"}}
	skewed := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Date", time.Now().Add(-3*time.Hour).UTC().Format(http.TimeFormat))
		refusal(403, "AuthenticationFailed")(w, r, next)
	}
	gone := *storage
	gone.ConnectionString = contracts.Secret(server.ConnectionStringAt("http://127.0.0.1:1/" + azuritetest.Account))
	hangsUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangsUp.Close()
	hungUp := *reading
	hungUp.ConnectionString = contracts.Secret(strings.Replace(reading.ConnectionString.Reveal(), server.Endpoint, hangsUp.URL+"/"+azuritetest.Account, 1))
	for name, c := range map[string]struct {
		storage *contracts.Storage
		fault   fault
		code    contracts.Code
		says    string
	}{
		"wrong key":       {&wrongKey, nil, contracts.CodeUnauthenticated, "present key"},
		"expired":         {expired, nil, contracts.CodeUnauthenticated, "expired at"},
		"not permitted":   {reading, nil, contracts.CodeDenied, "needs the permissions"},
		"firewall":        {through, refusal(403, "AuthorizationFailure"), contracts.CodeDenied, "firewall"},
		"no keys":         {through, refusal(403, "KeyBasedAuthenticationNotPermitted"), contracts.CodeDenied, "storage.endpoint"},
		"clock":           {through, skewed, contracts.CodeUnauthenticated, "clock, which is off by 3h"},
		"busy":            {through, answer(503, http.Header{"Retry-After": {"3600"}, "X-Ms-Request-Id": {"1"}, "X-Ms-Error-Code": {"ServerBusy"}}, ""), contracts.CodeUnavailable, "ServerBusy"},
		"page":            {through, answer(200, html, "<html>welcome</html>"), contracts.CodeUnavailable, "no Azure storage: \"200 OK text/html\""},
		"login page":      {through, answer(403, html, "<html>log in</html>"), contracts.CodeUnavailable, "no Azure storage"},
		"redirect":        {through, answer(302, http.Header{"Location": {"http://elsewhere.example.com/"}}, ""), contracts.CodeUnavailable, "no Azure storage: \"302"},
		"proxy":           {through, answer(407, nil, ""), contracts.CodeUnavailable, "asks for a login"},
		"nobody":          {&gone, nil, contracts.CodeUnavailable, "connection refused"},
		"hung up":         {&hungUp, nil, contracts.CodeUnavailable, "EOF"},
		"something else":  {through, refusal(400, "InvalidUri"), contracts.CodeFailed, "InvalidUri"},
		"somebody's hold": {through, refusal(409, "SnapshotsPresent"), contracts.CodeConflict, "SnapshotsPresent"},
	} {
		s := open(t, c.storage, azure.Options{Limits: limits})
		p.suffer(c.fault)
		began := time.Now()
		_, err := s.Get(t.Context(), "k")
		e := contracts.AsError(err)
		if e == nil || e.Code != c.code || !strings.Contains(e.Message+" "+e.Hint, c.says) || e.Stage != contracts.StageStore {
			t.Errorf("%s: %v, want %s that says %q", name, describe(err), c.code, c.says)
		}
		if taken := time.Since(began); taken > time.Minute {
			t.Errorf("%s took %s", name, taken)
		}
		secrets := []string{server.Key, "Q0FOQVJZ", "sig=", "welcome"}
		if u, err := url.Parse("?" + after(c.storage.ConnectionString.Reveal(), "SharedAccessSignature=")); err == nil && u.Query().Get("sig") != "" {
			secrets = append(secrets, u.Query().Get("sig"), url.QueryEscape(u.Query().Get("sig")))
		}
		for _, secret := range secrets {
			if said := describe(err); strings.Contains(said, secret) {
				t.Errorf("%s: a secret in %s", name, said)
			}
		}
	}
}

func after(s, mark string) string {
	_, rest, _ := strings.Cut(s, mark)
	return rest
}

// describe is everything that anybody could print of an error.
func describe(err error) string {
	data, _ := json.Marshal(contracts.AsError(err))
	text := string(data)
	for ; err != nil; err = errors.Unwrap(err) {
		text += fmt.Sprintf("\n%v\n%+v\n%#v", err, err, err)
	}
	return text
}

// A deadline ends the waiting, and the error still says what was waited for.
func TestDeadline(t *testing.T) {
	p, storage := newProxy(t), newContainer(t)
	s := open(t, p.through(storage), azure.Options{Limits: azure.Limits{Pause: time.Hour}})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	p.suffer(answer(503, http.Header{"Retry-After": {"100"}, "X-Ms-Request-Id": {"1"}, "X-Ms-Error-Code": {"ServerBusy"}}, ""))
	_, err := s.Get(ctx, "k")
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeUnavailable || !strings.Contains(e.Message, "ServerBusy") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get = %v", describe(err))
	}
}

// An account is found in the connection string, in the endpoint, or in the variable; what
// cannot be is refused before anything is sent.
func TestOpen(t *testing.T) {
	const connection = "AccountName=acct;AccountKey=QUFBQQ=="
	none := func(string) (azcore.TokenCredential, error) { return nil, errors.New("nobody is logged in") }
	env := func(value string) func(string) string {
		return func(name string) string {
			if name == "AZURE_STORAGE_CONNECTION_STRING" {
				return value
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		storage contracts.Storage
		opts    azure.Options
		code    contracts.Code
		says    string
	}{
		"connection string":   {contracts.Storage{Provider: "azure", ConnectionString: connection}, azure.Options{}, "", ""},
		"variable":            {contracts.Storage{Provider: "azure"}, azure.Options{Getenv: env(connection)}, "", ""},
		"wrong variable":      {contracts.Storage{Provider: "azure"}, azure.Options{Getenv: env("UseDevelopmentStorage")}, contracts.CodeInvalidEnvironment, "KEY=VALUE"},
		"nothing":             {contracts.Storage{Provider: "azure"}, azure.Options{Getenv: env("")}, contracts.CodeInvalidEnvironment, "AZURE_STORAGE_CONNECTION_STRING"},
		"endpoint decides":    {contracts.Storage{Provider: "azure", Endpoint: "https://acct.blob.core.windows.net/"}, azure.Options{Getenv: env(connection)}, contracts.CodeUnsupported, "identity"},
		"nobody":              {contracts.Storage{Provider: "azure", Endpoint: "https://acct.blob.core.windows.net/"}, azure.Options{Credential: none}, contracts.CodeUnauthenticated, "az login"},
		"plain":               {contracts.Storage{Provider: "azure", ConnectionString: "AccountName=devstoreaccount1;AccountKey=QUFBQQ==;BlobEndpoint=http://storage.example.com/a"}, azure.Options{}, contracts.CodeInvalidEnvironment, "not encrypted"},
		"emulator":            {contracts.Storage{Provider: "azurite"}, azure.Options{}, "", ""},
		"emulator elsewhere":  {contracts.Storage{Provider: "azurite", Endpoint: "http://azurite.example.com/devstoreaccount1"}, azure.Options{}, contracts.CodeInvalidEnvironment, "this machine only"},
		"emulator with a key": {contracts.Storage{Provider: "azurite", ConnectionString: connection + ";BlobEndpoint=http://azurite:10000/acct"}, azure.Options{}, "", ""},
	} {
		c.storage.Container = "bundle-blobs"
		_, err := azure.Open(&c.storage, c.opts)
		e := contracts.AsError(err)
		if c.code == "" && err != nil || c.code != "" && (e == nil || e.Code != c.code || !strings.Contains(e.Message+" "+e.Hint, c.says)) {
			t.Errorf("%s: %v, want %q that says %q", name, describe(err), c.code, c.says)
		}
	}
}

// token is an identity, or its absence.
type token struct{ err error }

func (i token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "CANARY", ExpiresOn: time.Now().Add(time.Hour)}, i.err
}

// A token goes over encrypted connections to the account and nowhere else.
func TestIdentity(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	for name, c := range map[string]struct {
		identity token
		says     string
	}{"plain": {token{}, "TLS"}, "nobody": {token{errors.New("nobody is logged in\nat all")}, "nobody is logged in"}} {
		storage := &contracts.Storage{Provider: "azure", Container: "bundle-blobs", Endpoint: server.URL}
		if name == "nobody" {
			storage.Endpoint = "https" + strings.TrimPrefix(server.URL, "http")
		}
		s := open(t, storage, azure.Options{Limits: hasty, Credential: func(string) (azcore.TokenCredential, error) { return c.identity, nil }})
		err := s.Create(t.Context(), "k", nil)
		if e := contracts.AsError(err); e == nil || !strings.Contains(e.Message, c.says) || strings.Contains(describe(err), "CANARY") {
			t.Errorf("%s: %v", name, describe(err))
		}
	}
	if len(got) > 0 {
		t.Errorf("the server got %q", got)
	}
}
