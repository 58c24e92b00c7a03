package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"modelops-bundle": func() {
			ctx, stop := command.SignalContext(context.Background())
			code := Main(ctx, command.OSEnv(), os.Args)
			stop()
			os.Exit(code)
		},
	})
}

// TestScript runs the scripts of testdata/script, each with a registry of its own at
// $REGISTRY, another one at $FAR, a home of its own, and an environment named dev in it.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"environment": environmentFile,
			"registry":    registryCommand,
			"storage":     storageCommand,
			"python":      pushPython,
			"saveline":    saveLine,
			"clock":       clock,
			"status":      exitStatus,
			"bytes":       writeBytes,
			"damage":      damage,
			"sums":        registrySums,
		},
	})
}

type (
	registryKey struct{}
	testKey     struct{}
)

func setup(env *testscript.Env) error {
	env.Values[testKey{}] = env.T()
	registry := bundletest.NewRegistry(env.T().(testing.TB))
	env.Values[registryKey{}] = registry
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("MODELOPS_HOME", filepath.Join(home, ".modelops"))
	env.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	env.Setenv("REGISTRY", registry.Host)
	env.Setenv("FAR", bundletest.NewRegistry(env.T().(testing.TB)).Host)
	return writeEnvironment(filepath.Join(home, ".modelops"), &contracts.BundleEnvironment{
		Environment: "dev", Registry: contracts.Registry{Provider: "docker", LoginServer: registry.Host},
	})
}

func writeEnvironment(home string, env *contracts.BundleEnvironment) error {
	data, err := env.Marshal()
	if err != nil {
		return err
	}
	dir := filepath.Join(home, "bundle-env")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, env.Environment+".yaml"), data, 0o600)
}

func registryOf(ts *testscript.TestScript) *bundletest.Registry {
	return ts.Value(registryKey{}).(*bundletest.Registry)
}

// environment NAME LOGIN_SERVER [USERNAME PASSWORD] writes an environment file.
func environmentFile(ts *testscript.TestScript, _ bool, args []string) {
	env := &contracts.BundleEnvironment{Environment: args[0], Registry: contracts.Registry{Provider: "docker", LoginServer: args[1]}}
	if len(args) == 4 {
		env.Registry.Username, env.Registry.Password, env.Registry.RequiresAuth = args[2], contracts.Secret(args[3]), true
	}
	ts.Check(writeEnvironment(ts.Getenv("MODELOPS_HOME"), env))
}

// registry stop | login USERNAME PASSWORD | refuse | keep | broken | serve | clear | requests TEXT: the last
// holds when one of the requests since they were last looked at has TEXT in it.
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	registry := registryOf(ts)
	switch args[0] {
	case "stop":
		registry.Stop()
	case "login":
		registry.RequireLogin(args[1], args[2])
	case "refuse":
		registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		})
	case "keep": // everything, as registries do that have no deletion
		registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodDelete {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodDelete
		})
	case "broken": // answers no question about what refers to a manifest
		registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			broken := strings.Contains(r.URL.Path, "/referrers/")
			if broken {
				w.WriteHeader(http.StatusForbidden)
			}
			return broken
		})
	case "serve":
		registry.Intercept(nil)
	case "clear":
		registry.Requests()
	case "requests":
		found := ""
		for _, request := range registry.Requests() {
			if strings.Contains(request, args[1]) {
				found = request
			}
		}
		if neg == (found != "") {
			ts.Fatalf("%s: found %q", args[1], found)
		}
	}
}

// python REPOSITORY DIR pushes the files of a directory as the Python suite does, to the tag
// latest, and says nothing.
func pushPython(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[1])
	files := bundletest.Files{}
	ts.Check(filepath.WalkDir(dir, func(p string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)] = ts.ReadFile(p)
		return nil
	}))
	bundletest.PushPython(ts.Value(testKey{}).(testing.TB), registryOf(ts), args[0], files)
}

// saveline NAME puts the first line of the last command's stdout into $NAME, and its
// digest into ${NAME}_DIGEST.
func saveLine(ts *testscript.TestScript, _ bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv(args[0], line)
	_, digest, _ := strings.Cut(line, "@")
	ts.Setenv(args[0]+"_DIGEST", digest)
}

// clock DIR sets all times below DIR back by years.
func clock(ts *testscript.TestScript, _ bool, args []string) {
	old := time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(p, old, old)
	}))
}

// status CODE COMMAND... runs a command that must end with the code.
func exitStatus(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// bytes FILE N writes N bytes that do not compress, the same ones each time.
func writeBytes(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// damage PATH changes one byte in the middle of a file, or of the largest file in a
// directory.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	largest, most := "", int64(-1)
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(p string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > most {
			largest, most = p, info.Size()
		}
		return err
	}))
	data, err := os.ReadFile(largest)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(largest, data, 0o644))
}

// sums holds when every file below models and data that registry.yaml names has its true
// digest there, and there is one.
func registrySums(ts *testscript.TestScript, _ bool, _ []string) {
	registry := ts.ReadFile(".modelops-bundle/registry.yaml")
	for _, file := range []string{"models/m.py", "data/a.csv"} {
		if digest := string(contracts.DigestOf([]byte(ts.ReadFile(file)))); !strings.Contains(registry, digest) {
			ts.Fatalf("%s has digest %s, which registry.yaml does not have:\n%s", file, digest, registry)
		}
	}
}
