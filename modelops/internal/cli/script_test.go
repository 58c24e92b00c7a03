//go:build unix

package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/cli/cloud"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
	"github.com/modelops-suite/modelops-go/modelops/internal/localregistry"
)

func TestMain(m *testing.M) {
	mops := func(cloud Cloud) func() {
		return func() {
			ctx, stop := command.SignalContext(context.Background())
			defer stop()
			os.Exit(Main(ctx, command.OSEnv(), os.Args, cloud))
		}
	}
	testscript.Main(m, map[string]func(){
		"mops":            mops(nil),
		"mops-cloud":      mops(cloud.Azure{}),
		"modelops-bundle": func() { otherProgram(contracts.ContractVersion) },
		"bundle-worker":   func() { otherProgram(os.Getenv("WORKER_CONTRACT")) },
	})
}

// otherProgram stands for the programs that mops runs. It says its version, repeats its
// arguments, or ends as they say.
func otherProgram(contract string) {
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == "--version":
		fmt.Printf("{\"name\":\"other\",\"version\":\"v9\",\"contract\":%q}\n", contract)
	case len(args) == 2 && args[0] == "exit":
		var code int
		fmt.Sscan(args[1], &code)
		os.Exit(code)
	case len(args) == 1 && args[0] == "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case len(args) == 1 && args[0] == "wait":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("waiting")
		<-signals
		os.Exit(42)
	case len(args) == 1 && args[0] == "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	default:
		fmt.Printf("%q\n", args)
		fmt.Fprintln(os.Stderr, "on stderr")
	}
	os.Exit(0)
}

// TestScript runs the scripts of testdata/script, each in an empty home. Registries that
// a script leaves running are stopped.
func TestScript(t *testing.T) {
	plugin := buildStandin(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("WORKER_CONTRACT", contracts.ContractVersion)
			mops, err := exec.LookPath("mops")
			if err != nil {
				return err
			}
			env.Setenv("MOPS", mops)
			env.Setenv("GORACE", quickExit)
			env.Defer(func() { stopAll(t, env.WorkDir) })
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			return onAzure(t, env, plugin)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"example":   example,
			"exits":     exits,
			"kill9":     kill9,
			"occupy":    occupy,
			"manifest":  manifest,
			"mode":      mode,
			"saveport":  savePort,
			"configure": configure,
			"fault":     fault,
			"terminal":  terminal,
		},
	})
}

// quickExit keeps a program with the race detector from sleeping a second at its end.
const quickExit = "atexit_sleep_ms=0"

// stopAll stops the registries of every home below dir.
func stopAll(t *testing.T, dir string) {
	states, err := filepath.Glob(filepath.Join(dir, "*", "*", "registry.json"))
	if err != nil {
		t.Error(err)
	}
	deeper, err := filepath.Glob(filepath.Join(dir, "*", "*", "*", "registry.json"))
	if err != nil {
		t.Error(err)
	}
	for _, state := range append(states, deeper...) {
		if _, err := localregistry.Open(filepath.Dir(state)).Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// exits CODE PROGRAM ARGS... runs a program that must end with that code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
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

func instance(ts *testscript.TestScript, home string) daemon.Instance {
	i, err := localregistry.Open(filepath.Join(ts.MkAbs(home), "local")).Instance()
	ts.Check(err)
	return i
}

// kill9 HOME kills the registry of a home that a script started.
func kill9(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(syscall.Kill(instance(ts, args[0]).PID, syscall.SIGKILL))
}

// saveport HOME VARIABLE puts the registry's port into a variable.
func savePort(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[1], fmt.Sprint(instance(ts, args[0]).Port))
}

// occupy PORT runs another web server there until the script ends.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp4", "127.0.0.1:"+args[0])
	ts.Check(err)
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(listener) }()
	ts.Defer(func() { _ = server.Close() })
}

// example PATH takes a file of docs/examples into the working directory.
func example(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "examples", args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(filepath.Base(args[0])), data, 0o600))
}

// mode PATH MODE compares permissions.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// manifest put|get PORT REPOSITORY:TAG stores a manifest in the registry, or looks
// whether it is there.
func manifest(ts *testscript.TestScript, neg bool, args []string) {
	repository, tag, _ := strings.Cut(args[2], ":")
	base := "http://localhost:" + args[1] + "/v2/" + repository
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	send := func(method, url, body string) int {
		request, err := http.NewRequest(method, url, strings.NewReader(body))
		ts.Check(err)
		request.Header.Set("Content-Type", mediaType)
		response, err := http.DefaultClient.Do(request)
		ts.Check(err)
		_ = response.Body.Close()
		return response.StatusCode
	}
	if args[0] == "get" {
		if code := send(http.MethodGet, base+"/manifests/"+tag, ""); (code == http.StatusOK) == neg {
			ts.Fatalf("%s: %d", args[2], code)
		}
		return
	}
	config := "{}"
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(config)))
	send(http.MethodPost, base+"/blobs/uploads/?digest="+digest, config)
	document, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaType, "layers": []any{},
		"config": map[string]any{"mediaType": "application/json", "digest": digest, "size": len(config)},
	})
	ts.Check(err)
	if code := send(http.MethodPut, base+"/manifests/"+tag, string(document)); code != http.StatusCreated {
		ts.Fatalf("put %s: %d", args[2], code)
	}
}
