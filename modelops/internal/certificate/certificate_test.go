package certificate_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
)

// Everybody who has the three parts trusts the others who have them, as servers and as
// clients; the certificate cannot sign another.
func TestIssue(t *testing.T) {
	now := time.Now()
	shared, err := certificate.Issue("test", now, time.Hour, net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(shared.Certificate, shared.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(shared.Authority)
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "127.0.0.1", Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Error(use, err)
		}
	}
	authority, err := tls.X509KeyPair(shared.Authority, shared.Key)
	if err == nil {
		t.Errorf("the authority's key is the certificate's: %v", authority.Leaf.Subject)
	}
	if pair.Leaf.IsCA {
		t.Error("the certificate can sign others")
	}
}

func TestRenew(t *testing.T) {
	now := time.Now()
	shared, err := certificate.Issue("test", now, 10*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := certificate.Issue("test", now, 10*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key   []byte
		after time.Duration
		good  bool
	}{
		"new":          {shared.Key, 0, true},
		"old":          {shared.Key, 8*time.Hour - time.Minute, true},
		"due":          {shared.Key, 8*time.Hour + time.Minute, false},
		"too early":    {shared.Key, -2 * certificate.ClockSlack, false},
		"of another":   {other.Key, 0, false},
		"without one":  {nil, 0, false},
		"damaged file": {shared.Key[:len(shared.Key)/2], 0, false},
	} {
		at, good := certificate.Renew(shared.Certificate, test.key, now.Add(test.after), 2*time.Hour)
		if good != test.good || good && at.Sub(now).Round(time.Minute) != 8*time.Hour {
			t.Errorf("%s: %v %v", name, at, good)
		}
	}
}
