//go:build unix

package pyenv

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv/pyenvtest"
)

// withUV puts the real uv in front of PATH.
func withUV(t *testing.T) {
	t.Helper()
	t.Setenv("PATH", pyenvtest.UV(t)+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// With uv and with pip, a bundle gets the same; uv honours its lock.
func TestUV(t *testing.T) {
	wheel := map[string]string{"pyproject.toml": "[project]\nname = \"x\"\nversion = \"0\"\ndependencies = [\"tiny\"]\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 'hello'\n"}
	byPip, err := Ensure(t.Context(), options(t, bundleWith(t, wheel)))
	if err != nil {
		t.Fatal(err)
	}
	withUV(t)
	locked := map[string]string{}
	for _, name := range []string{"pyproject.toml", "uv.lock"} {
		data, err := os.ReadFile(filepath.Join("testdata", "locked", name))
		if err != nil {
			t.Fatal(err)
		}
		locked[name] = string(data)
	}
	for name, c := range map[string]struct {
		files          map[string]string
		pkg, version   string
		offline, equal bool
	}{
		"uv.lock":   {files: locked, pkg: "six", version: "1.16.0"}, // not the newest that pyproject.toml would have
		"pyproject": {files: wheel, pkg: "tiny", version: "1.0", offline: true, equal: true},
		"hashes": {files: map[string]string{
			"requirements.txt": "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n",
		}, pkg: "six", version: "1.17.0"},
	} {
		opts := options(t, bundleWith(t, c.files))
		before := listing(t, opts.Bundle)
		opts.Environ = append(os.Environ(), settingsOfOthers(t)...)
		if c.offline {
			opts.Environ = append(opts.Environ, "UV_NO_INDEX=1")
		}
		var log bytes.Buffer
		opts.Log = &log
		env, err := Ensure(t.Context(), opts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(env.Record.Packages) != 1 || env.Record.Packages[c.pkg] != c.version || !strings.Contains(log.String(), "with uv") {
			t.Errorf("%s: %+v, %s", name, env.Record, log.String())
		}
		if diff := cmp.Diff(before, listing(t, opts.Bundle)); diff != "" {
			t.Errorf("%s: the bundle was written to: %s", name, diff)
		}
		if c.equal && env.Record.Digest() != byPip.Record.Digest() {
			t.Errorf("uv gives %v, pip %v", env.Record.Packages, byPip.Record.Packages)
		}
		if out, err := exec.Command(env.Python, "-I", "-c", "import "+c.pkg).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	wrong := options(t, bundleWith(t, map[string]string{"requirements.txt": "six==1.17.0 --hash=sha256:" + strings.Repeat("0", 64) + "\n"}))
	wrong.Environ = os.Environ()
	if _, err := Ensure(t.Context(), wrong); err == nil {
		t.Error("another hash was installed")
	}
}
