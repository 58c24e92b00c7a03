package environment_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

const valid = "registry:\n  provider: docker\n  login_server: localhost:5555\n"

// home is a home with the named environments.
func home(t *testing.T, names ...string) (string, environment.Store) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), ".modelops")
	store := environment.Open(dir)
	if err := os.MkdirAll(store.Dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		write(t, store.Path(name), "environment: "+name+"\n"+valid)
	}
	return dir, store
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func variables(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(key string) string { return m[key] }
}

// wantError checks code and a part of the message and hint.
func wantError(t *testing.T, err error, code contracts.Code, message, hint string) {
	t.Helper()
	e := contracts.AsError(err)
	if e == nil || e.Code != code || !strings.Contains(e.Message, message) || !strings.Contains(e.Hint, hint) {
		t.Errorf("error %+v, want %s %q %q", e, code, message, hint)
	}
}

func TestHome(t *testing.T) {
	for _, test := range []struct {
		getenv func(string) string
		want   string
		fault  string
	}{
		{variables("HOME", "/home/ada"), "/home/ada/.modelops", ""},
		{variables("HOME", "/home/ada", "MODELOPS_HOME", "/srv/m/"), "/srv/m", ""},
		{variables("MODELOPS_HOME", "m"), "", "not an absolute path"},
		{variables("MODELOPS_HOME", "~/m"), "", "not an absolute path"},
		{variables(), "", "there is no home directory"},
	} {
		got, err := environment.Home(test.getenv)
		if got != test.want || (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%q %v, want %q %q", got, err, test.want, test.fault)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, test := range []struct {
		name      string
		files     []string
		config    string
		request   environment.Request
		want, why string
		warnings  int
		code      contracts.Code
		message   string
	}{
		{name: "flag", files: []string{"a", "b"}, request: environment.Request{Flag: " A ", Getenv: variables("MODELOPS_ENV", "b")}, want: "a", why: "--env"},
		{name: "variable", files: []string{"a", "b"}, request: environment.Request{Getenv: variables("MODELOPS_ENV", "b"), ProjectPin: "a"}, want: "b", why: "MODELOPS_ENV"},
		{name: "pin", files: []string{"a", "b"}, request: environment.Request{ProjectPin: "b\n", ForProject: true}, want: "b", why: ".modelops-bundle/env"},
		{name: "config", files: []string{"a", "b"}, config: "schema_version: 3\nsettings: {environment: B, username: x}\nregistry: {skoo: 1}\nlater: 1\n", want: "b", why: "default in modelops.yaml"},
		{name: "only", files: []string{"a"}, want: "a", why: "the only environment"},
		{name: "dev", files: []string{"a", "dev"}, want: "dev", why: "default dev"},
		{name: "flag beside pin", files: []string{"a", "b"}, request: environment.Request{Flag: "a", ProjectPin: "b", ForProject: true}, want: "a", why: "--env", warnings: 1},
		{name: "variable against pin", files: []string{"a", "b"}, request: environment.Request{Getenv: variables("MODELOPS_ENV", "a"), ProjectPin: "b", ForProject: true},
			code: contracts.CodeEnvironmentMismatch, message: "MODELOPS_ENV says a, and this project uses b"},
		{name: "variable same as pin", files: []string{"a", "b"}, request: environment.Request{Getenv: variables("MODELOPS_ENV", "b"), ProjectPin: "b", ForProject: true}, want: "b", why: "MODELOPS_ENV"},
		{name: "python config", files: []string{"a", "b"}, config: "schema_version: 2\nsettings: {environment: a, username: x}\n", code: contracts.CodeEnvironmentNotFound, message: "environment dev not found at"},
		{name: "none", code: contracts.CodeEnvironmentNotFound, message: "no environments found in"},
		{name: "missing", files: []string{"a", "b"}, request: environment.Request{Flag: "c"}, code: contracts.CodeEnvironmentNotFound, message: "available: a, b (chosen by: --env)"},
		{name: "path", files: []string{"dev"}, request: environment.Request{Flag: "../bundle-env/dev"}, code: contracts.CodeInvalidName, message: "(chosen by: --env)"},
		{name: "blank variable", files: []string{"dev"}, request: environment.Request{Getenv: variables("MODELOPS_ENV", " ")}, code: contracts.CodeInvalidName, message: "is empty (chosen by: MODELOPS_ENV)"},
		{name: "config without schema", files: []string{"a", "b"}, config: "settings: {}\n", code: contracts.CodeInvalidConfig, message: "schema_version is missing"},
		{name: "config with a wrong setting", files: []string{"a", "b"}, config: "schema_version: 3\nsettings: {enviroment: a}\n", code: contracts.CodeInvalidConfig, message: "settings.enviroment is not a key"},
		{name: "config with a wrong name", files: []string{"a", "b"}, config: "schema_version: 3\nsettings: {environment: ../a}\n", code: contracts.CodeInvalidConfig, message: "settings.environment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, store := home(t, test.files...)
			if test.config != "" {
				write(t, environment.ConfigPath(dir), test.config)
			}
			if test.request.Getenv == nil {
				test.request.Getenv = variables()
			}
			chosen, err := store.Resolve(test.request)
			if test.code != "" {
				wantError(t, err, test.code, test.message, "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if chosen.Name != test.want || chosen.Why != test.why || len(chosen.Warnings) != test.warnings || chosen.Env.Environment != test.want {
				t.Errorf("%+v, want %s %s", chosen, test.want, test.why)
			}
		})
	}
}

func TestApplyVariables(t *testing.T) {
	_, store := home(t, "dev")
	write(t, store.Path("acr"), "environment: acr\nregistry: {provider: acr, login_server: modelopsdev.azurecr.io}\n")
	for _, test := range []struct {
		name, value        string
		insecure, warnings bool
		fault              string
	}{
		{"dev", "", false, false, ""},
		{"dev", "false", false, false, ""},
		{"dev", "1", true, false, ""},
		{"acr", "true", false, true, ""},
		{"dev", "on", false, false, "neither true nor false"},
	} {
		chosen, err := store.Resolve(environment.Request{Flag: test.name, Getenv: variables("MODELOPS_BUNDLE_INSECURE", test.value)})
		if test.fault != "" {
			wantError(t, err, contracts.CodeUsage, test.fault, "")
			continue
		}
		if err != nil || chosen.Env.Registry.Insecure != test.insecure || (len(chosen.Warnings) > 0) != test.warnings {
			t.Errorf("%+v: %+v %v", test, chosen, err)
		}
	}
}

func TestSaveAndBury(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "home")
	store := environment.Open(dir)
	env := &contracts.BundleEnvironment{Environment: "dev", Registry: contracts.Registry{Provider: "docker", LoginServer: "localhost:5555"}}
	path, err := store.Save(env)
	if err != nil {
		t.Fatal(err)
	}
	data, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if path != store.Path("dev") {
		t.Errorf("saved at %s", path)
	}
	on, err := os.ReadFile(path)
	if diff := cmp.Diff(string(data), string(on)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for path, want := range map[string]os.FileMode{path: 0o600, store.Dir(): 0o700, dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %o", path, info.Mode(), err, want)
		}
	}

	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	if err := store.Bury("dev", at); err != nil {
		t.Fatal(err)
	}
	_, err = store.Load("dev")
	wantError(t, err, contracts.CodeEnvironmentNotFound, "environment dev was destroyed at 2026-03-04T05:06:07Z", "mops infra up")
	if list, err := store.List(); err != nil || len(list) != 0 {
		t.Errorf("listed after burial: %v %v", list, err)
	}
	if _, err := store.Save(env); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load("dev"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = store.Load("dev")
	wantError(t, err, contracts.CodeEnvironmentNotFound, "no environments found", "")
}

func TestSaveKeepsTheOldFile(t *testing.T) {
	_, store := home(t, "dev")
	before, err := os.ReadFile(store.Path("dev"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Save(&contracts.BundleEnvironment{Environment: "dev", Registry: contracts.Registry{Provider: "quay", LoginServer: "x"}})
	wantError(t, err, contracts.CodeInvalidEnvironment, "registry.provider", "")
	_, err = store.Save(&contracts.BundleEnvironment{Environment: "../dev", Registry: contracts.Registry{Provider: "docker", LoginServer: "localhost:1"}})
	wantError(t, err, contracts.CodeInvalidEnvironment, "environment", "")
	after, err := os.ReadFile(store.Path("dev"))
	if err != nil || string(after) != string(before) {
		t.Errorf("changed: %v", err)
	}
}

func TestList(t *testing.T) {
	_, store := home(t, "prod", "dev")
	write(t, filepath.Join(store.Dir(), "stage.yml"), valid)
	write(t, filepath.Join(store.Dir(), "Upper.yaml"), valid)
	write(t, filepath.Join(store.Dir(), "broken.yaml"), "registry: 1\n")
	write(t, filepath.Join(store.Dir(), "other.yaml"), "environment: dev\n"+valid)
	write(t, filepath.Join(store.Dir(), ".dev.yaml.1.tmp"), "")
	write(t, filepath.Join(store.Dir(), "notes.txt"), "")
	list, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range list {
		line := entry.Name
		if entry.Err != nil {
			line += " " + string(contracts.AsError(entry.Err).Code)
		}
		got = append(got, line)
	}
	want := []string{"Upper invalid_name", "broken invalid_environment", "dev", "other invalid_environment", "prod", "stage invalid_environment"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if list, err := environment.Open(filepath.Join(t.TempDir(), "none")).List(); err != nil || list != nil {
		t.Errorf("%v %v", list, err)
	}
}

func TestMessages(t *testing.T) {
	_, store := home(t, "dev")
	write(t, filepath.Join(store.Dir(), "stage.yml"), valid)
	write(t, store.Path("other"), "environment: dev\n"+valid)
	_, err := store.Load("stage")
	wantError(t, err, contracts.CodeEnvironmentNotFound, "environment stage not found", "rename it to stage.yaml")
	_, err = store.Load("other")
	wantError(t, err, contracts.CodeInvalidEnvironment, "environment is dev, and the file is other.yaml", "write environment: other")
	_, err = store.Load("prod")
	wantError(t, err, contracts.CodeEnvironmentNotFound, "available: dev, other", "--env dev")
	_, err = store.Load("DEV ")
	if err != nil {
		t.Error(err)
	}
	_, err = environment.LoadFile(filepath.Join(store.Dir(), "none.yaml"))
	wantError(t, err, contracts.CodeEnvironmentNotFound, "there is no environment file", "")
	if errors.Is(err, os.ErrNotExist) {
		t.Error("the system's error is not for the user")
	}
}
