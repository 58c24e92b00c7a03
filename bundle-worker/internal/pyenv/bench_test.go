//go:build unix

package pyenv

import (
	"os/exec"
	"testing"
	"time"
)

// BenchmarkReuse is what it costs to find an environment that is there, in starts of the
// bare interpreter.
func BenchmarkReuse(b *testing.B) {
	opts := options(b, bundleWith(b, map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": ""}))
	if _, err := Ensure(b.Context(), opts); err != nil {
		b.Fatal(err)
	}
	var reused, bare time.Duration
	for b.Loop() {
		began := time.Now()
		env, err := Ensure(b.Context(), opts)
		if err != nil {
			b.Fatal(err)
		}
		reused += time.Since(began)
		env.Release()
		began = time.Now()
		if err := exec.Command("python3", "-c", "pass").Run(); err != nil {
			b.Fatal(err)
		}
		bare += time.Since(began)
	}
	b.ReportMetric(float64(reused)/float64(bare), "starts")
}
