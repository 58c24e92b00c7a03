//go:build linux

// Package images_test looks at what "make images" builds from this directory, and runs it.
package images_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/provider"
)

// checkout is the root of the repository, absolute.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// What stands on a base that may change is refused before anything is built, and the
// Containerfile's own is accepted.
func TestBaseIsPinned(t *testing.T) {
	for base, pinned := range map[string]bool{
		"":                                    true,
		"docker.io/library/python:3.13-slim":  false,
		"python@sha256:" + "0123456789abcdef": false,
	} {
		cmd := exec.Command("sh", "scripts/images.sh", "build")
		cmd.Dir = checkout(t)
		// The next thing that is looked at is the tool: nothing is built here.
		cmd.Env = append(os.Environ(), "IMAGES_TOOL=none", "BASE="+base)
		words, err := cmd.CombinedOutput()
		if err == nil || strings.Contains(string(words), "without its digest") == pinned {
			t.Errorf("%q: %v\n%s", base, err, words)
		}
	}
}

// Every package is locked by its hashes, and worker, scheduler and driver have the same
// versions of those that they share: Dask's processes talk to one another.
func TestLocks(t *testing.T) {
	worker, scheduler := locked(t, "worker"), locked(t, "scheduler")
	if worker["distributed"] == "" || worker["uv"] == "" || scheduler["bokeh"] == "" {
		t.Errorf("something is missing: worker %v, scheduler %v", worker, scheduler)
	}
	for name, version := range worker {
		if other := scheduler[name]; other != "" && other != version {
			t.Errorf("%s is %s for workers, %s for schedulers", name, version, other)
		}
	}
}

var pin = regexp.MustCompile(`\A([a-z0-9-]+)==([0-9a-z.]+) \\((?: --hash=sha256:[0-9a-f]{64}(?: \\)?)+)\z`)

// locked are the versions of a lock file, by name.
func locked(t *testing.T, name string) map[string]string {
	t.Helper()
	file, err := os.Open(filepath.Join("requirements", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	versions := map[string]string{}
	entry := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		entry = strings.TrimSpace(entry + " " + line)
		if strings.HasSuffix(line, `\`) {
			continue
		}
		found := pin.FindStringSubmatch(entry)
		if found == nil {
			t.Fatalf("%s: %q is no version with hashes", name, entry)
		}
		versions[found[1]], entry = found[2], ""
	}
	if entry != "" {
		t.Errorf("%s ends in the middle of %q", name, entry)
	}
	return versions
}

// The environment files of the composition are ones that our programs take as they are, for
// the same storage, and its container is what the composition makes.
func TestComposeEnvironment(t *testing.T) {
	env, inside := environment(t, "environment"), environment(t, "worker")
	if env.Storage.Container != inside.Storage.Container || inside.Compute != nil {
		t.Errorf("%+v, %+v", env.Storage, inside)
	}
	server := azuritetest.Start(t)
	env.Storage.Endpoint = server.Endpoint
	store, err := provider.Open(env, provider.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "before", strings.NewReader("x")); err == nil {
		t.Error("the container was there before it was made")
	}
	for range 2 { // the second finds it there
		if words, err := exec.Command("python3", "compose/container.py", server.Endpoint, env.Storage.Container).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, words)
		}
	}
	if err := store.Put(t.Context(), "after", strings.NewReader("x")); err != nil {
		t.Error(err)
	}
}

// environment is an environment file of the composition.
func environment(t *testing.T, name string) *contracts.BundleEnvironment {
	t.Helper()
	file := filepath.Join("compose", name+".yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env, warnings, err := contracts.ParseEnvironment(file, data)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %v", err, warnings)
	}
	return env
}

// Dask's own processes, of the version that the images have: a worker that is told to end
// finishes what runs, takes nothing more, and leaves its results with others.
func TestDrain(t *testing.T) {
	dir := t.TempDir()
	requirements := "distributed==" + locked(t, "worker")["distributed"] + "\n"
	if err := os.WriteFile(filepath.Join(dir, "requirements.txt"), []byte(requirements), 0o600); err != nil {
		t.Fatal(err)
	}
	venvs := os.Getenv("MODELOPS_TEST_DASK")
	if venvs == "" {
		venvs = filepath.Join(dir, "venvs")
	}
	ensure := exec.Command(program(t, "bundle-worker"), "ensure-python", dir)
	ensure.Env = append(os.Environ(), "MODELOPS_VENVS_DIR="+venvs)
	ensure.Stderr = os.Stderr
	python, err := ensure.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"others", "alone", "idle", "abandoned"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(strings.TrimSpace(string(python)), "testdata/drained.py", when, t.TempDir())
			words, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, words)
			}
		})
	}
}

// program is the path of one of the suite's.
func program(t *testing.T, name string) string {
	t.Helper()
	if bin := os.Getenv("MODELOPS_TEST_BIN"); bin != "" {
		return filepath.Join(bin, name)
	}
	path := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", path, "./bundle-worker/cmd/"+name)
	build.Dir = checkout(t)
	if words, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, words)
	}
	return path
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
}
