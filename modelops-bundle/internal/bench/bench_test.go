//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/bench/workload"
)

// TestCounts takes our own program through a typical project and its edits, and holds it
// to the targets that no load of the machine can move: how often it asks the registry.
func TestCounts(t *testing.T) {
	bin := os.Getenv("MODELOPS_TEST_BIN")
	if bin == "" || !available("docker-registry") {
		const missing = "needs make build and Debian's docker-registry"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir := t.TempDir()
	base, edit, table := filepath.Join(dir, "W1"), filepath.Join(dir, "W4"), filepath.Join(dir, "W4csv")
	for _, d := range []string{base, edit, table} {
		if err := workload.Write(d, filepath.Base(d), false); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]figure{}
	err := run(t.Context(), filepath.Join(dir, "station"), clients()[0], base, []string{edit, table}, link{}, [2]string{bin, ""}, func(step string, f figure) {
		seen[step] = f
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range targets {
		f, ok := seen[want.step]
		if !ok {
			if strings.HasPrefix(want.step, "W1 ") || strings.HasPrefix(want.step, "W4") {
				t.Errorf("%s was not measured", want.step)
			}
			continue
		}
		t.Logf("%s: %d requests, %d bytes up, %d down", want.step, f.requests, f.up, f.down)
		if f.failed != "" {
			t.Errorf("%s: %s", want.step, f.failed)
			continue
		}
		if want.none {
			if f.requests+int(f.up+f.down) != 0 {
				t.Errorf("%s: %d requests and %d bytes, want none", want.step, f.requests, f.up+f.down)
			}
			continue
		}
		if f.requests == 0 || f.requests > want.requests {
			t.Errorf("%s: %d requests, want 1 to %d", want.step, f.requests, want.requests)
		}
		// What a cold transfer sends is the compressor's; an edit's is the format's.
		if !strings.HasSuffix(want.step, "cold") && f.up+f.down > want.bytes {
			t.Errorf("%s: %d bytes, want at most %d", want.step, f.up+f.down, want.bytes)
		}
	}
}

func available(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func TestFloors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	want := int64(0)
	for name, size := range map[string]int{"a": 10, "b/empty": 0, "b/c/large": 3<<20 + 1} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		want += int64(size)
	}
	scratch := filepath.Join(t.TempDir(), "scratch")
	low, err := floors(dir, scratch)
	if err != nil || len(low) != 3 {
		t.Fatal(low, err)
	}
	for name, figure := range low {
		if figure.up != want {
			t.Errorf("%s: %d bytes of %d", name, figure.up, want)
		}
	}
	if _, err := os.Stat(scratch); err == nil {
		t.Error("what was received was left behind")
	}
}
