package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// killed is a project that is pulled into, and the versions that its files can have.
type killed struct {
	t        *testing.T
	dir      string
	env      []string
	versions [2]map[string]string // path to content
}

func (k *killed) command(dir string, args ...string) *exec.Cmd {
	c := exec.Command("modelops-bundle", args...)
	c.Dir, c.Env = dir, k.env
	return c
}

func (k *killed) run(dir string, args ...string) string {
	k.t.Helper()
	out, err := k.command(dir, args...).CombinedOutput()
	if err != nil {
		k.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// count is how many files are those of the version; a file that is of neither is torn.
func (k *killed) count(version int) int {
	k.t.Helper()
	n := 0
	for path, content := range k.versions[version] {
		got, err := os.ReadFile(filepath.Join(k.dir, path))
		switch {
		case err != nil:
			k.t.Fatal(err)
		case string(got) == content:
			n++
		case string(got) != k.versions[1-version][path]:
			k.t.Fatalf("%s is of neither version", path)
		}
	}
	return n
}

// moved waits until a file of the version has come to its place, or the pull has ended.
func (k *killed) moved(path string, version int, ended <-chan error) bool {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return false
		case <-tick.C:
			if info, err := os.Stat(filepath.Join(k.dir, path)); err == nil && info.Size() == int64(len(k.versions[version][path])) {
				return true
			}
		}
	}
}

// TestPullKilled kills 20 pulls while they move files to their places. Every file is then of
// the old version or the new one, and the next pull ends with the very bundle.
func TestPullKilled(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	home := t.TempDir()
	if err := writeEnvironment(filepath.Join(home, ".modelops"), &contracts.BundleEnvironment{
		Environment: "dev", Registry: contracts.Registry{Provider: "docker", LoginServer: registry.Host},
	}); err != nil {
		t.Fatal(err)
	}
	k := &killed{t: t, dir: filepath.Join(t.TempDir(), "copy"), env: append(os.Environ(), "HOME="+home, "MODELOPS_HOME="+filepath.Join(home, ".modelops"))}
	const files = 200
	name := func(i int) string { return fmt.Sprintf("d%02d/f%03d.txt", i/20, i) }
	for v := range k.versions {
		k.versions[v] = map[string]string{"large.bin": strings.Repeat(fmt.Sprintf("large %d\n", v), 200_000+v)}
		for i := range files {
			k.versions[v][name(i)] = strings.Repeat(fmt.Sprintf("%d of version %d\n", i, v), 100+v)
		}
	}
	source := t.TempDir()
	push := func(v int) {
		t.Helper()
		for path, content := range k.versions[v] {
			full := filepath.Join(source, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		k.run(source, "push")
	}
	k.run(source, "init", ".", "--name", "seir", "--template", "command")
	push(0)
	k.run(filepath.Dir(k.dir), "pull", "seir:latest", k.dir)
	between := 0
	for i := range 20 {
		v := (i + 1) % 2
		push(v)
		pull := k.command(k.dir, "pull")
		if err := pull.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- pull.Wait() }()
		if k.moved(name(i*files/20), v, ended) {
			_ = pull.Process.Kill() // it may have ended
			<-ended
		}
		if n := k.count(v); n > 0 && n < len(k.versions[v]) {
			between++
		}
		k.run(k.dir, "pull")
		if n := k.count(v); n != len(k.versions[v]) {
			t.Fatalf("round %d: %d files of %d are there after the next pull", i, n, len(k.versions[v]))
		}
		if out := k.run(k.dir, "status"); !strings.Contains(out, "up to date") {
			t.Fatalf("round %d:\n%s", i, out)
		}
	}
	if between == 0 {
		t.Error("no pull was killed between two files")
	}
	t.Logf("%d of 20 pulls were killed between two files", between)
	k.run(k.dir, "gc", "--local", "--delete", "--grace", "1ns")
	left, err := filepath.Glob(filepath.Join(k.dir, ".modelops-bundle", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if base := filepath.Base(path); strings.HasPrefix(base, ".") || strings.HasPrefix(base, "staging") {
			t.Errorf("%s is left after gc", base)
		}
	}
}
