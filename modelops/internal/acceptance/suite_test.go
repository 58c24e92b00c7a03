package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The directories of the programs and of the peers.
var bin, peers string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	scratch, err := os.MkdirTemp("", "acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	if bin = os.Getenv("MODELOPS_TEST_BIN"); bin == "" {
		bin = filepath.Join(scratch, "bin")
		err = goBuild("../../..", bin, "./modelops/cmd/mops", "./modelops-bundle/cmd/modelops-bundle", "./bundle-worker/cmd/bundle-worker")
	}
	if peers = os.Getenv("MODELOPS_TEST_PEERS"); peers == "" && err == nil {
		peers = filepath.Join(scratch, "peers")
		err = goBuild("peers", peers, "oras.land/oras/cmd/oras", "github.com/google/go-containerregistry/cmd/crane")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func goBuild(dir, out string, packages ...string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{"build", "-o", out + "/"}, packages...)...)
	cmd.Dir = dir
	if dir == "peers" {
		cmd.Env = append(os.Environ(), "GOWORK=off")
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	return nil
}

// user is somebody with a home and the programs on the path.
type user struct {
	t    *testing.T
	home string
	dir  string // where the user is
	env  []string
}

// newUser has an empty home, a local environment unless told otherwise, and a working
// directory.
func newUser(t *testing.T) *user {
	t.Helper()
	base := t.TempDir()
	u := &user{t: t, home: filepath.Join(base, "home"), dir: filepath.Join(base, "work")}
	for _, dir := range []string{u.home, u.dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	u.env = []string{"HOME=" + u.home, "MODELOPS_HOME=" + u.suite(), "PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + base, "LANG=C.UTF-8"}
	return u
}

// suite is the suite's home. It is not the usual one, so that its registry has a port of
// its own and meets no test that runs beside this one.
func (u *user) suite() string { return filepath.Join(u.home, "suite") }

// up makes the local environment, which ends with the test.
func (u *user) up() *user {
	u.t.Helper()
	u.ok("mops", "infra", "up")
	u.t.Cleanup(func() { u.command("mops", "infra", "down").Run() })
	return u
}

func (u *user) command(name string, args ...string) *exec.Cmd {
	path := filepath.Join(bin, name)
	if name == "oras" || name == "crane" {
		path = filepath.Join(peers, name)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = u.dir, u.env
	if name == "bundle-worker" { // on its own it keeps bundles in a place for the whole machine
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "MODELOPS_BUNDLES_CACHE_DIR="+filepath.Join(u.home, "cache"))
	}
	return cmd
}

// run is the command's stdout, stderr and exit code.
func (u *user) run(name string, args ...string) (stdout, stderr string, code int) {
	u.t.Helper()
	var out, errs bytes.Buffer
	cmd := u.command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		u.t.Fatalf("%s: %v", name, err)
	}
	return out.String(), errs.String(), code
}

// ok runs a command that must succeed and answers with its stdout.
func (u *user) ok(name string, args ...string) string {
	u.t.Helper()
	out, errs, code := u.run(name, args...)
	if code != 0 {
		u.t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), code, out, errs)
	}
	return out
}

// json is ok for a command's document.
func (u *user) json(doc any, name string, args ...string) {
	u.t.Helper()
	u.decode([]byte(u.ok(name, append(args, "--json")...)), doc)
}

func (u *user) decode(out []byte, doc any) {
	u.t.Helper()
	if err := json.Unmarshal(out, doc); err != nil {
		u.t.Fatalf("%v\n%s", err, out)
	}
}

// envelope runs a command that must fail with the exit code, and answers with its error
// document.
func (u *user) envelope(code int, name string, args ...string) map[string]any {
	u.t.Helper()
	out, errs, got := u.run(name, append(args, "--json")...)
	var doc struct{ Error map[string]any }
	if err := json.Unmarshal([]byte(out), &doc); err != nil || got != code || doc.Error == nil {
		u.t.Fatalf("%s %s: exit code %d, want %d, %v\n%s%s", name, strings.Join(args, " "), got, code, err, out, errs)
	}
	return doc.Error
}

func (u *user) cd(dir string) *user {
	moved := *u
	moved.dir = filepath.Join(u.dir, dir)
	return &moved
}

func (u *user) write(name, content string) {
	u.t.Helper()
	path := filepath.Join(u.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) read(name string) string {
	u.t.Helper()
	data, err := os.ReadFile(filepath.Join(u.dir, name))
	if err != nil {
		u.t.Fatal(err)
	}
	return string(data)
}

// environment writes an environment file for a registry.
func (u *user) environment(name, loginServer string) {
	u.t.Helper()
	dir := filepath.Join(u.suite(), "bundle-env")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		u.t.Fatal(err)
	}
	content := fmt.Sprintf("environment: %q\nregistry:\n  provider: \"docker\"\n  login_server: %q\n", name, loginServer)
	if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(content), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// registryOf is the login server of the user's environment.
func (u *user) registryOf(environment string) string {
	u.t.Helper()
	var env struct {
		Registry struct {
			LoginServer string `json:"login_server"`
		} `json:"registry"`
	}
	u.json(&env, "mops", "env", "show", environment)
	return env.Registry.LoginServer
}

// debianRegistry starts Debian's docker-registry, or is "" where there is none.
func debianRegistry(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("docker-registry is not installed; CI must have it")
		}
		t.Log("docker-registry is not installed: not tested against it")
		return ""
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	waitFor(t, "docker-registry", func() bool {
		response, err := http.Get("http://" + addr + "/v2/")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return addr
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(60 * time.Second); ; {
		if condition() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
