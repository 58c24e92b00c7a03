package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
)

// TestCheckRegistry tells the ways apart in which a registry can be out of reach.
func TestCheckRegistry(t *testing.T) {
	basic := func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ada" || password != "right" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://elsewhere.example/token"`)
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(code)
		}
	}
	login := func(password string) func(*contracts.Registry) {
		return func(r *contracts.Registry) {
			r.RequiresAuth, r.Username, r.Password = true, "ada", contracts.Secret(password)
		}
	}
	for _, test := range []struct {
		name     string
		handler  http.HandlerFunc
		registry func(*contracts.Registry)
		status   doctor.Status
		want     string
		code     contracts.Code
	}{
		{"open", status(200), nil, doctor.OK, "it answers", ""},
		{"right password", basic, login("right"), doctor.OK, "it answers", ""},
		{"wrong password", basic, login("wrong"), doctor.Failed, "refuses the username and password", contracts.CodeUnauthenticated},
		{"no password", basic, nil, doctor.Failed, "asks for a login, and the file says that it needs none", contracts.CodeUnauthenticated},
		{"tokens", status(401), login("right"), doctor.OK, "asks for a login, which is not tried here", ""},
		{"forbidden", status(403), nil, doctor.Failed, "not allowed", contracts.CodeDenied},
		{"elsewhere", status(302), nil, doctor.Failed, "is no registry", contracts.CodeFailed},
		{"broken", status(503), nil, doctor.Failed, "503", contracts.CodeUnavailable},
		{"with a path", status(200), func(r *contracts.Registry) { r.LoginServer += "/org/team" }, doctor.OK, "it answers", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			defer server.Close()
			registry := contracts.Registry{Provider: "docker", LoginServer: strings.TrimPrefix(server.URL, "http://")}
			if test.registry != nil {
				test.registry(&registry)
			}
			got := checkRegistry(t.Context(), registry)
			if got.Status != test.status || got.Code != test.code || !strings.Contains(got.Detail, test.want) || strings.Contains(got.Detail+got.Hint, "right") {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestCheckRegistryOverTLS(t *testing.T) {
	certificate := selfSigned(t, "localhost")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	// In capitals it is this machine too, and no host of plain HTTP.
	secure := strings.Replace(strings.TrimPrefix(server.URL, "https://"), "127.0.0.1", "LOCALHOST", 1)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	ca := writePEM(t, certificate)
	foreign := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is for example.com
	foreign.Config.ErrorLog = server.Config.ErrorLog
	defer foreign.Close()
	other := strings.Replace(strings.TrimPrefix(foreign.URL, "https://"), "127.0.0.1", "LOCALHOST", 1)
	clear := strings.Replace(strings.TrimPrefix(plain.URL, "http://"), "127.0.0.1", "LOCALHOST", 1)
	for _, test := range []struct {
		name     string
		registry contracts.Registry
		want     string
	}{
		{"unknown authority", contracts.Registry{LoginServer: secure}, "its certificate is not trusted: x509: certificate signed by unknown authority"},
		{"another host's certificate", contracts.Registry{LoginServer: other, CAFile: ca}, "its certificate is for another name: x509: certificate is valid for"},
		{"no TLS", contracts.Registry{LoginServer: clear}, "it does not speak TLS"},
		{"authority's file missing", contracts.Registry{LoginServer: secure, CAFile: ca + ".none"}, "no such file"},
		{"authority's file wrong", contracts.Registry{LoginServer: secure, CAFile: os.Args[0]}, "holds no certificate"},
	} {
		got := checkRegistry(t.Context(), test.registry)
		if got.Status != doctor.Failed || !strings.Contains(got.Detail, test.want) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
	if got := checkRegistry(t.Context(), contracts.Registry{LoginServer: secure, CAFile: ca}); got.Status != doctor.OK {
		t.Errorf("%+v", got)
	}
}

func selfSigned(t *testing.T, host string) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

func writePEM(t *testing.T, certificate tls.Certificate) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
