//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure/azuretest"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/enginetest"
)

// azureBench is a home with a configuration for Azure, and an Azure of its own.
type azureBench struct {
	*testing.T
	azuretest.Cloud
	base, home string
	said       bytes.Buffer // everything that every command wrote
}

const azureConfig = `schema_version: 3
settings: {environment: dev, provider: azure, username: vsb}
azure: {subscription_id: ` + azuretest.Subscription + `}
`

func buildStandin(t *testing.T) string {
	t.Helper()
	plugin, err := azuretest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

func newAzureBench(t *testing.T, plugin, config string) *azureBench {
	t.Helper()
	b := &azureBench{T: t, base: t.TempDir()}
	b.home = filepath.Join(b.base, "home")
	for _, dir := range []string{b.home, filepath.Join(b.base, "tmp")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b.configure(config)
	var err error
	if b.Cloud, err = azuretest.New(filepath.Join(b.base, "plugin"), plugin); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *azureBench) configure(config string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.home, "modelops.yaml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
}

func (b *azureBench) command(args ...string) *exec.Cmd {
	b.Helper()
	path, err := exec.LookPath("mops")
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"MODELOPS_HOME=" + b.home, "HOME=" + b.base, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + filepath.Join(b.base, "tmp"), "GORACE=" + quickExit,
		"MODELOPS_PULUMI=" + enginetest.CLI(b), "MODELOPS_PULUMI_PLUGINS=" + b.Plugins}
	return cmd
}

// mops runs a command that must end with a code, and answers with what it wrote.
func (b *azureBench) mops(code int, args ...string) (stdout, stderr string) {
	b.Helper()
	cmd := b.command(args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	_ = cmd.Run() // its code is looked at
	b.said.Write(out.Bytes())
	b.said.Write(err.Bytes())
	if got := cmd.ProcessState.ExitCode(); got != code {
		b.Fatalf("mops %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out.String(), err.String())
	}
	return out.String(), err.String()
}

// killed runs a command until an operation on Azure waits, and ends the command, the
// engine and the plugin as a loss of power would.
func (b *azureBench) killed(args ...string) {
	b.Helper()
	b.paused(func(p azuretest.Paused, cmd *exec.Cmd) {
		pids := []int{cmd.Process.Pid, p.Engine, p.Plugin}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one may follow another by itself
		}
		tick, deadline := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
		defer tick.Stop()
		for slices.ContainsFunc(pids, runs) {
			select {
			case <-tick.C:
			case <-deadline:
				b.Fatal("what was killed still runs after 30 s")
			}
		}
	}, args...)
}

// runs says whether a process has not ended.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// paused runs a command, does something while an operation on Azure waits, and then lets
// it go on. It answers with the command's code.
func (b *azureBench) paused(meanwhile func(azuretest.Paused, *exec.Cmd), args ...string) int {
	b.Helper()
	cmd := b.command(args...)
	out, err := os.Create(filepath.Join(b.base, "said"))
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	p, waits := b.AwaitPause(b, done)
	if waits {
		meanwhile(p, cmd)
		b.Resume(b)
	}
	<-done
	said, err := os.ReadFile(out.Name())
	if err := errors.Join(err, out.Close()); err != nil {
		b.Fatal(err)
	}
	b.said.Write(said)
	if !waits {
		b.Fatalf("mops %s ended before the fault:\n%s", strings.Join(args, " "), said)
	}
	return cmd.ProcessState.ExitCode()
}

// file is the environment file's content, "" when there is none.
func (b *azureBench) file() string {
	b.Helper()
	data, err := environment.Open(b.home).Read("dev")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
	return string(data)
}

// truthful is an error of the test unless the file is as it was, says what Azure has, or
// that the registry was to be destroyed.
func (b *azureBench) truthful(before string) {
	b.Helper()
	now := b.file()
	if now == before {
		return
	}
	loaded, err := environment.Open(b.home).Load("dev")
	if err != nil {
		if !strings.Contains(contracts.AsError(err).Message, "was destroyed at") {
			b.Errorf("the environment file cannot be read: %v", err)
		}
		return
	}
	types := b.Types(b)
	if !slices.Contains(types, "containerregistry:Registry") || (loaded.Env.Storage != nil) != slices.Contains(types, "storage:BlobContainer") {
		b.Errorf("the environment file is not true:\n%s", now)
	}
}

// whole is an error of the test unless all of the environment is there, once, and the
// file says it.
func (b *azureBench) whole(want []string) {
	b.Helper()
	if diff := cmp.Diff(want, b.Types(b)); diff != "" {
		b.Error(diff)
	}
	balance := map[string]int{}
	for _, id := range b.Did(b, "create") {
		balance[id]++
	}
	for _, id := range b.Did(b, "delete") {
		balance[id]--
	}
	there := b.Resources(b)
	for id, n := range balance {
		if _, is := there[strings.ToLower(id)]; !is && n == 0 {
			continue // a role of a cluster that is no more
		}
		singleton := strings.HasSuffix(id, "/blobServices/default") // Azure has it with its account: making it changes it
		if n != 1 && !(singleton && n > 0) {
			b.Errorf("%s was made %d times more often than deleted", id, n)
		}
	}
	stdout, _ := b.mops(0, "infra", "status", "--json")
	var answer struct {
		State string `json:"env_file_state"`
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.State != "current" {
		b.Errorf("%v %s", err, stdout)
	}
	stdout, _ = b.mops(0, "infra", "preview")
	for line := range strings.Lines(stdout) {
		if !strings.HasPrefix(line, "keep ") {
			b.Errorf("still to do: %s", line)
		}
	}
}

// secrets are what nobody may see but the reader of the environment file.
func (b *azureBench) secrets() []string {
	b.Helper()
	secrets := b.Canaries(b)
	passphrase, err := os.ReadFile(filepath.Join(b.home, "secrets", "pulumi-passphrase"))
	if err != nil {
		b.Fatal(err)
	}
	return append(secrets, string(bytes.TrimSpace(passphrase)))
}

// discreet is an error of the test if a secret is in what was written, or in any file but
// those that are there to hold it.
func (b *azureBench) discreet() {
	b.Helper()
	secrets := b.secrets()
	if len(secrets) < 3 {
		b.Fatal("there are no secrets to search for")
	}
	search := func(where string, content []byte) {
		for _, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				b.Errorf("a secret is in %s", where)
			}
		}
	}
	search("the output", b.said.Bytes())
	err := filepath.WalkDir(b.base, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, b.Plugins) {
			return err
		}
		if path == environment.Open(b.home).Path("dev") || path == filepath.Join(b.home, "secrets", "pulumi-passphrase") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		search(path, content)
		return nil
	})
	if err != nil {
		b.Error(err)
	}
}

