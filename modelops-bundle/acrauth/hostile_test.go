package acrauth_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// kinds are the ways to have a credential; each holds the canary.
func kinds(t *testing.T, s *service) map[string]*bundleoci.Repository {
	t.Helper()
	static := s.environment()
	static.Registry.Username, static.Registry.Password = "ada", "static."+canary
	withPassword, err := bundleoci.Open(static, "team/seir", bundleoci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config := `{"auths": {"` + host + `": {"auth": "", "identitytoken": "` + canary + `"}}}`
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]*bundleoci.Repository{
		"user name and password": withPassword,
		"refresh token":          s.open(t, bundleoci.Options{}),
	}
}

// A realm anywhere but at the registry gets nothing; not even a connection.
func TestHostileRealm(t *testing.T) {
	for _, realm := range []string{
		"https://evil.example/token",
		"http://" + host + "/oauth2/token",
		"https://" + host + "@evil.example/token",
		"https://" + host + ".evil.example/token",
		"https://" + host + ":444/oauth2/token",
		"https://ada:pw@" + host + "/oauth2/token",
		"https://evil.example#@" + host + "/oauth2/token",
		`https://evil.example\@` + host + "/oauth2/token",
		"//evil.example/token",
		"file:///etc/passwd",
	} {
		s := newService(t)
		evil := &attacker{}
		s.net.serve(t, "evil.example", evil)
		s.net.serve(t, host+".evil.example", evil)
		s.realm = realm
		for kind, repository := range kinds(t, s) {
			_, err := repository.Resolve(t.Context(), "latest")
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%s, %s: %v", realm, kind, err)
			}
			if code := contracts.AsError(err).Code; strings.HasPrefix(realm, "https://evil.example/") && code != contracts.CodeDenied {
				t.Errorf("%s, %s: %s, %v", realm, kind, code, err)
			}
		}
		if other := s.net.elsewhere(); len(other) > 0 || evil.all() != "" {
			t.Errorf("%s: dialled %v, sent %s", realm, other, evil.all())
		}
		// The identity goes to the registry's host, whatever the realm is, if it is a realm.
		if err := os.Remove(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json")); err != nil {
			t.Fatal(err)
		}
		_, err := push(t, s.open(t, bundleoci.Options{Identity: ada()}), bundletest.Files{"a": "a"})
		if err != nil && strings.HasPrefix(realm, "https://evil.example/") {
			t.Errorf("%s: %v", realm, err)
		}
		if other := s.net.elsewhere(); len(other) > 0 {
			t.Errorf("%s: dialled %v", realm, other)
		}
	}
}

// A redirect takes no credential along: not to another host, not back from there, and
// nothing at all where it must not lead.
func TestHostileRedirect(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path, location string
		reached                bool // by a request without any credential
	}{
		"blob":           {"GET", "/blobs/", "https://evil.example/x", true},
		"blob and back":  {"GET", "/blobs/", "https://evil.example/back", true},
		"blob in plain":  {"GET", "/blobs/", "http://evil.example/x", false},
		"blob, own port": {"GET", "/blobs/", "https://" + host + ":444/x", true},
		"upload":         {"POST", "/blobs/uploads/", "https://evil.example/x", false},
		"token":          {"", "/oauth2/token", "https://evil.example/token", false},
		"exchange":       {"", "/oauth2/exchange", "https://evil.example/exchange", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			identity := ada()
			result, err := push(t, s.open(t, bundleoci.Options{Identity: identity}), bundletest.Files{"a": "a"})
			if err != nil {
				t.Fatal(err)
			}
			evil := &attacker{}
			returned := ""
			evil.answer = func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/back" {
					http.Redirect(w, req, "https://"+host+"/returned", http.StatusTemporaryRedirect)
				}
			}
			s.net.serve(t, "evil.example", evil)
			s.net.hosts[host+":444"] = s.net.hosts["evil.example:443"]
			s.mu.Lock()
			s.before = func(w http.ResponseWriter, req *http.Request) bool {
				if req.URL.Path == "/returned" {
					returned += req.Header.Get("Authorization") + "|"
					w.WriteHeader(http.StatusNotFound)
					return true
				}
				if !strings.Contains(req.URL.Path, tc.path) || tc.method != "" && req.Method != tc.method || req.Method != "HEAD" && req.Header.Get("Authorization") == "" && tc.method != "" {
					return false
				}
				w.Header().Set("Location", tc.location)
				if req.Method == http.MethodPost && tc.method == "POST" {
					w.WriteHeader(http.StatusAccepted)
				} else {
					w.WriteHeader(http.StatusTemporaryRedirect)
				}
				return true
			}
			s.mu.Unlock()
			repositories := kinds(t, s)
			s.mu.Lock()
			s.refresh = canary
			s.mu.Unlock()
			repositories["identity"] = s.open(t, bundleoci.Options{Identity: ada()})
			for kind, repository := range repositories {
				if kind == "identity" {
					if err := os.Remove(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json")); err != nil {
						t.Fatal(err)
					}
				}
				if tc.method == "POST" {
					_, err = push(t, repository, bundletest.Files{"b": kind})
				} else {
					err = pull(t, repository, result.Ref.Digest)
				}
				through := name == "exchange" && kind != "identity"
				if err == nil && !through || err != nil && strings.Contains(err.Error(), canary) {
					t.Errorf("%s: %v", kind, err)
				}
				if kind == "identity" {
					writeDocker(t, canary)
				}
			}
			got := evil.all()
			if strings.Contains(got, canary) || strings.Contains(got, "Authorization") || (got != "") != tc.reached {
				t.Errorf("the attacker got %q", got)
			}
			if strings.Trim(returned, "|") != "" {
				t.Errorf("back at the registry with %q", returned)
			}
			if other := s.net.elsewhere(); !tc.reached && len(other) > 0 {
				t.Errorf("dialled %v", other)
			}
		})
	}
}

func writeDocker(t *testing.T, identityToken string) {
	t.Helper()
	config := `{"auths": {"` + host + `": {"identitytoken": "` + identityToken + `"}}}`
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}
