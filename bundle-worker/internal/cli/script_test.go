//go:build unix

package cli

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3test"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bundle-worker": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			code := Main(ctx, OSEnv(), os.Args)
			stop()
			os.Exit(code)
		},
	})
}

// TestScript runs the scripts of testdata/script, each with a registry of its own at
// $REGISTRY that its environment file $ENVFILE names, a home and a cache of its own.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"push":     push,
			"storage":  storageCommand,
			"registry": registryCommand,
			"task":     writeTask,
			"field":    field,
			"code":     exitCode,
			"gone":     gone,
			"wheel":    wheel,
			"example":  example,
			"packages": packages,
		},
	})
}

// node is what the commands of one script share.
type node struct {
	t        testing.TB
	registry *bundletest.Registry
	// environment is where push sends to: the registry's alone, or with a storage.
	environment *contracts.BundleEnvironment

	mu      sync.Mutex
	held    chan struct{} // closed when what is held may go on
	arrived chan struct{} // closed when something is held
}

type nodeKey struct{}

func nodeOf(ts *testscript.TestScript) *node { return ts.Value(nodeKey{}).(*node) }

func setup(env *testscript.Env) error {
	t := env.T().(testing.TB)
	n := &node{t: t, registry: bundletest.NewRegistry(t)}
	n.environment = n.registry.Environment()
	env.Values[nodeKey{}] = n
	home := filepath.Join(env.WorkDir, "home")
	file := filepath.Join(env.WorkDir, "env.yaml")
	for name, value := range map[string]string{
		"HOME": home, "MODELOPS_HOME": filepath.Join(home, ".modelops"), "DOCKER_CONFIG": filepath.Join(home, ".docker"),
		"REGISTRY": n.registry.Host, "ENVFILE": file, "MODELOPS_BUNDLE_ENV_FILE": file,
		"MODELOPS_BUNDLES_CACHE_DIR": filepath.Join(env.WorkDir, "cache"), "MODELOPS_VENVS_DIR": filepath.Join(env.WorkDir, "venvs"),
		"TMPDIR": filepath.Join(env.WorkDir, "tmp"), "GORACE": "atexit_sleep_ms=0", // else each process waits a second at its end
	} {
		env.Setenv(name, value)
	}
	env.Setenv("PATH", env.Getenv("PATH")+string(filepath.ListSeparator)+os.Getenv("PATH"))
	env.Defer(func() { _ = exec.Command("chmod", "-R", "u+w", env.WorkDir).Run() })
	content := fmt.Sprintf("environment: test\nregistry:\n  provider: docker\n  login_server: %s\n", n.registry.Host)
	for _, dir := range []string{filepath.Join(env.WorkDir, "tmp"), home} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(content), 0o600)
}

// push DIR [python] pushes a directory as the bundle my-model, with python as the Python
// suite does. $REF, $DIGEST and $SHORT become its
// own, and the registry's log is emptied.
func push(ts *testscript.TestScript, neg bool, args []string) {
	python := len(args) == 2 && args[1] == "python"
	if neg || len(args) != 1 && !python {
		ts.Fatalf("usage: push DIR [python]")
	}
	files := bundletest.Files{}
	dir := ts.MkAbs(args[0])
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.HasSuffix(name, ".sh") && !python {
			name += "*"
		}
		files[filepath.ToSlash(name)] = string(data)
		return err
	})
	ts.Check(err)
	n := nodeOf(ts)
	var ref contracts.BundleRef
	if python {
		ref = bundletest.PushPython(n.t, n.registry, "my-model", files)
	} else {
		ref = bundletest.PushTo(n.t, n.environment, "my-model", files)
	}
	ts.Setenv("REF", ref.String())
	ts.Setenv("DIGEST", string(ref.Digest))
	ts.Setenv("SHORT", ref.Digest.Short())
	n.registry.Requests()
}

