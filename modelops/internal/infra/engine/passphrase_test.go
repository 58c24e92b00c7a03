package engine_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// firstRun is a process that makes the passphrase: it opens a stack with a program that
// does not run, for the passphrase comes first.
func firstRun() {
	e, err := engine.Open(engine.Config{Home: os.Args[2], CLI: "/does/not/exist"})
	if err == nil {
		_, err = e.Up(context.Background(), engine.Stack{Project: "modelops", Name: os.Args[3]}, engine.UpOptions{})
	}
	if contracts.AsError(err).Code != contracts.CodeUnsupported {
		panic(err)
	}
	data, err := os.ReadFile(filepath.Join(os.Args[2], "secrets", "pulumi-passphrase"))
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(data)
}

func TestConcurrentFirstRuns(t *testing.T) {
	home := t.TempDir()
	got := make([]string, 20)
	var group sync.WaitGroup
	for i := range got {
		group.Go(func() {
			out, err := exec.Command(os.Args[0], "first-run", home, "dev-"+string(rune('a'+i))).Output()
			if err != nil {
				t.Errorf("first run: %v", err)
			}
			got[i] = string(out)
		})
	}
	group.Wait()
	for _, passphrase := range got {
		if len(passphrase) != 43 || passphrase != got[0] {
			t.Fatalf("passphrases: %q", got)
		}
	}
	info, err := os.Stat(filepath.Join(home, "secrets", "pulumi-passphrase"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestPassphrase(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(home string) error
		want  string
	}{
		"lost": {func(home string) error {
			stacks := filepath.Join(home, "pulumi/go/state/.pulumi/stacks/modelops")
			if err := os.MkdirAll(stacks, 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(stacks, "prod-data.json"), []byte("{}"), 0o600)
		}, "is gone"},
		"open":  {func(home string) error { return passphrase(home, "correct horse battery", 0o644) }, "can be read by others"},
		"empty": {func(home string) error { return passphrase(home, "", 0o600) }, "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			if err := test.spoil(home); err != nil {
				t.Fatal(err)
			}
			e, err := engine.Open(engine.Config{Home: home, CLI: "/does/not/exist"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = e.Up(context.Background(), engine.Stack{Project: "modelops", Name: "dev-data"}, engine.UpOptions{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func passphrase(home, value string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Join(home, "secrets"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(home, "secrets", "pulumi-passphrase"), []byte(value), mode)
}

func TestBackend(t *testing.T) {
	for name, test := range map[string]struct {
		backend engine.Backend
		want    string // empty if it is good
	}{
		"this machine":      {engine.Backend{}, ""},
		"shared":            {engine.Backend{URL: "azblob://state?storage_account=x", SecretsProvider: "azurekeyvault://v.vault.azure.net/keys/k"}, ""},
		"own passphrase":    {engine.Backend{URL: "azblob://state", SecretsProvider: "passphrase"}, "secrets_provider does not name"},
		"no key":            {engine.Backend{URL: "azblob://state"}, "secrets_provider does not name"},
		"key alone":         {engine.Backend{SecretsProvider: "azurekeyvault://x"}, "is for a shared state"},
		"no scheme":         {engine.Backend{URL: "state", SecretsProvider: "azurekeyvault://x"}, "is no URL"},
		"credentials in it": {engine.Backend{URL: "s3://user:canary@bucket", SecretsProvider: "awskms://x"}, "has credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := engine.Open(engine.Config{Home: t.TempDir(), Backend: test.backend})
			switch {
			case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v", err)
			case err != nil && strings.Contains(err.Error(), "canary"):
				t.Errorf("shows credentials: %v", err)
			}
		})
	}
}