// quietProcesses is an error of the test if a secret is on a command line of any process.
func (b *azureBench) quietProcesses(secrets []string) {
	b.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		for _, secret := range secrets {
			if bytes.Contains(line, []byte(secret)) {
				b.Errorf("a secret is on the command line of %s", path)
			}
		}
	}
}

var (
	azureTypes = []string{"containerregistry:Registry", "resources:ResourceGroup", "storage:BlobContainer",
		"storage:BlobServiceProperties", "storage:ManagementPolicy", "storage:StorageAccount"}
	identityTypes = append([]string{"authorization:RoleAssignment"}, azureTypes...)
	clusterTypes  = slices.Sorted(slices.Values(append([]string{
		"authorization:RoleAssignment", "authorization:RoleAssignment", // of the nodes and of the workers
		"containerservice/v20240501:AgentPool", "containerservice/v20240501:AgentPool", "containerservice/v20240501:ManagedCluster",
		"managedidentity:FederatedIdentityCredential", "managedidentity:FederatedIdentityCredential", "managedidentity:UserAssignedIdentity",
	}, azureTypes...)))
)

// onAzure gives the scripts infra_azure_… an Azure of their own and a configuration.
func onAzure(t *testing.T, env *testscript.Env, plugin string) error {
	if !strings.HasPrefix(filepath.Base(env.WorkDir), "script-infra_azure_") {
		return nil
	}
	home, plugins := filepath.Join(env.WorkDir, "mops-home"), filepath.Join(env.WorkDir, "plugin")
	env.Setenv("MODELOPS_HOME", home)
	env.Setenv("MODELOPS_PULUMI", enginetest.CLI(t))
	env.Setenv("MODELOPS_PULUMI_PLUGINS", plugins)
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	if _, err := azuretest.New(plugins, plugin); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(home, "modelops.yaml"), []byte(azureConfig), 0o600)
}

// configure LINE adds a line to the configuration for Azure that scripts begin with.
func configure(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("MODELOPS_HOME"), "modelops.yaml"), []byte(azureConfig+args[0]+"\n"), 0o600))
}

// fault JSON says what goes wrong on Azure from now on.
func fault(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("MODELOPS_PULUMI_PLUGINS"), "cloud", "faults.json"), []byte(args[0]), 0o600))
}
