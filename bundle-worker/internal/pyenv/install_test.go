//go:build unix

package pyenv

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestLockWithoutUV(t *testing.T) {
	w := &wants{source: "uv.lock"}
	t.Setenv("PATH", t.TempDir())
	_, err := chooseInstaller("python3", w)
	if err == nil || !strings.Contains(err.Error(), "no uv") || contracts.AsError(err).Hint == "" {
		t.Errorf("%v", err)
	}
}

func TestInstallerEnviron(t *testing.T) {
	got := strings.Join(installerEnviron([]string{
		"PIP_INDEX_URL=a", "UV_INDEX=b", "GIT_SSH_COMMAND=c", "https_proxy=d", "PATH=e", "HOME=/h",
		"REGISTRY_PASSWORD=CANARY", "AZURE_STORAGE_CONNECTION_STRING=CANARY", "AWS_SECRET_ACCESS_KEY=CANARY", "MODELOPS_BUNDLE_REGISTRY=CANARY", "UV_PUBLISH_TOKEN=CANARY",
	}, "/env"), " ")
	for _, want := range []string{"PIP_INDEX_URL=a", "UV_INDEX=b", "GIT_SSH_COMMAND=c", "https_proxy=d", "PATH=e", "VIRTUAL_ENV=/env"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if strings.Contains(got, "CANARY") {
		t.Errorf("an installer gets %s", got)
	}
}

// Git's own question for a login is answered for GitHub, and for nobody else.
func TestGitHubToken(t *testing.T) {
	fill := func(host string, own ...string) string {
		t.Helper()
		cmd := exec.Command("git", "credential", "fill")
		cmd.Env = installerEnviron(append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}, own...), t.TempDir())
		cmd.Stdin = strings.NewReader("protocol=https\nhost=" + host + "\n\n")
		out, _ := cmd.CombinedOutput() // it fails where there is no login
		return string(out)
	}
	const login = "username=x-access-token\npassword=ghp_CANARY\n"
	if got := fill("github.com", "GITHUB_TOKEN=ghp_CANARY"); !strings.Contains(got, login) {
		t.Errorf("with a token: %s", got)
	}
	stated := []string{"GITHUB_TOKEN=ghp_CANARY", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.https://example.org.helper", "GIT_CONFIG_VALUE_0=!f() { echo username=ada; echo password=other; }; f"}
	if got := fill("github.com", stated...); !strings.Contains(got, login) {
		t.Errorf("beside another setting: %s", got)
	}
	if got := fill("example.org", stated...); !strings.Contains(got, "password=other") {
		t.Errorf("the other setting: %s", got)
	}
	for _, got := range []string{fill("example.org", "GITHUB_TOKEN=ghp_CANARY"), fill("github.com.example.org", "GITHUB_TOKEN=ghp_CANARY"), fill("github.com")} {
		if strings.Contains(got, "CANARY") || !strings.Contains(got, "terminal prompts disabled") {
			t.Errorf("where there is no login: %s", got)
		}
	}
	if got := redact("remote: ghp_CANARY", []string{"GITHUB_TOKEN=ghp_CANARY"}); strings.Contains(got, "CANARY") {
		t.Errorf("the token is shown: %s", got)
	}
}

// settingsOfOthers are variables that would have installers make another environment than
// the bundle's, in one way or another.
func settingsOfOthers(t *testing.T) []string {
	t.Helper()
	away := filepath.Join(t.TempDir(), "away")
	return []string{
		"PIP_TARGET=" + away, "PIP_PREFIX=" + away, "PIP_ROOT=" + away, "PIP_USER=1", "PIP_DRY_RUN=1", "PIP_NO_DEPS=1", "PIP_REQUIREMENT=" + away, "PIP_EDITABLE=" + away,
		"UV_PYTHON=/nonexistent", "UV_SYSTEM_PYTHON=1", "UV_MANAGED_PYTHON=1", "UV_PYTHON_PREFERENCE=only-managed", "UV_PROJECT_ENVIRONMENT=" + away,
		"UV_PROJECT=" + away, "UV_NO_GROUP=x", "UV_VENV_SEED=1", "UV_LINK_MODE=symlink",
	}
}

