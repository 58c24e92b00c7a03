package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

func variables(t *testing.T, set map[string]string) func(string) string {
	t.Helper()
	home := t.TempDir()
	return func(name string) string {
		if name == "HOME" {
			return home
		}
		return set[name]
	}
}

func environmentFile(t *testing.T, loginServer string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "env.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, "environment: prod\nregistry:\n  provider: docker\n  login_server: %s\n", loginServer), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVariables(t *testing.T) {
	c, err := Load(variables(t, map[string]string{
		"MODELOPS_BUNDLE_REGISTRY": "modelopsdevacrvsb.azurecr.io", "REGISTRY_USERNAME": "user", "REGISTRY_PASSWORD": "CANARY",
		"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Q0FOQVJZ;EndpointSuffix=core.windows.net",
		"MODELOPS_BUNDLES_CACHE_DIR":      "/cache", "MODELOPS_EXECUTOR_TYPE": "cold", "MODELOPS_RPC_TIMEOUT_SECONDS": "2",
	}), "")
	if err != nil {
		t.Fatal(err)
	}
	env := c.Environment
	if env.Registry.Provider != "acr" || env.Registry.Password.Reveal() != "CANARY" || env.Storage.Container != "bundle-blobs" {
		t.Errorf("%+v", env)
	}
	if c.CacheDir != "/cache" || c.VenvsDir != "/tmp/modelops/venvs" || !c.Cold || c.Timeout != 2*time.Second || c.MaxWarm != runtime.GOMAXPROCS(0) || c.WarmAge != time.Hour {
		t.Errorf("%+v", c)
	}
	lines := strings.Join(c.Lines(), "\n")
	for _, want := range []string{"bundle cache = /cache (MODELOPS_BUNDLES_CACHE_DIR)", "tasks of a process = 10000 (default)", "(MODELOPS_BUNDLE_REGISTRY)"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %q in\n%s", want, lines)
		}
	}
	if strings.Contains(lines, "CANARY") || strings.Contains(lines, "Q0FOQVJZ") {
		t.Errorf("a secret is shown:\n%s", lines)
	}
}

func TestFileBeatsVariables(t *testing.T) {
	file := environmentFile(t, "registry.example.com")
	c, err := Load(variables(t, map[string]string{"MODELOPS_BUNDLE_ENV_FILE": file, "MODELOPS_BUNDLE_REGISTRY": "registry.example.com"}), "")
	if err != nil || c.Environment.Environment != "prod" {
		t.Fatalf("%+v, %v", c, err)
	}
	_, err = Load(variables(t, map[string]string{"MODELOPS_BUNDLE_REGISTRY": "other.example.com"}), file)
	if contracts.AsError(err).Code != contracts.CodeEnvironmentMismatch {
		t.Errorf("a disagreement: %v", err)
	}
}

