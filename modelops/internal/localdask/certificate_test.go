package localdask

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A certificate that is good is kept, and any other is replaced: one that soon ends, one of
// a clock that was wrong, a damaged file.
func TestCertify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tls.pem")
	now := time.Now()
	certified := func(now time.Time) string {
		t.Helper()
		renew, err := certify(path, now)
		if err != nil || !renew.After(now) {
			t.Fatal(renew, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first := certified(now)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if certified(now.Add(certifiedFor-renewBefore-time.Hour)) != first {
		t.Error("a certificate that is good was replaced")
	}
	for name, at := range map[string]time.Time{"soon ends": now.Add(certifiedFor - renewBefore), "is not good yet": now.Add(-2 * clockSlack)} {
		if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		if certified(at) == first {
			t.Errorf("a certificate that %s was kept", name)
		}
	}
	if err := os.WriteFile(path, []byte(first[:len(first)/3]), 0o600); err != nil {
		t.Fatal(err)
	}
	certified(now)
}

// Everybody who has the file trusts the others who have it, as servers and as clients; the
// certificate cannot sign another.
func TestIssued(t *testing.T) {
	now := time.Now()
	data, err := issue(now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "127.0.0.1", Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Error(use, err)
		}
	}
	authority, err := x509.ParseCertificate(pair.Certificate[1])
	if err != nil || !authority.IsCA || pair.Leaf.IsCA || pair.Leaf.CheckSignatureFrom(authority) != nil {
		t.Errorf("%+v %v", authority, err)
	}
}
