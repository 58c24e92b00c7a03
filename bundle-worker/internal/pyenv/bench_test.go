//go:build unix

package pyenv

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkReuse is what it costs to find the environment of a second bundle with the same
// dependencies, in starts of the bare interpreter.
func BenchmarkReuse(b *testing.B) {
	python, err := exec.Command("python3", "-c", "import os, sys; print(os.path.dirname(sys.executable))").Output()
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv("PATH", strings.TrimSpace(string(python))+":"+os.Getenv("PATH")) // the interpreter itself, and no script that looks for one
	files := map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": ""}
	opts := options(b, bundleWith(b, files))
	first, err := Ensure(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	opts.Bundle = bundleWith(b, files)
	const rounds = 41
	var reused, bare []time.Duration
	for b.Loop() {
		for range rounds {
			began := time.Now()
			env, err := Ensure(b.Context(), opts)
			if err != nil || env.Python != first.Python {
				b.Fatalf("%v, %v", env, err)
			}
			reused = append(reused, time.Since(began))
			env.Release()
			began = time.Now()
			if err := exec.Command("python3", "-c", "pass").Run(); err != nil {
				b.Fatal(err)
			}
			bare = append(bare, time.Since(began))
		}
	}
	slices.Sort(reused)
	slices.Sort(bare)
	b.ReportMetric(float64(reused[len(reused)/2])/float64(bare[len(bare)/2]), "starts")
}
