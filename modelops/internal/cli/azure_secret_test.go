//go:build unix

package cli

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure/azuretest"
)

// TestAzureSecrets looks for the account's keys, the registry's passwords, the kubeconfig of
// the cluster and the passphrase in everything that the commands write, leave, or show of themselves.
func TestAzureSecrets(t *testing.T) {
	t.Parallel()
	b := newAzureBench(t, buildStandin(t), azureConfig+"registry: {admin_user: true}\ncluster: {}\n")
	b.Spoil(b, azuretest.Fault{Type: "storage:ManagementPolicy", Operation: "create", Do: "pause"})
	// The account and its keys are there when its policy is made.
	watch := func(azuretest.Paused, *exec.Cmd) { b.quietProcesses(b.secrets()) }
	if code := b.paused(watch, "infra", "up", "--verbose"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, b.said.String())
	}
	file := b.file()
	for _, key := range []string{"password: ", "AccountKey="} {
		if !strings.Contains(file, key) {
			t.Fatalf("%s is not in the environment file: nothing could be given away", key)
		}
	}
	b.Spoil(b, azuretest.Fault{Type: "storage:StorageAccount", Operation: "read", Do: "pause"})
	if code := b.paused(watch, "infra", "refresh", "--json"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, b.said.String())
	}
	b.mops(0, "infra", "status", "--json", "--verbose")
	b.mops(0, "infra", "preview", "--json", "--verbose")
	b.mops(0, "infra", "outputs", "--json")
	b.mops(0, "infra", "outputs", "--log-format", "json")
	// An error of Azure's that repeats what it knows.
	key := b.Canaries(b)[0]
	b.Spoil(b, azuretest.Fault{Type: "storage:BlobContainer", Operation: "delete", Do: "fail", Status: 403, Code: "AuthorizationFailed",
		Message: "not with AccountKey=" + key + " and " + b.secrets()[len(b.secrets())-1]})
	b.mops(2, "infra", "down", "--destroy-storage")
	b.mops(4, "infra", "down", "--destroy-storage", "--confirm", "dev", "--verbose")
	b.mops(0, "infra", "up", "--json")
	b.discreet()
	if out, _ := b.mops(0, "infra", "kubeconfig", "--output", "-"); !strings.Contains(out, "token: "+b.clusterToken()) {
		t.Error("there is no kubeconfig, so none could be given away")
	}
	if out, _ := b.mops(0, "infra", "outputs", "--show-secrets"); !strings.Contains(out, "AccountKey="+b.accountKey()) {
		t.Error("--show-secrets shows none")
	}
}

// clusterToken is that of the cluster's administrator.
func (b *azureBench) clusterToken() string {
	b.Helper()
	for _, r := range b.Resources(b) {
		if strings.HasSuffix(r.Type, ":ManagedCluster") {
			return r.Keys[0]
		}
	}
	b.Fatal("there is no cluster")
	return ""
}

// accountKey is the first key of the storage account.
func (b *azureBench) accountKey() string {
	b.Helper()
	for _, r := range b.Resources(b) {
		if strings.HasSuffix(r.Type, ":StorageAccount") {
			return r.Keys[0]
		}
	}
	b.Fatal("there is no account")
	return ""
}

// TestAzureInterrupted interrupts "mops infra up" once: what was begun is finished and
// recorded, and the next one goes on from there.
func TestAzureInterrupted(t *testing.T) {
	t.Parallel()
	b := newAzureBench(t, buildStandin(t), azureConfig)
	b.Spoil(b, azuretest.Fault{Type: "containerregistry:Registry", Operation: "create", Do: "pause", After: true})
	code := b.paused(func(_ azuretest.Paused, cmd *exec.Cmd) {
		if err := syscall.Kill(cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}, "infra", "up")
	if code != 130 || !strings.Contains(b.said.String(), "interrupt again to end at once") {
		t.Errorf("exit code %d\n%s", code, b.said.String())
	}
	if b.file() != "" {
		t.Error("an environment file was written for what is not there")
	}
	b.mops(0, "infra", "up")
	b.whole(azureTypes)
}
