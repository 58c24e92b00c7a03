package localdask

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
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
	for name, at := range map[string]time.Time{"soon ends": now.Add(certifiedFor - renewBefore), "is not good yet": now.Add(-2 * certificate.ClockSlack)} {
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
