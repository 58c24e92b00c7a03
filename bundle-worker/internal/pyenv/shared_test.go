//go:build unix

package pyenv

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

func repository(t *testing.T, registry *bundletest.Registry) *bundleoci.Repository {
	t.Helper()
	r, err := bundleoci.Open(registry.Environment(), "my-model", bundleoci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tinyFiles are a bundle's that needs a package from where the variables of the installer
// say, and brings it not along.
func tinyFiles() map[string]string { return map[string]string{"requirements.txt": "tiny==1.0\n"} }

func TestSharedByNodes(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	links := bundleWith(t, map[string]string{"tiny-1.0-py3-none-any.whl": "WORD = 'hello'\ndef main():\n    import sys; print(sys.prefix)\n"})
	t.Setenv("PIP_FIND_LINKS", links)
	first := options(t, bundleWith(t, tinyFiles()))
	t.Setenv("PIP_FIND_LINKS", "")
	first.Environ, first.Shared = append(first.Environ, "UV_FIND_LINKS="+links, "UV_NO_INDEX=1"), repository(t, registry)
	built, err := Ensure(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}

	// The second node has no packages, and no index.
	second := options(t, bundleWith(t, tinyFiles()))
	second.Environ = append(second.Environ, "PIP_INDEX_URL=http://127.0.0.1:1/simple")
	second.Shared = repository(t, registry)
	var log bytes.Buffer
	second.Log = &log
	taken, err := Ensure(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "installing") || !strings.Contains(log.String(), "taking the environment") {
		t.Errorf("it was not taken: %s", log.String())
	}
	if taken.Record.Digest() != built.Record.Digest() || filepath.Dir(taken.Bin()) == filepath.Dir(built.Bin()) {
		t.Errorf("%+v, %+v", taken, built)
	}
	out, err := exec.Command(taken.Python, "-I", "-c", "import tiny, sys; print(tiny.WORD, sys.prefix)").Output()
	if err != nil || strings.TrimSpace(string(out)) != "hello "+filepath.Dir(taken.Bin()) {
		t.Errorf("%q, %v", out, err)
	}
	// A program of the environment runs with the interpreter beside it.
	program := filepath.Join(taken.Bin(), "tiny")
	if out, err := exec.Command(program).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != filepath.Dir(taken.Bin()) {
		t.Errorf("%s: %v", out, err)
	}
	if out, _ := exec.Command("grep", "-rlI", filepath.Dir(built.Bin()), filepath.Dir(taken.Bin())).Output(); len(out) > 0 {
		t.Errorf("the first node's directory is named in %s", out)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A worker that may not push, or whose registry does not answer, says so and works.
func TestNotShared(t *testing.T) {
	for name, status := range map[string]int{"refused": http.StatusForbidden, "broken": http.StatusNotFound} {
		registry := bundletest.NewRegistry(t)
		registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodGet || req.Method == http.MethodHead {
				return false
			}
			w.WriteHeader(status)
			return true
		})
		opts := options(t, bundleWith(t, map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 1\n"}))
		opts.Shared = repository(t, registry)
		var log bytes.Buffer
		opts.Log = &log
		if _, err := Ensure(t.Context(), opts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Count(log.String(), "not shared with other nodes") != 1 {
			t.Errorf("%s: %s", name, log.String())
		}
	}
}

// An environment that was made for something else, or has files that are a node's own, is
// not taken, whatever its tag says.
func TestUntrueShared(t *testing.T) {
	files := map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 'hello'\n"}
	for name, spoil := range map[string]func(dir string, asked []byte){
		"another request": func(dir string, asked []byte) { write(t, filepath.Join(dir, requestFile), string(asked)+" ") },
		"no request":      func(dir string, _ []byte) { _ = os.Remove(filepath.Join(dir, requestFile)) },
		"an interpreter":  func(dir string, _ []byte) { write(t, filepath.Join(dir, "bin", "python"), "#!/bin/sh\n") },
		"another package": func(dir string, _ []byte) {
			write(t, filepath.Join(dir, recordFile), `{"python":"3.1","platform":"x","packages":{}}`)
		},
	} {
		registry := bundletest.NewRegistry(t)
		opts := options(t, bundleWith(t, files))
		shared := repository(t, registry)
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Fatal(err)
		}
		interpreter, err := identify(t.Context(), python)
		if err != nil {
			t.Fatal(err)
		}
		w, err := readWants(opts.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		asked := request(w, interpreter)
		dir := t.TempDir()
		write(t, filepath.Join(dir, requestFile), string(asked))
		write(t, filepath.Join(dir, recordFile), "{}")
		spoil(dir, asked)
		give(t, shared, dir, buildPlan{asked: asked}.tag())
		var log bytes.Buffer
		opts.Shared, opts.PullOnly, opts.Log = shared, true, &log
		env, err := Ensure(t.Context(), opts)
		if err != nil || env.Record.Packages["tiny"] != "1.0" || !strings.Contains(log.String(), "no shared environment was taken") {
			t.Errorf("%s: %+v, %v, %s", name, env, err, log.String())
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func give(t *testing.T, r *bundleoci.Repository, dir, tag string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := bundle.Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Push(context.Background(), root, sources, bundleoci.PushOptions{Tag: tag}); err != nil {
		t.Fatal(err)
	}
}

// Whatever is changed in an environment, the next who asks gets one as it was built, and
// those who use the old one keep it until they are done.
func TestChangedEnvironment(t *testing.T) {
	opts := options(t, bundleWith(t, map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 'hello'\n"}))
	env, err := Ensure(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob(filepath.Join(filepath.Dir(env.Bin()), "lib", "python*", "site-packages", "tiny", "__init__.py"))
	if err != nil || len(modules) != 1 {
		t.Fatal(modules, err)
	}
	for _, path := range []string{modules[0], filepath.Dir(modules[0]), env.Bin()} {
		if info, err := os.Stat(path); err != nil || info.Mode()&0o222 != 0 {
			t.Errorf("%s is %v, %v", path, info.Mode(), err)
		}
	}
	if err := os.Chmod(modules[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(modules[0], []byte("WORD = 'hellO'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	fresh, err := Ensure(t.Context(), opts)
	if err != nil || fresh.Python == env.Python {
		t.Fatalf("the changed one was used: %v, %v", fresh, err)
	}
	if !exists(env.Python) {
		t.Error("the old one is gone under its user")
	}
	env.Release()
	sweep(opts.Root, keys(t, opts.Root)[0])
	if exists(env.Python) {
		t.Error("the old one stays when nobody uses it")
	}

	infos, err := Collect(t.Context(), opts.Root, CollectOptions{MaxBytes: 1})
	if err != nil || len(infos) != 0 || !exists(fresh.Python) {
		t.Errorf("one in use was collected: %v, %v", infos, err)
	}
	fresh.Release()
	infos, err = Collect(t.Context(), opts.Root, CollectOptions{MaxBytes: 1})
	if err != nil || len(infos) != 1 || infos[0].Packages == 0 || infos[0].Bytes == 0 || exists(fresh.Python) {
		t.Errorf("%+v, %v", infos, err)
	}
}

// Logins reach the installer, and nobody sees them in its words.
func TestLoginsOfInstallers(t *testing.T) {
	var asked []string
	index := bundletest.NewRegistry(t) // any server that notes who asks
	index.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		user, password, _ := req.BasicAuth()
		asked = append(asked, user+":"+password)
		http.Error(w, "no", http.StatusInternalServerError)
		return true
	})
	opts := options(t, bundleWith(t, tinyFiles()))
	opts.Environ = append(os.Environ(), "PIP_INDEX_URL=http://me:CANARY-1@"+index.Host+"/simple", "PIP_RETRIES=0", "GIT_CONFIG_VALUE_0=CANARY-2",
		"UV_INDEX_URL=http://me:CANARY-1@"+index.Host+"/simple")
	var log bytes.Buffer
	opts.Log = &log
	_, err := Ensure(t.Context(), opts)
	e := contracts.AsError(err)
	if err == nil || e.Code != contracts.CodeDependencies {
		t.Fatalf("%v", err)
	}
	if len(asked) == 0 || !strings.Contains(strings.Join(asked, " "), "me:CANARY-1") {
		t.Errorf("the index was asked by %v", asked)
	}
	if said := string(contracts.MarshalEnvelope(e)) + err.Error() + log.String(); strings.Contains(said, "CANARY") {
		t.Errorf("a login is in %s", said)
	}
	words := "Looking in https://me:CANARY-1@host/simple\nfatal: CANARY-2 http://x:y%40@z git+https://CANARYTOKEN@github.com/a"
	got := redact(words, append(opts.Environ, "UV_INDEX_PRIVATE_PASSWORD=CANARY-3", "GIT_CONFIG_VALUE_0=CANARY-2"))
	if strings.Contains(got, "CANARY") || !strings.Contains(got, "host/simple") {
		t.Errorf("%s", got)
	}
}

// What cannot be covered by the key is refused; what is included is covered.
func TestRequirementsOfPaths(t *testing.T) {
	for _, line := range []string{"-e .", ".", "./pkg", "/tmp/x", "tiny @ file:///tmp/x", "-r ../outside.txt", "-r missing.txt", "--find-links=elsewhere"} {
		_, err := readWants(bundleWith(t, map[string]string{"requirements.txt": line + "\n"}))
		if err == nil || contracts.AsError(err).Hint == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
	keyOf := func(files map[string]string) string {
		w, err := readWants(bundleWith(t, files))
		if err != nil {
			t.Fatal(err)
		}
		return sharedKey(request(w, interpreter{}))
	}
	base := map[string]string{"requirements.txt": "-r more.txt # not file:\n", "more.txt": "tiny\n"}
	one := keyOf(base)
	if one == keyOf(map[string]string{"requirements.txt": "-r more.txt # not file:\n", "more.txt": "tiny==1\n"}) {
		t.Error("an included file is not in the key")
	}
	if one != keyOf(map[string]string{"requirements.txt": "-r more.txt # not file:\n", "more.txt": "tiny\n", "pyproject.toml": "[project]\nname = \"x\"\n", "wire.py": ""}) {
		t.Error("a file that decides nothing is in the key")
	}
}

// A package's code runs when its environment is looked at. It sees what a task sees.
func TestPackagesSeeNothing(t *testing.T) {
	t.Setenv("REGISTRY_PASSWORD", "CANARY")
	opts := options(t, bundleWith(t, map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 1\n"}))
	registry := bundletest.NewRegistry(t)
	for range 2 {
		opts.Shared, opts.Root = repository(t, registry), filepath.Join(t.TempDir(), "venvs")
		if _, err := Ensure(t.Context(), opts); err != nil {
			t.Fatal(err, contracts.AsError(err).StderrTail)
		}
	}
}

// Where others may write, nothing is built: they would decide what runs.
func TestRootOfOthers(t *testing.T) {
	opts := options(t, bundleWith(t, tinyFiles()))
	if err := os.Mkdir(opts.Root, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(opts.Root, 0o777); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	_, err := Ensure(t.Context(), opts)
	if e := contracts.AsError(err); err == nil || e.Code != contracts.CodeDenied || !strings.Contains(e.Hint, variable) {
		t.Errorf("%v", err)
	}
}
