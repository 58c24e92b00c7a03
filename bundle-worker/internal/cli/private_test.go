//go:build unix

package cli

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv/pyenvtest"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

const (
	indexPassword = "canary-of-the-index"
	gitPassword   = "canary-of-git"
	privateUser   = "ada"
)

// leaks are what must be nowhere but in installers: the passwords, and how they travel.
func leaks() []string {
	var all []string
	for _, password := range []string{indexPassword, gitPassword} {
		all = append(all, password, base64.StdEncoding.EncodeToString([]byte(privateUser+":"+password)))
	}
	return all
}

// private asks for a login before it serves, and counts those who came with it.
type private struct {
	*httptest.Server
	served atomic.Int64
}

func newPrivate(t *testing.T, password string, next http.Handler) *private {
	p := &private{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, given, _ := r.BasicAuth(); user != privateUser || given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		p.served.Add(1)
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *private) host() string { return strings.TrimPrefix(p.URL, "http://") }

// newPrivateGit is Git's own server with a package that builds itself and needs nothing.
func newPrivateGit(t *testing.T) *private {
	t.Helper()
	root := t.TempDir()
	source := filepath.Join(root, "source")
	bundletest.Files{
		"pyproject.toml":  "[project]\nname = \"fromgit\"\nversion = \"1.0\"\n[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"fromgit.py":      "WORD = 'git'\n",
		"backend.py":      selfBuilt,
		"not-in-it/.keep": "",
	}.Write(t, source)
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main", source}, {"-C", source, "add", "."},
		{"-C", source, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "-m", "first"},
		{"clone", "--quiet", "--bare", source, filepath.Join(root, "served", "fromgit.git")},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	programs, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return newPrivate(t, gitPassword, &cgi.Handler{
		Path:   filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"),
		Stderr: io.Discard,
		Env:    []string{"GIT_PROJECT_ROOT=" + filepath.Join(root, "served"), "GIT_HTTP_EXPORT_ALL=1"},
	})
}

// selfBuilt makes a wheel of the package beside it, as PEP 517 has it.
const selfBuilt = `
import os, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "fromgit-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as z:
        z.write("fromgit.py")
        z.writestr("fromgit-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: fromgit\nVersion: 1.0\n")
        z.writestr("fromgit-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("fromgit-1.0.dist-info/RECORD", "".join("%s,,\n" % n for n in z.namelist()))
    return name
`

// newPrivateIndex is an index of packages with one in it.
func newPrivateIndex(t *testing.T) *private {
	t.Helper()
	const file = "tiny-1.0-py3-none-any.whl"
	path := filepath.Join(t.TempDir(), file)
	writeTinyWheel(t, path, 0)
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/tiny/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a href="/files/%s">%s</a>`, file, file)
	})
	mux.HandleFunc("/files/"+file, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	return newPrivate(t, indexPassword, mux)
}

// looking is a wire that says which of the words it was given in pieces it finds in what a
// process sees of itself and of those that started it.
const looking = `
import glob, os, fromgit, tiny

def wire(entrypoint, params, seed):
    seen = repr(sorted(os.environ.items())).encode()
    pid = "self"
    while pid not in ("0", "1"):
        for name in ("environ", "cmdline"):
            if name == "cmdline" or pid == "self":
                seen += open("/proc/%s/%s" % (pid, name), "rb").read()
        pid = open("/proc/%s/stat" % pid).read().rpartition(")")[2].split()[1]
    for file in glob.glob("**", recursive=True) + glob.glob(os.path.expanduser("~/**"), recursive=True):
        if os.path.isfile(file):
            seen += open(file, "rb").read()
    words = ["canary" + "-of-the-index", "canary" + "-of-git"]
    return {"found": " ".join(w for w in words if w.encode() in seen), "packages": fromgit.WORD + str(tiny.ANSWER)}
`

// TestPrivateSources installs from a private index and a private Git repository, whose
// passwords the worker has as variables. They are in nothing that is left, told or shared.
func TestPrivateSources(t *testing.T) {
	for name, tool := range map[string]func(*testing.T) string{"pip": nil, "uv": pyenvtest.UV} {
		t.Run(name, func(t *testing.T) {
			git, index := newPrivateGit(t), newPrivateIndex(t)
			h := newHost(t)
			if tool != nil {
				h.environ[0] = "PATH=" + tool(t) + ":" + strings.TrimPrefix(h.environ[0], "PATH=")
			}
			withLogin := "http://" + privateUser + ":" + indexPassword + "@" + index.host() + "/simple/"
			h.environ = append(h.environ, "PIP_INDEX_URL="+withLogin, "UV_DEFAULT_INDEX="+withLogin,
				"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.http://"+privateUser+":"+gitPassword+"@"+git.host()+"/.insteadOf", "GIT_CONFIG_VALUE_0="+git.URL+"/",
				"GIT_TERMINAL_PROMPT=0")
			files := bundletest.Files{"wire.py": looking, "requirements.txt": "tiny\nfromgit @ git+" + git.URL + "/fromgit.git\n"}
			result, words := h.execTask(bundletest.Push(t, h.registry, "my-model", files))
			if result.Error != nil || string(result.Outputs["packages"].Inline) != "git42" || len(result.Outputs["found"].Inline) != 0 {
				t.Fatalf("%+v, %v: %s", result.Outputs, result.Error, words)
			}
			if git.served.Load() == 0 || index.served.Load() == 0 || !strings.Contains(words, "with "+name) {
				t.Errorf("%d and %d requests came with their login: %s", git.served.Load(), index.served.Load(), words)
			}
			if result.Environment.Packages["fromgit"] != "1.0" || result.Environment.Packages["tiny"] != "1.0" {
				t.Errorf("the record has %v", result.Environment.Packages)
			}
			noLeak(t, h.path("venvs"))
			noLeak(t, h.path("cache"))
			noLeak(t, h.sharedEnvironment())
			for what, requirements := range map[string]string{
				"no such package": "tinier\n", "no such branch": "fromgit @ git+" + git.URL + "/fromgit.git@elsewhere\n", "no such repository": "fromgit @ git+" + git.URL + "/other.git\n",
			} {
				files["requirements.txt"] = requirements
				result, _ := h.execTask(bundletest.Push(t, h.registry, "my-model", files))
				if result.Error == nil || result.Error.Code != contracts.CodeDependencies || result.Error.StderrTail == "" {
					t.Errorf("%s: %v", what, result.Error)
				}
			}
			noLeak(t, h.path("venvs"))
		})
	}
}

// execTask runs a task of the bundle, and what the worker says is looked through.
func (h *host) execTask(ref contracts.BundleRef) (*contracts.SimReturn, string) {
	h.Helper()
	task, err := json.Marshal(doing(ref, "", 1))
	if err != nil {
		h.Fatal(err)
	}
	cmd := h.command("exec")
	var words bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(task), &words
	out, err := cmd.Output()
	if err != nil {
		h.Fatalf("%v: %s%s", err, out, &words)
	}
	for _, leak := range leaks() {
		if strings.Contains(string(out)+words.String(), leak) {
			h.Errorf("%q is in what the worker says: %s%s", leak, out, &words)
		}
	}
	result, err := contracts.ParseReturn(out)
	if err != nil {
		h.Fatal(err)
	}
	return result, words.String()
}

// sharedEnvironment are the files of the environment that the worker gave to other nodes.
func (h *host) sharedEnvironment() string {
	h.Helper()
	tag := ""
	for _, request := range h.registry.Requests() {
		if _, name, ok := strings.Cut(request, "/manifests/env-"); ok && strings.HasPrefix(request, "PUT ") {
			tag = "env-" + name
		}
	}
	repository, err := bundleoci.Open(h.registry.Environment(), "my-model", bundleoci.Options{})
	if err != nil {
		h.Fatal(err)
	}
	digest, err := repository.Resolve(h.Context(), tag)
	if err != nil {
		h.Fatalf("no environment was shared: %v", err)
	}
	shared, err := repository.Fetch(h.Context(), digest)
	if err != nil {
		h.Fatal(err)
	}
	root, err := os.OpenRoot(h.TempDir())
	if err != nil {
		h.Fatal(err)
	}
	defer root.Close()
	if _, err := shared.Extract(h.Context(), root); err != nil {
		h.Fatal(err)
	}
	return root.Name()
}

// noLeak reads every file below dir, and what is in archives.
func noLeak(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if _, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err == nil {
			t.Errorf("%s is an archive, which this test does not look into", path)
		}
		for _, leak := range leaks() {
			if bytes.Contains(data, []byte(leak)) {
				t.Errorf("%q is in %s", leak, path)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%s has %d files: %v", dir, files, err)
	}
}

// TestProxyPassword has a registry that is reached by a proxy which refuses the worker: what
// the worker says of it has not the password that the proxy's address has.
func TestProxyPassword(t *testing.T) {
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	address := strings.Replace(proxy.URL, "http://", "http://"+privateUser+":"+indexPassword+"@", 1)
	for _, insecure := range []bool{true, false} {
		h := newHost(t)
		h.environ = append(h.environ, "HTTP_PROXY="+address, "HTTPS_PROXY="+address)
		file := fmt.Sprintf("environment: test\nregistry:\n  provider: docker\n  login_server: registry.example.com\n  insecure: %v\n", insecure)
		if err := os.WriteFile(h.path("env.yaml"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		before := asked.Load()
		out, err := h.command("ensure-local", "my-model@sha256:"+strings.Repeat("0", 64), "--json").CombinedOutput()
		if err == nil || asked.Load() == before {
			t.Errorf("%v, %d requests: %s", err, asked.Load()-before, out)
		}
		for _, leak := range leaks() {
			if bytes.Contains(out, []byte(leak)) {
				t.Errorf("%q is in what the worker says: %s", leak, out)
			}
		}
	}
}