// storageCommand makes a storage, and has what is pushed afterwards lie there, all of it:
//
//	fs        in a directory
//	azurite   in the emulator, which $CONNECTION opens
//	s3        in an S3 server, with the secret key test-secret-key-canary
//
// The environment file names it.
func storageCommand(ts *testscript.TestScript, neg bool, args []string) {
	n := nodeOf(ts)
	n.environment = n.registry.Environment()
	storage := &contracts.Storage{Provider: "fs", Container: ts.MkAbs("storage")}
	switch args[0] {
	case "azurite":
		connection := azuritetest.Start(n.t).ConnectionString()
		ts.Setenv("CONNECTION", connection)
		storage = &contracts.Storage{Provider: "azurite", Container: "bundle-blobs", ConnectionString: contracts.Secret(connection)}
		store, err := azure.Open(storage, azure.Options{})
		ts.Check(err)
		ts.Check(store.Make(n.t.Context()))
	case "s3":
		storage = s3test.Start(n.t).Bucket("bundle-blobs")
		store, err := s3.Open(storage, s3.Options{})
		ts.Check(err)
		ts.Check(store.Make(n.t.Context()))
	}
	n.environment.Storage = storage
	data, err := n.environment.Marshal()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.Getenv("ENVFILE"), data, 0o600))
}

// registryCommand works on the script's registry:
//
//	stop                  nothing listens there any more
//	login USER PASSWORD   whoever has no password is refused
//	asked N PATTERN       N requests since the last look match the pattern, and none twice
//	hold                  blobs are not answered until they are released
//	held                  waits until somebody asks for one
//	release
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	n := nodeOf(ts)
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: registry stop|login|asked|hold|held|release")
	case args[0] == "stop":
		n.registry.Stop()
	case args[0] == "login":
		n.registry.RequireLogin(args[1], args[2])
	case args[0] == "asked":
		n.asked(ts, args[1], regexp.MustCompile(args[2]))
	case args[0] == "hold":
		n.hold()
	case args[0] == "held":
		n.mu.Lock()
		arrived := n.arrived
		n.mu.Unlock()
		<-arrived
	case args[0] == "release":
		n.mu.Lock()
		close(n.held)
		n.mu.Unlock()
		n.registry.Intercept(nil)
	}
}

func (n *node) asked(ts *testscript.TestScript, want string, pattern *regexp.Regexp) {
	things, err := askedOnce(n.registry.Requests(), pattern)
	ts.Check(err)
	if want != strconv.Itoa(things) {
		ts.Fatalf("the registry was asked %d things, not %s", things, want)
	}
}

// askedOnce counts the different requests that match the pattern; an error for one that came
// twice.
func askedOnce(requests []string, pattern *regexp.Regexp) (things int, err error) {
	seen := map[string]int{}
	for _, request := range requests {
		if pattern.MatchString(request) {
			seen[request]++
		}
	}
	for request, times := range seen {
		if times > 1 {
			return 0, fmt.Errorf("the registry was asked %d times for %s", times, request)
		}
	}
	return len(seen), nil
}

func (n *node) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held, n.arrived = make(chan struct{}), make(chan struct{})
	var once sync.Once
	held, arrived := n.held, n.arrived
	n.registry.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		once.Do(func() { close(arrived) })
		select {
		case <-held:
		case <-req.Context().Done():
		}
		return false
	})
}

// task FILE PARAMS SEED [KEY=JSON...] writes a task of the bundle $REF as a line at the end of FILE.
func writeTask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: task FILE PARAMS SEED [KEY=JSON...]")
	}
	var params contracts.Params
	ts.Check(params.UnmarshalJSON([]byte(args[1])))
	seed, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	ref, err := contracts.ParseBundleRef(ts.Getenv("REF"))
	ts.Check(err)
	data, err := json.Marshal(contracts.SimTask{
		Bundle: ref, Entrypoint: "model.sir/baseline", Model: "model.sir", Scenario: "baseline",
		Params: contracts.TaskParams{ID: params.ID(), Values: params}, Seed: seed,
	})
	ts.Check(err)
	for _, extra := range args[3:] {
		key, value, _ := strings.Cut(extra, "=")
		var fields map[string]json.RawMessage
		ts.Check(json.Unmarshal(data, &fields))
		fields[key] = json.RawMessage(value)
		data, err = json.Marshal(fields)
		ts.Check(err)
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	ts.Check(err)
	defer f.Close()
	_, err = f.Write(append(data, '\n'))
	ts.Check(err)
}