func TestSettingsOfOthers(t *testing.T) {
	opts := options(t, bundleWith(t, map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 1\n"}))
	opts.Environ = append(opts.Environ, settingsOfOthers(t)...)
	env, err := Ensure(t.Context(), opts)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if diff := cmp.Diff(map[string]string{"tiny": "1.0"}, env.Record.Packages); diff != "" {
		t.Error(diff)
	}
}

// The headline of a failed build is the line that says what is wrong.
func TestReason(t *testing.T) {
	for words, want := range map[string]string{
		"Looking in links: /wheels\nERROR: Ignored the following versions that require a different python version: 2.5.0 Requires-Python >=3.12\n" +
			"ERROR: Could not find a version that satisfies the requirement numpy==99.1 (from versions: 1.3.0)\nERROR: No matching distribution found for numpy==99.1\n": "ERROR: Could not find a version that satisfies the requirement numpy==99.1 (from versions: 1.3.0)",
		"ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.\nERROR: ResolutionImpossible: for help visit https://pip.pypa.io\n": "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.",
		"  error: subprocess-exited-with-error\n  \n  × git clone http://x/y.git did not run successfully.\n  │ exit code: 128\n      fatal: no\n":                             "× git clone http://x/y.git did not run successfully.",
		"Using Python 3.11.7\nerror: No solution found when resolving dependencies\n  cause: Because numpyy was not found\n":                                                   "error: No solution found when resolving dependencies: Because numpyy was not found",
		"  × No solution found when resolving dependencies:\n  ╰─▶ Because numpyy was not found\n      and more\n":                                                             "× No solution found when resolving dependencies: Because numpyy was not found",
		"error: Request failed after 1 retry\n  cause: Failed to fetch: http://x/\n  cause: client error\n  cause: refused\n":                                                  "error: Request failed after 1 retry: Failed to fetch: http://x/: refused",
		"Killed\n": "Killed",
		"":         "",
	} {
		if got := reason(words); got != contracts.Quote(want) {
			t.Errorf("%q:\n%s\nwant %s", words, got, contracts.Quote(want))
		}
	}
}

// An index that does not answer is the reason, and not that there is no such package: pip
// says the latter.
func TestNoIndex(t *testing.T) {
	for _, tool := range []string{"pip", "uv"} {
		if tool == "uv" {
			withUV(t)
		}
		opts := options(t, bundleWith(t, tinyFiles()))
		opts.Environ = append(os.Environ(), "PIP_FIND_LINKS=", "PIP_RETRIES=1", "UV_HTTP_RETRIES=0", "PIP_INDEX_URL=http://127.0.0.1:1/simple", "UV_DEFAULT_INDEX=http://127.0.0.1:1/simple")
		_, err := Ensure(t.Context(), opts)
		e := contracts.AsError(err)
		if err == nil || e.Code != contracts.CodeDependencies || !e.Retryable || !strings.Contains(e.Message, "the package index does not answer: ") || !strings.Contains(e.Message, "Connection refused") || e.StderrTail == "" {
			t.Errorf("%s: %+v", tool, e)
		}
	}
}

// A Git server that never answers is given up.
func TestSilentGit(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close() // what is in its queue is connected, and nobody reads
	opts := options(t, bundleWith(t, map[string]string{"requirements.txt": "tiny @ git+http://" + server.Addr().String() + "/tiny.git\n"}))
	opts.Environ = append(opts.Environ, "GIT_HTTP_LOW_SPEED_TIME=1") // and not a minute
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = Ensure(ctx, opts)
	if e := contracts.AsError(err); err == nil || e.Code != contracts.CodeDependencies || !strings.Contains(e.StderrTail, "too slow") {
		t.Errorf("%+v", e)
	}
}

// An installer that was ended says so, and whether another try may help.
func TestInstallerEnded(t *testing.T) {
	for signal, retry := range map[string]bool{"KILL": true, "SEGV": false} {
		tools := t.TempDir()
		if err := os.WriteFile(filepath.Join(tools, "uv"), []byte("#!/bin/sh\necho Installing; kill -"+signal+" $$\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", tools+string(filepath.ListSeparator)+os.Getenv("PATH"))
		_, err := Ensure(t.Context(), options(t, bundleWith(t, map[string]string{"requirements.txt": "tiny\n"})))
		e := contracts.AsError(err)
		if err == nil || e.Code != contracts.CodeDependencies || e.Retryable != retry || !strings.Contains(e.Message, "uv was ended by SIG"+signal) || e.StderrTail != "Installing\n" {
			t.Errorf("%s: %+v", signal, e)
		}
	}
}

// pip, too, holds what it installs against the hashes.
func TestHashes(t *testing.T) {
	const wheel = "wheels/tiny-1.0-py3-none-any.whl"
	bundle := bundleWith(t, map[string]string{wheel: "WORD = 1\n"})
	data, err := os.ReadFile(filepath.Join(bundle, wheel))
	if err != nil {
		t.Fatal(err)
	}
	for hash, want := range map[contracts.Digest]contracts.Code{
		contracts.DigestOf(data): "", contracts.DigestOf([]byte("another")): contracts.CodeDependencies,
	} {
		write(t, filepath.Join(bundle, "requirements.txt"), "tiny==1.0 --hash="+string(hash)+"\n")
		_, err := Ensure(t.Context(), options(t, bundle))
		if want == "" && err != nil || want != "" && (err == nil || contracts.AsError(err).Code != want || !strings.Contains(contracts.AsError(err).StderrTail, "DO NOT MATCH")) {
			t.Errorf("%s: %+v", hash, err)
		}
	}
}

// Where Python has no pip of its own, one is put into the environment.
func TestPythonWithoutPip(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", base).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PATH", filepath.Join(base, "bin")) // and no uv
	if tool, err := chooseInstaller(filepath.Join(base, "bin", "python3"), &wants{source: requirementsFile}); err != nil || !tool.inside {
		t.Fatalf("%+v, %v", tool, err)
	}
	env, err := Ensure(t.Context(), options(t, bundleWith(t, map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 1\n"})))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if env.Record.Packages["tiny"] != "1.0" || env.Record.Packages["pip"] == "" {
		t.Errorf("%v", env.Record.Packages)
	}
}
