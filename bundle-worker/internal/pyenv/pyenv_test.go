//go:build unix

package pyenv

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

const builderArgument = "__builder" // the test binary as a worker that will be killed

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == builderArgument {
		os.Exit(buildAndUse(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func supervisor() *runner.Supervisor {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return runner.NewSupervisor(program, time.Second)
}

// bundleWith is a bundle's directory with these files; name.whl becomes a wheel of a
// package "tiny" whose module says the content.
func bundleWith(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".whl") {
			writeWheel(t, path, content)
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeWheel(t testing.TB, path, content string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for _, file := range [][2]string{
		{"tiny/__init__.py", content},
		{"tiny.pth", "import os, sys; os.environ.get('REGISTRY_PASSWORD') and sys.exit('a package sees the login of the registry')\n"},
		{"tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"},
		{"tiny-1.0.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n"},
		{"tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"tiny-1.0.dist-info/RECORD", "tiny/__init__.py,,\ntiny.pth,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/entry_points.txt,,\ntiny-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := z.Create(file[0])
		if err == nil {
			_, err = w.Write([]byte(file[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func options(t testing.TB, bundle string) Options {
	t.Helper()
	return Options{Bundle: bundle, Root: filepath.Join(t.TempDir(), "venvs"), Environ: append(os.Environ(), "PIP_NO_INDEX=1", "REGISTRY_PASSWORD=CANARY"), Supervisor: supervisor()}
}

func TestOwnPython(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing":                 {"wire.py": ""},
		"no dependencies":         {"pyproject.toml": "[project]\nname = \"x\"\nrequires-python = \">=3.9\"\ndependencies = []\n"},
		"an empty requirements":   {"requirements.txt": "# nothing\n\n"},
		"another tool's settings": {"pyproject.toml": "[tool.black]\nline-length = 100\n"},
	} {
		opts := options(t, bundleWith(t, files))
		env, err := Ensure(context.Background(), opts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := exec.Command(env.Python, "--version").Run(); err != nil {
			t.Errorf("%s: %+v, %v", name, env, err)
		}
		if _, err := os.Stat(opts.Root); err == nil {
			t.Errorf("%s: something was built", name)
		}
	}
}

func TestBuiltOnceAndShared(t *testing.T) {
	files := map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 'hello'\n"}
	opts := options(t, bundleWith(t, files))
	before := listing(t, opts.Bundle)
	var log countingWriter
	opts.Log = &log
	var group sync.WaitGroup
	var envs [4]*Env
	for i := range envs {
		group.Go(func() {
			env, err := Ensure(context.Background(), opts)
			if err != nil {
				t.Error(err)
				return
			}
			envs[i] = env
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if log.lines() != 1 {
		t.Errorf("built %d times", log.lines())
	}
	if diff := cmp.Diff(before, listing(t, opts.Bundle)); diff != "" {
		t.Errorf("the bundle was written to: %s", diff)
	}
	for _, env := range envs[1:] {
		if env.Record.Digest() != envs[0].Record.Digest() || env.Record.Packages["tiny"] != "1.0" {
			t.Errorf("%+v", env)
		}
	}
	out, err := exec.Command(envs[0].Python, "-I", "-c", "import tiny; print(tiny.WORD)").Output()
	if err != nil || strings.TrimSpace(string(out)) != "hello" {
		t.Errorf("%q, %v", out, err)
	}

	other := opts
	other.Bundle = bundleWith(t, files) // another bundle with the same dependencies
	if env, err := Ensure(context.Background(), other); err != nil || env.Python != envs[0].Python {
		t.Errorf("not shared: %+v, %v", env, err)
	}
	files["requirements.txt"] = "# changed\ntiny\n"
	other.Bundle = bundleWith(t, files)
	if env, err := Ensure(context.Background(), other); err != nil || env.Python == envs[0].Python {
		t.Errorf("other dependencies, the same environment: %+v, %v", env, err)
	}
}

// listing is what is in a directory: names, modes, times and sizes.
func listing(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			lines = append(lines, fmt.Sprint(path, info.Mode(), info.ModTime().UnixNano(), info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

type countingWriter struct {
	mu sync.Mutex
	n  int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return len(p), nil
}

func (w *countingWriter) lines() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func TestFailedBuilds(t *testing.T) {
	opts := options(t, bundleWith(t, map[string]string{"requirements.txt": "no-such-package-anywhere==9.9\n"}))
	for range 2 { // the second is built again, not taken from the first
		_, err := Ensure(context.Background(), opts)
		e := contracts.AsError(err)
		if e == nil || e.Code != contracts.CodeDependencies || !strings.Contains(e.StderrTail, "no-such-package-anywhere") || !strings.Contains(e.Message, "no-such-package-anywhere") {
			t.Fatalf("%+v", e)
		}
		entries, err := os.ReadDir(opts.Root)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if entry.Name() != "locks" {
				t.Errorf("%s was left behind", entry.Name())
			}
		}
	}
}

// What a look at the finished environment refuses is not kept, and its error is the build's.
// One that other nodes gave is installed instead.
func TestCheck(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	files := map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 1\n"}
	opts := options(t, bundleWith(t, files))
	opts.Shared = repository(t, registry)
	refusal := errors.New("no")
	looks, refuses := 0, 1
	opts.Check = func(ctx context.Context, python string) error {
		if out, err := exec.CommandContext(ctx, python, "-I", "-c", "import tiny").CombinedOutput(); err != nil {
			t.Errorf("it is not finished: %s", out)
		}
		if looks++; looks <= refuses {
			return refusal
		}
		return nil
	}
	if _, err := Ensure(t.Context(), opts); !errors.Is(err, refusal) || len(keys(t, opts.Root)) != 0 {
		t.Fatalf("%v, %v are kept", err, keys(t, opts.Root))
	}
	if _, err := Ensure(t.Context(), opts); err != nil || looks != 2 {
		t.Fatalf("%v after %d looks", err, looks)
	}
	if _, err := Ensure(t.Context(), opts); err != nil || looks != 2 {
		t.Errorf("what is kept is looked at again: %v, %d looks", err, looks)
	}
	var log strings.Builder
	opts.Root, opts.Log = filepath.Join(t.TempDir(), "venvs"), &log
	looks, refuses = 0, 1
	if _, err := Ensure(t.Context(), opts); err != nil || looks != 2 || !strings.Contains(log.String(), "no shared environment was taken: no\ninstalling") {
		t.Errorf("%v after %d looks: %s", err, looks, log.String())
	}
}

func TestRefusedBeforeAnythingIsBuilt(t *testing.T) {
	python, err := identify(t.Context(), "python3")
	if err != nil {
		t.Fatal(err)
	}
	another := "the bundle requires Python >=4.2, and this worker has " + python.Version
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"another Python":     {map[string]string{"pyproject.toml": "[project]\nrequires-python = \">=4.2\"\ndependencies = [\"tiny\"]\n"}, another},
		"nothing to install": {map[string]string{"pyproject.toml": "[project]\nrequires-python = \">=4.2\"\n"}, another},
		"from requirements":  {map[string]string{"pyproject.toml": "[project]\nrequires-python = \">=4.2\"\n", "requirements.txt": "tiny\n"}, another},
		"broken TOML":        {map[string]string{"pyproject.toml": "[project\n"}, "pyproject.toml is broken"},
		"Poetry's":           {map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\npython = \"^3.9\"\ntiny = \"1\"\n"}, "[tool.poetry.dependencies]"},
		"odd specifier":      {map[string]string{"pyproject.toml": "[project]\nrequires-python = \"three\"\n"}, "is not understood"},
	} {
		opts := options(t, bundleWith(t, c.files))
		_, err := Ensure(context.Background(), opts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if exists(opts.Root) {
			t.Errorf("%s: something was built before it was refused", name)
		}
	}
}

// An environment is another one with whatever decides what is in it.
func TestKeys(t *testing.T) {
	w, err := readWants(bundleWith(t, tinyFiles()))
	if err != nil {
		t.Fatal(err)
	}
	node := interpreter{Path: "/a/python", Version: "3.12.1", ABI: ".cpython-312-x86_64-linux-gnu.so", Platform: "linux-x86_64", Libc: "glibc 2.36"}
	asked := request(w, node)
	for what, change := range map[string]func(*interpreter){
		"version":  func(i *interpreter) { i.Version = "3.12.2" },
		"ABI":      func(i *interpreter) { i.ABI = ".cpython-312t-x86_64-linux-gnu.so" },
		"platform": func(i *interpreter) { i.Platform = "linux-aarch64" },
		"libc":     func(i *interpreter) { i.Libc = "" },
	} {
		other := node
		change(&other)
		if sharedKey(request(w, other)) == sharedKey(asked) {
			t.Errorf("nodes with another %s share an environment", what)
		}
	}
	elsewhere := node
	elsewhere.Path = "/b/python"
	if sharedKey(request(w, elsewhere)) != sharedKey(asked) {
		t.Error("nodes with the interpreter in another place share nothing")
	}
	if localKey(asked, elsewhere) == localKey(asked, node) {
		t.Error("two interpreters of a node share an environment, which names one of them")
	}
	if !strings.Contains(string(asked), fmt.Sprintf(`"builder":%d`, builder)) || len(sharedKey(asked)) != 64 {
		t.Errorf("%s has the key %s", asked, sharedKey(asked))
	}
}

func TestSatisfies(t *testing.T) {
	for _, c := range []struct {
		version, specifier string
		want               bool
	}{
		{"3.12.1", ">=3.11", true}, {"3.10.9", ">=3.11", false}, {"3.12.1", ">=3.12.2", false}, {"3.12.1", ">=3.11,<3.13", true},
		{"3.13.0", ">=3.11,<3.13", false}, {"3.13.0rc1", ">=3.13", true}, {"3.12.1", "==3.12.*", true}, {"3.13.1", "==3.12.*", false},
		{"3.12.1", "==3.12", false}, {"3.12.0", "==3.12", true}, {"3.12.1", "!=3.12.*", false}, {"3.12.1", "!=3.12.2", true},
		{"3.12.5", "~=3.12.1", true}, {"3.13.0", "~=3.12.1", false}, {"3.13.0", "~=3.12", true}, {"4.0.0", "~=3.12", false},
		{"3.12.1", ">3.12", true}, {"3.12.0", ">3.12", false}, {"3.12.1", "<=3.12", false}, {"3.12.1", "<4", true}, {"3.9.2", ">=3.10", false},
	} {
		got, understood := satisfies(c.version, c.specifier)
		if got != c.want || !understood {
			t.Errorf("Python %s, %s: %v, %v", c.version, c.specifier, got, understood)
		}
	}
}
