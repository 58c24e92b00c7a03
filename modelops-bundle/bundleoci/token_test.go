package bundleoci

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"
)

// A token is renewed some time before its end, whatever this machine's clock says.
func TestRenewal(t *testing.T) {
	now := time.Now()
	token := func(issued, expires time.Time) string {
		payload := fmt.Sprintf(`{"iat": %d, "exp": %d}`, issued.Unix(), expires.Unix())
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x"
	}
	ahead := now.Add(24 * time.Hour)
	for name, tc := range map[string]struct {
		token string
		want  time.Duration // from now; 0 for when it is refused
	}{
		"an hour":                  {token(now, now.Add(75*time.Minute)), 70 * time.Minute},
		"ten seconds":              {token(now, now.Add(10*time.Second)), 8 * time.Second},
		"the registry is a day on": {token(ahead, ahead.Add(75*time.Minute)), 70 * time.Minute},
		"ends before it begins":    {token(now, now.Add(-time.Second)), 0},
		"opaque":                   {"abc", 0},
		"three parts":              {"a.b.c", 0},
		"an array":                 {"a.W10.c", 0},
	} {
		got := renewal(tc.token, now)
		if tc.want == 0 && !got.IsZero() || tc.want != 0 && got.Sub(now) != tc.want {
			t.Errorf("%s: %v", name, got.Sub(now))
		}
	}
}