// A file without a user name takes that of the variables, for its own login server; one
// that has a user name keeps to it.
func TestCredentialVariables(t *testing.T) {
	file := environmentFile(t, "registry.example.com")
	set := map[string]string{"REGISTRY_USERNAME": "ada", "REGISTRY_PASSWORD": "CANARY"}
	c, err := Load(variables(t, set), file)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Environment.Registry; r.Username != "ada" || r.Password.Reveal() != "CANARY" || r.LoginServer != "registry.example.com" {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(c.CredentialSource, "REGISTRY_USERNAME") || c.Reload != nil {
		t.Errorf("source %q", c.CredentialSource)
	}
	delete(set, "REGISTRY_PASSWORD")
	if _, err := Load(variables(t, set), file); contracts.AsError(err).Code != contracts.CodeUsage {
		t.Errorf("half a credential: %v", err)
	}
	if err := os.WriteFile(file, []byte("environment: prod\nregistry: {provider: docker, login_server: registry.example.com, username: grace, password: CANARY}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = Load(variables(t, nil), file); err != nil || c.CredentialSource != "" || c.Reload == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	if now, err := c.Reload(); err != nil || now.Username != "grace" {
		t.Errorf("%+v, %v", now, err)
	}
	set["REGISTRY_PASSWORD"] = "CANARY"
	if _, err := Load(variables(t, set), file); contracts.AsError(err).Code != contracts.CodeEnvironmentMismatch {
		t.Errorf("a disagreement: %v", err)
	}
}

func TestInsecure(t *testing.T) {
	c, err := Load(variables(t, map[string]string{"MODELOPS_BUNDLE_REGISTRY": "registry:5000", "MODELOPS_BUNDLE_INSECURE": "true"}), "")
	if err != nil || !c.Environment.Registry.PlainHTTP() {
		t.Errorf("%v", err)
	}
	c, err = Load(variables(t, map[string]string{"MODELOPS_BUNDLE_REGISTRY": "x.azurecr.io", "MODELOPS_BUNDLE_INSECURE": "true"}), "")
	if err == nil && c.Environment.Registry.PlainHTTP() {
		t.Error("a cloud registry without TLS")
	}
}

func TestWrongValues(t *testing.T) {
	for name, set := range map[string]map[string]string{
		"MODELOPS_MAX_WARM_PROCESSES":  {"MODELOPS_MAX_WARM_PROCESSES": "many"},
		"MODELOPS_MAX_WARM_MEMORY":     {"MODELOPS_MAX_WARM_MEMORY": "much"},
		"MODELOPS_RPC_TIMEOUT_SECONDS": {"MODELOPS_RPC_TIMEOUT_SECONDS": "-1"},
		"MODELOPS_EXECUTOR_TYPE":       {"MODELOPS_EXECUTOR_TYPE": "direct"},
		"MODELOPS_EXECUTOR":            {"MODELOPS_EXECUTOR": "direct"},
		"MODELOPS_EXECUTOR is":         {"MODELOPS_EXECUTOR_TYPE": "cold", "MODELOPS_EXECUTOR": "isolated_warm"},
		"MODELOPS_BUNDLE_SOURCE":       {"MODELOPS_BUNDLE_SOURCE": "file"},
		"MODELOPS_UPLOAD_TO_AZURE":     {"MODELOPS_UPLOAD_TO_AZURE": "perhaps"},
		"upload_to_azure is enabled":   {"MODELOPS_UPLOAD_TO_AZURE": "true"},
		"MODELOPS_OUTPUT_MAX_BYTES":    {"MODELOPS_OUTPUT_MAX_BYTES": "0"},
		"MODELOPS_BUNDLE_INSECURE":     {"MODELOPS_BUNDLE_INSECURE": "maybe"},
		"MODELOPS_BUNDLE_REGISTRY":     {"MODELOPS_BUNDLE_REGISTRY": "https://x.example.com"},
	} {
		if _, ok := set["MODELOPS_BUNDLE_REGISTRY"]; !ok {
			set["MODELOPS_BUNDLE_REGISTRY"] = "localhost:5555"
		}
		_, err := Load(variables(t, set), "")
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the Python suite's workers were told works as it did, or is said not to.
func TestFormerVariables(t *testing.T) {
	set := map[string]string{
		"MODELOPS_BUNDLE_REGISTRY": "localhost:5555", "MODELOPS_BUNDLE_SOURCE": "oci", "MODELOPS_EXECUTOR": "cold", "MODELOPS_UPLOAD_TO_AZURE": "true",
		"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Q0FOQVJZ;EndpointSuffix=core.windows.net",
	}
	c, err := Load(variables(t, set), "")
	if err != nil || !c.Cold || len(c.Ignored) != 0 || !slices.Contains(c.Lines(), "processes = cold (MODELOPS_EXECUTOR)") {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, former := range withoutMeaning() {
		set[former[0]] = "1"
	}
	if c, err = Load(variables(t, set), ""); err != nil || len(c.Ignored) != len(withoutMeaning()) {
		t.Fatalf("%+v, %v", c, err)
	}
	for i, former := range withoutMeaning() {
		if w := c.Ignored[i]; !strings.Contains(w, former[0]) || !strings.Contains(w, former[1]) {
			t.Errorf("%s: %s", former[0], w)
		}
	}
}

func TestNothingConfigured(t *testing.T) {
	for what, getenv := range map[string]func(string) string{"no environment": variables(t, nil), "no home": func(string) string { return "" }} {
		_, err := Load(getenv, "")
		e := contracts.AsError(err)
		if err == nil || what == "no environment" && e.Code != contracts.CodeEnvironmentNotFound || !strings.Contains(e.Hint, "set MODELOPS_BUNDLE_REGISTRY") {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

func TestEnvironments(t *testing.T) {
	for value, want := range map[string]Sharing{"": Share, "pull": Pull, "off": Off, "maybe": ""} {
		c, err := Load(func(name string) string {
			return map[string]string{"MODELOPS_BUNDLE_REGISTRY": "localhost:5000", "MODELOPS_ENVIRONMENTS": value}[name]
		}, "")
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "MODELOPS_ENVIRONMENTS") {
				t.Errorf("%s: %v", value, err)
			}
			continue
		}
		if err != nil || c.Environments != want {
			t.Errorf("%s: %+v, %v", value, c, err)
		}
	}
}
