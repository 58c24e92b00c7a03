//go:build unix

package bundleoci_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

const canary = "CANARY-5d1e"

// place is a machine with a registry, a Docker configuration and a PATH.
type place struct {
	registry *bundletest.Registry
	docker   string // the directory of config.json
	bin      string
	notes    []string
}

// newPlace has a registry that lets in ada with the password.
func newPlace(t *testing.T, password string) *place {
	t.Helper()
	p := &place{registry: bundletest.NewRegistry(t), docker: t.TempDir(), bin: t.TempDir()}
	t.Setenv("DOCKER_CONFIG", p.docker)
	t.Setenv("PATH", p.bin+":"+os.Getenv("PATH"))
	bundletest.Push(t, p.registry, "team/seir", bundletest.Files{"a": "a"})
	p.registry.RequireLogin("ada", password)
	return p
}

func (p *place) config(t *testing.T, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(strings.ReplaceAll(format, "HOST", p.registry.Host), args...)
	if err := os.WriteFile(filepath.Join(p.docker, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *place) helper(t *testing.T, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.bin, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (p *place) open(t *testing.T, change func(*contracts.Registry), opts bundleoci.Options) *bundleoci.Repository {
	t.Helper()
	env := p.registry.Environment()
	if change != nil {
		change(&env.Registry)
	}
	opts.Note = func(format string, args ...any) { p.notes = append(p.notes, fmt.Sprintf(format, args...)) }
	repository, err := bundleoci.Open(env, "team/seir", opts)
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

func login(username, password string) func(*contracts.Registry) {
	return func(r *contracts.Registry) { r.Username, r.Password = username, contracts.Secret(password) }
}

func (p *place) auths(t *testing.T, username, password string) {
	t.Helper()
	p.config(t, `{"auths": {"HOST": {"auth": %q}}}`, base64.StdEncoding.EncodeToString([]byte(username+":"+password)))
}

// The first source that has something decides, and is named.
func TestOrderOfSources(t *testing.T) {
	p := newPlace(t, canary)
	p.auths(t, "ada", canary)
	try := func(want string, change func(*contracts.Registry), opts bundleoci.Options) error {
		t.Helper()
		p.notes = nil
		_, err := p.open(t, change, opts).Resolve(t.Context(), "latest")
		if notes := strings.Join(p.notes, "\n"); !strings.Contains(notes, want) || strings.Contains(notes, canary) {
			t.Errorf("%q, want %q", notes, want)
		}
		return err
	}
	if err := try(": the environment file", login("ada", canary), bundleoci.Options{}); err != nil {
		t.Error(err)
	}
	if err := try("REGISTRY_USERNAME", login("ada", canary), bundleoci.Options{CredentialSource: "REGISTRY_USERNAME and REGISTRY_PASSWORD"}); err != nil {
		t.Error(err)
	}
	if err := try("Docker configuration", nil, bundleoci.Options{}); err != nil {
		t.Error(err)
	}
	// What is wrong is not passed over for what would be right.
	err := try(": the environment file", login("ada", "wrong"+canary), bundleoci.Options{})
	checkRefused(t, err, "of the environment file are wrong", "registry.password")
	p.helper(t, "one", `echo '{"Username":"ada","Secret":"`+canary+`"}'`)
	p.config(t, `{"credHelpers": {"HOST": "one"}}`)
	if err := try("docker-credential-one", nil, bundleoci.Options{}); err != nil {
		t.Error(err)
	}
	p.config(t, `{"credsStore": "one"}`)
	if err := try("docker-credential-one", nil, bundleoci.Options{}); err != nil {
		t.Error(err)
	}
	p.config(t, `{}`)
	checkRefused(t, try(": none", nil, bundleoci.Options{}), "no credentials were found", "modelops-bundle login")
}

func checkRefused(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	text := contracts.AsError(err).Text() + fmt.Sprint(errors.Unwrap(err))
	if code := contracts.AsError(err).Code; code != contracts.CodeUnauthenticated {
		t.Errorf("%s: %s", code, text)
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

func TestHelperFaults(t *testing.T) {
	for name, tc := range map[string]struct{ helper, script, want string }{
		"fails":        {"one", "echo " + canary + "; echo " + canary + " >&2; exit 1", "failed"},
		"garbage":      {"one", "echo " + canary, "no credential"},
		"empty":        {"one", "echo '{}'", "no credential"},
		"endless":      {"one", "while :; do echo " + canary + canary + canary + canary + "; done", "without end"},
		"missing":      {"other", "", "is not on the PATH"},
		"path":         {"../one", "echo", "no program can be"},
		"absolute":     {"/bin/sh", "echo", "no program can be"},
		"blank":        {"one get; id", "echo", "no program can be"},
		"upper case":   {"One", "echo", "no program can be"},
		"has no entry": {"one", "echo credentials not found in native keychain; exit 1", "no credentials were found"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, canary)
			p.helper(t, "one", tc.script)
			p.config(t, `{"credsStore": %q}`, tc.helper)
			_, err := p.open(t, nil, bundleoci.Options{}).Resolve(t.Context(), "latest")
			checkRefused(t, err, tc.want)
		})
	}
	for name, config := range map[string]string{
		"not JSON":  canary,
		"bad entry": `{"auths": {"HOST": {"auth": "` + base64.StdEncoding.EncodeToString([]byte(canary)) + `"}}}`,
	} {
		p := newPlace(t, canary)
		p.config(t, "%s", strings.ReplaceAll(config, "HOST", p.registry.Host))
		_, err := p.open(t, nil, bundleoci.Options{}).Resolve(t.Context(), "latest")
		checkRefused(t, err, "Docker configuration", "config.json")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// A helper in the working directory is not run, even when the PATH leads there.
func TestHelperInWorkingDirectory(t *testing.T) {
	p := newPlace(t, canary)
	p.helper(t, "one", "touch ran; echo '{\"Username\":\"ada\",\"Secret\":\""+canary+"\"}'")
	p.config(t, `{"credsStore": "one"}`)
	t.Chdir(p.bin)
	t.Setenv("PATH", ".:/usr/bin:/bin")
	_, err := p.open(t, nil, bundleoci.Options{}).Resolve(t.Context(), "latest")
	checkRefused(t, err, "is not on the PATH")
	if _, err := os.Stat("ran"); err == nil {
		t.Error("it was run")
	}
}

// A helper that does not answer ends with the caller's context.
func TestSlowHelper(t *testing.T) {
	p := newPlace(t, canary)
	started := filepath.Join(t.TempDir(), "started")
	if err := os.WriteFile(started, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.helper(t, "slow", "echo x >> "+started+"; exec sleep 600")
	p.config(t, `{"credsStore": "slow"}`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	repository := p.open(t, nil, bundleoci.Options{})
	go func() {
		_, err := repository.Resolve(ctx, "latest")
		done <- err
	}()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		if info, err := os.Stat(started); err == nil && info.Size() > 0 {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Whatever was replaced is read again when it is refused; then the refusal is final.
func TestRotation(t *testing.T) {
	p := newPlace(t, "one"+canary)
	secret := filepath.Join(t.TempDir(), "secret")
	p.helper(t, "file", `printf '{"Username":"ada","Secret":"%s"}' "$(cat `+secret+`)"`)
	var mu sync.Mutex
	current := ""
	rotate := map[string]func(string){
		"environment file": func(password string) {
			mu.Lock()
			defer mu.Unlock()
			current = password
		},
		"Docker configuration": func(password string) { p.auths(t, "ada", password) },
		"helper": func(password string) {
			p.config(t, `{"credsStore": "file"}`)
			if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, set := range rotate {
		set("one" + canary)
		p.registry.RequireLogin("ada", "one"+canary)
		var change func(*contracts.Registry)
		opts := bundleoci.Options{}
		if name == "environment file" {
			change = login("ada", "one"+canary)
			opts.Reload = func() (contracts.Registry, error) {
				mu.Lock()
				defer mu.Unlock()
				r := p.registry.Environment().Registry
				r.Username, r.Password = "ada", contracts.Secret(current)
				return r, nil
			}
		}
		repository := p.open(t, change, opts)
		for _, password := range []string{"one" + canary, "two" + canary, "three" + canary} {
			p.registry.RequireLogin("ada", password)
			set(password)
			if _, err := repository.Resolve(t.Context(), "latest"); err != nil {
				t.Errorf("%s, %s: %v", name, password, err)
			}
		}
		p.registry.RequireLogin("ada", "four"+canary)
		p.registry.Requests()
		_, err := repository.Resolve(t.Context(), "latest")
		checkRefused(t, err, "are wrong or have expired")
		if asked := p.registry.Requests(); len(asked) != 2 {
			t.Errorf("%s: %d requests for a refusal", name, len(asked))
		}
	}
}

// A file that names another registry now gives its password to nobody.
func TestReloadIsBound(t *testing.T) {
	p := newPlace(t, canary)
	repository := p.open(t, login("ada", "old"), bundleoci.Options{Reload: func() (contracts.Registry, error) {
		return contracts.Registry{Provider: "docker", LoginServer: "other.example.com", Username: "ada", Password: canary}, nil
	}})
	_, err := repository.Resolve(t.Context(), "latest")
	checkRefused(t, err, "of the environment file are wrong")
}

// person is an identity that has a token, or has none.
type person struct {
	token contracts.Secret
	err   error
}

func (p person) AccessToken(context.Context, *http.Client, string, []string) (contracts.Secret, error) {
	return p.token, p.err
}

func jwt(expires time.Time) string {
	payload := fmt.Sprintf(`{"iat": %d, "exp": %d}`, expires.Add(-3*time.Hour).Unix(), expires.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + canary
}

// A token of yesterday in the Docker configuration gives way to the identity; without one
// it is called expired.
func TestExpired(t *testing.T) {
	p := newPlace(t, canary)
	p.registry.Intercept(nil)
	p.auths(t, "ada", jwt(time.Now().Add(-time.Hour)))
	azure := func(r *contracts.Registry) { r.Provider = "acr" }
	_, err := p.open(t, azure, bundleoci.Options{}).Resolve(t.Context(), "latest")
	checkRefused(t, err, "Docker configuration", "expired at 20")
	_, err = p.open(t, azure, bundleoci.Options{Identity: person{token: canary}}).Resolve(t.Context(), "latest")
	if notes := strings.Join(p.notes, "\n"); err == nil || !strings.Contains(notes, "Azure identity") {
		t.Errorf("%v, %s", err, notes) // the registry takes Basic alone
	}
	p.auths(t, "ada", canary)
	if _, err := p.open(t, azure, bundleoci.Options{Identity: person{token: canary}}).Resolve(t.Context(), "latest"); err != nil {
		t.Error(err)
	}
	p.config(t, `{}`)
	failure := &contracts.Error{Code: contracts.CodeUnauthenticated, Message: "no Azure identity was found", Hint: "run: az login"}
	for _, required := range []bool{true, false} {
		_, err = p.open(t, func(r *contracts.Registry) { r.Provider, r.RequiresAuth = "acr", required }, bundleoci.Options{Identity: person{err: failure}}).Resolve(t.Context(), "latest")
		checkRefused(t, err, "no Azure identity was found", "az login")
	}
	// Other registries are never told who the process is.
	_, err = p.open(t, nil, bundleoci.Options{Identity: person{token: canary}}).Resolve(t.Context(), "latest")
	checkRefused(t, err, "no credentials were found")
	p.registry.RequireLogin("", "")
	if _, err := p.open(t, azure, bundleoci.Options{Identity: person{err: failure}}).Resolve(t.Context(), "latest"); err != nil {
		t.Errorf("a public registry: %v", err)
	}
}
