package acrauth_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/acrauth"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

var _ bundleoci.Identity = (*acrauth.Identity)(nil)

func ada() *acrauth.Identity { return acrauth.New(person{token: "aad." + canary}) }

// files are enough for many blobs.
func files() bundletest.Files {
	all := bundletest.Files{"model.py": "print()\n"}
	source := rand.NewChaCha8([32]byte{1})
	for i := range 4 {
		large := make([]byte, 12<<20)
		_, _ = source.Read(large)
		all[fmt.Sprintf("data/%d.bin", i)] = string(large)
	}
	return all
}

func push(t *testing.T, repository *bundleoci.Repository, all bundletest.Files) (*bundleoci.PushResult, error) {
	t.Helper()
	dir := t.TempDir()
	all.Write(t, dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := bundle.Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	return repository.Push(t.Context(), root, sources, bundleoci.PushOptions{Tag: "latest"})
}

func pull(t *testing.T, repository *bundleoci.Repository, d contracts.Digest) error {
	t.Helper()
	b, err := repository.Fetch(t.Context(), d)
	if err != nil {
		return err
	}
	_, err = b.Verify(t.Context(), nil)
	return err
}

// Debian's registry checks the tokens itself. They end in the middle of a push, between the
// two requests of an upload, and in the middle of a pull, and nothing fails.
func TestRealRegistry(t *testing.T) {
	s := newService(t)
	s.lenient, s.backend = true, startRegistry(t, s)
	var puts, gets atomic.Int32
	s.before = func(_ http.ResponseWriter, req *http.Request) bool {
		upload := req.Method == http.MethodPut && puts.Add(1) == 3
		download := req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") && gets.Add(1) == 3
		if upload || download {
			s.expire()
		}
		return false
	}
	result, err := push(t, s.open(t, bundleoci.Options{Identity: ada()}), files())
	if err != nil {
		t.Fatal(err)
	}
	exchanges, pushed := s.counts()
	if pushed < 3 || exchanges != 1 {
		t.Errorf("%d tokens and %d exchanges for a push", pushed, exchanges)
	}
	if err := pull(t, s.open(t, bundleoci.Options{Identity: ada()}), result.Ref.Digest); err != nil {
		t.Fatal(err)
	}
	exchanges, all := s.counts()
	if all-pushed != 2 || exchanges != 2 { // two identities
		t.Errorf("%d tokens and %d exchanges for a pull", all-pushed, exchanges)
	}
	if other := s.net.elsewhere(); len(other) > 0 {
		t.Errorf("dialled %v", other)
	}
	stranger := s.open(t, bundleoci.Options{})
	if err := pull(t, stranger, result.Ref.Digest); contracts.AsError(err).Code != contracts.CodeUnauthenticated {
		t.Errorf("the registry lets anybody in: %v", err)
	}
}

func startRegistry(t *testing.T, s *service) http.Handler {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("there is no docker-registry here: apt-get install docker-registry")
		}
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q, relativeurls: true, secret: test}
auth: {token: {realm: %q, service: %q, issuer: acr, rootcertbundle: %q}}
`, filepath.Join(dir, "data"), address, s.realm, host, s.net.caFile)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "serve", config)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
			proxy.Transport = &http.Transport{}
			return proxy
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("the registry does not start")
		}
	}
}

// However many ask at once, the identity is exchanged once, and a token is fetched once,
// and once more after it has expired.
func TestSingleFlight(t *testing.T) {
	s := newService(t)
	identity := ada()
	if _, err := push(t, s.open(t, bundleoci.Options{Identity: identity}), bundletest.Files{"a": "a"}); err != nil {
		t.Fatal(err)
	}
	repository := s.open(t, bundleoci.Options{Identity: identity})
	_, before := s.counts()
	for round := range 3 {
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				if _, err := repository.Resolve(t.Context(), "latest"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		exchanges, tokens := s.counts()
		if exchanges != 1 || tokens-before != round+1 {
			t.Errorf("round %d: %d exchanges, %d tokens", round, exchanges, tokens-before)
		}
		s.expire()
	}
}

// A refresh token that is taken no more is replaced; one identity that is refused is told
// so, after one attempt.
func TestRefreshTokenExpires(t *testing.T) {
	s := newService(t)
	repository := s.open(t, bundleoci.Options{Identity: ada()})
	if _, err := push(t, repository, bundletest.Files{"a": "a"}); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.refresh = "another"
	s.mu.Unlock()
	s.expire()
	if _, err := repository.Resolve(t.Context(), "latest"); err != nil {
		t.Fatal(err)
	}
	if exchanges, _ := s.counts(); exchanges != 2 {
		t.Errorf("%d exchanges", exchanges)
	}
	s.mu.Lock()
	s.requests = 0
	s.mu.Unlock()
	_, err := s.open(t, bundleoci.Options{Identity: acrauth.New(person{token: "stranger." + canary})}).Resolve(t.Context(), "latest")
	checkError(t, err, contracts.CodeUnauthenticated, "does not let this Azure identity in", "unknown identity")
	if s.requests != 2 {
		t.Errorf("%d requests", s.requests)
	}
}

// checkError also says that no secret is in the error, however it is printed.
func checkError(t *testing.T, err error, code contracts.Code, want ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	e := contracts.AsError(err)
	text := e.Text() + string(contracts.MarshalEnvelope(err)) + fmt.Sprintf("%v %+v", err, errors.Unwrap(err))
	if e.Code != code {
		t.Errorf("code %s, want %s: %s", e.Code, code, text)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in %s", w, text)
		}
	}
	if strings.Contains(text, canary) {
		t.Errorf("a secret is told: %s", text)
	}
}

// What the token service may answer besides tokens.
func TestTokenServiceFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		code   contracts.Code
		want   string
	}{
		"empty":     {200, `{}`, contracts.CodeUnavailable, "no token"},
		"garbage":   {200, "<html>" + canary, contracts.CodeUnavailable, "is not a token"},
		"endless":   {200, `{"refresh_token":"` + strings.Repeat("x", 1<<20) + `"}`, contracts.CodeUnavailable, "is not a token"},
		"two lines": {200, `{"refresh_token":"a\r\nX: b"}`, contracts.CodeUnavailable, "characters"},
		"denied":    {403, `{"errors":[{"code":"DENIED","message":"no role"}]}`, contracts.CodeDenied, "no role"},
		"redirect":  {307, "", contracts.CodeUnauthenticated, "Temporary Redirect"},
		"control":   {401, `{"errors":[{"code":"X","message":"\u001b[2J"}]}`, contracts.CodeUnauthenticated, `\\x1b`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			evil := &attacker{}
			s.net.serve(t, "evil.example", evil)
			s.before = func(w http.ResponseWriter, req *http.Request) bool {
				if req.URL.Path != "/oauth2/exchange" {
					return false
				}
				w.Header().Set("Location", "https://evil.example/oauth2/exchange")
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
				return true
			}
			_, err := s.open(t, bundleoci.Options{Identity: ada()}).Resolve(t.Context(), "latest")
			checkError(t, err, tc.code, tc.want)
			if evil.all() != "" {
				t.Errorf("sent elsewhere: %s", evil.all())
			}
		})
	}
}

// What azidentity tried is told, one thing to a line, and how to mend it.
func TestNoIdentity(t *testing.T) {
	s := newService(t)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "dev")
	t.Setenv("PATH", t.TempDir())
	_, err := s.open(t, bundleoci.Options{Identity: acrauth.Default()}).Resolve(t.Context(), "latest")
	checkError(t, err, contracts.CodeUnauthenticated, "no Azure identity", "AzureCLICredential", "az login")
	t.Logf("%s", contracts.AsError(err).Text())
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "nonsense")
	_, err = s.open(t, bundleoci.Options{Identity: acrauth.Default()}).Resolve(t.Context(), "latest")
	checkError(t, err, contracts.CodeUnauthenticated, "AZURE_TOKEN_CREDENTIALS", "nonsense")
}

// azidentity itself, with a command az that answers as Azure's does.
func TestDefaultIdentity(t *testing.T) {
	s := newService(t)
	dir := t.TempDir()
	script := "#!/bin/sh\ncat <<END\n{\"accessToken\": \"aad." + canary + "\", \"expires_on\": 4102444800, \"subscription\": \"s\", \"tenant\": \"t\", \"tokenType\": \"Bearer\"}\nEND\n"
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "AzureCLICredential")
	if _, err := push(t, s.open(t, bundleoci.Options{Identity: acrauth.Default()}), bundletest.Files{"a": "a"}); err != nil {
		t.Fatal(err)
	}
}

// A wait for somebody else's token ends with the caller's context.
func TestCancelled(t *testing.T) {
	s := newService(t)
	entered, release := make(chan struct{}, 1), make(chan struct{})
	s.before = func(_ http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path == "/oauth2/exchange" {
			entered <- struct{}{}
			<-release
		}
		return false
	}
	repository := s.open(t, bundleoci.Options{Identity: ada()})
	done := make(chan error, 1)
	go func() {
		_, err := repository.Tags(t.Context())
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := repository.Resolve(ctx, "latest"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	<-done
}