// field FILE LINE PATH PATTERN holds a value of a line of JSON against a pattern. Inline
// outputs are decoded: outputs.x.inline is text. "!" is for a value that is not there.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || len(args) < 4 && !neg {
		ts.Fatalf("usage: [!] field FILE LINE PATH PATTERN")
	}
	lines := strings.Split(strings.TrimRight(ts.ReadFile(args[0]), "\n"), "\n")
	number, err := strconv.Atoi(args[1])
	ts.Check(err)
	if number > len(lines) {
		ts.Fatalf("%s has %d lines", args[0], len(lines))
	}
	decoder := json.NewDecoder(strings.NewReader(lines[number-1]))
	decoder.UseNumber()
	var value any
	ts.Check(decoder.Decode(&value))
	there := true
	keys := strings.Split(args[2], "/")
	for _, key := range keys {
		switch parent := value.(type) {
		case map[string]any:
			value, there = parent[key]
		case []any:
			i, err := strconv.Atoi(key)
			there = err == nil && i < len(parent)
			if there {
				value = parent[i]
			}
		default:
			there = false
		}
		if !there {
			break
		}
	}
	if neg {
		if there {
			ts.Fatalf("%s is there: %v", args[2], value)
		}
		return
	}
	text := fmt.Sprint(value)
	if keys[len(keys)-1] == "inline" {
		var data []byte
		ts.Check(json.Unmarshal([]byte(strconv.Quote(text)), &data))
		text = string(data)
	}
	if !there || !regexp.MustCompile("(?s)"+args[3]).MatchString(text) {
		ts.Fatalf("%s is %q, not %s, in\n%.4000s", args[2], text, args[3], lines[number-1])
	}
}

// code N PROGRAM ARGS... runs a program that must end with that exit code.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// gone FILE waits until no process has a number that is in the file.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, word := range strings.Fields(ts.ReadFile(args[0])) {
		pid, err := strconv.Atoi(word)
		ts.Check(err)
		for running(pid) {
			select {
			case <-deadline:
				ts.Fatalf("process %d is still there", pid)
			case <-tick.C:
			}
		}
	}
}

func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err == nil {
		return !strings.Contains(string(stat), ") Z ")
	}
	_, procErr := os.Stat("/proc/self/stat")
	return procErr != nil && syscall.Kill(pid, 0) == nil
}

// wheel FILE NAME [CODE] makes a distribution NAME 1.0 with one module, NAME, that is CODE or
// has ANSWER = 42.
func wheel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: wheel FILE NAME [CODE]")
	}
	name, code := args[1], "ANSWER = 42\ndef wire(entrypoint, params, seed): return {'by': b'distribution'}\n"
	if len(args) > 2 {
		code = args[2] + "\n"
	}
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	z := zip.NewWriter(f)
	info := name + "-1.0.dist-info/"
	for _, file := range [][2]string{
		{name + ".py", code},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "entry_points.txt", "[modelops." + map[bool]string{true: "wire", false: "other"}[strings.HasPrefix(name, "wire")] + "]\nexecute = " + name + ":wire\n"},
		{info + "RECORD", name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "entry_points.txt,,\n" + info + "RECORD,,\n"},
	} {
		w, err := z.Create(file[0])
		ts.Check(err)
		_, err = w.Write([]byte(file[1]))
		ts.Check(err)
	}
	ts.Check(z.Close())
}
