package contracts_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

const minimal = `environment: dev
registry:
  provider: acr
  login_server: modelopsdevacrvsb.azurecr.io
storage:
  provider: azure
  container: bundle-blobs
`

// set is minimal with one key of a section set to a YAML value; "" removes it.
func set(section, key, value string) string {
	lines := strings.Split(strings.TrimSuffix(minimal, "\n"), "\n")
	indent, at := "  ", -1
	if section == "" {
		indent = ""
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, indent+key+":") })
	if section != "" {
		at = slices.Index(lines, section+":")
	}
	if value != "" {
		lines = slices.Insert(lines, at+1, indent+key+": "+value)
	}
	return strings.Join(lines, "\n") + "\n"
}

func parseEnvironment(t *testing.T, text string) (*contracts.BundleEnvironment, []contracts.Problem) {
	t.Helper()
	env, warnings, err := contracts.ParseEnvironment("dev.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return env, warnings
}

func TestParseEnvironmentCorpus(t *testing.T) {
	for _, c := range readCorpus(t, "testdata/env_files.json") {
		t.Run(c.ID, func(t *testing.T) {
			env, warnings, err := contracts.ParseEnvironment(c.File, []byte(c.Content))
			if c.Verdict == "accept" {
				if err != nil {
					t.Fatalf("%s: %v", c.Why, err)
				}
				if strings.Contains(c.Why, "warning") && len(warnings) == 0 {
					t.Errorf("%s: no warning", c.Why)
				}
				assertNoSecrets(t, env)
				return
			}
			if err == nil {
				t.Fatalf("accepted: %s", c.Why)
			}
			wantCode(t, err, contracts.CodeInvalidEnvironment, c.File)
			for _, p := range contracts.AsError(err).Problems {
				if !isPrintableASCII(p.String() + p.Hint) {
					t.Errorf("problem is not printable ASCII: %q", p)
				}
				for _, secret := range []string{"SECRET", "pw@", "QUFB"} {
					if strings.Contains(p.String()+p.Hint, secret) {
						t.Errorf("problem repeats %s: %s", secret, p)
					}
				}
			}
		})
	}
}

// assertNoSecrets prints env in every way but Marshal.
func assertNoSecrets(t *testing.T, env *contracts.BundleEnvironment) {
	t.Helper()
	document, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	listing, err := env.Redacted().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%s %s %v %+v %#v %s", document, listing, env.Registry, env.Registry, env.Registry, env.Storage)
	secrets := []contracts.Secret{env.Registry.Password}
	if env.Storage != nil {
		secrets = append(secrets, env.Storage.SecretKey, env.Storage.ConnectionString)
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(printed, secret.Reveal()) {
			t.Errorf("a secret is printed: %s", printed)
		}
	}
}

// The acceptance tables of the Python suite (facts, bundle 9.1 and modelops 8.3), with
// the product's answer where it differs.
func TestParseEnvironmentTable(t *testing.T) {
	env, warnings := parseEnvironment(t, minimal) // E1, E13
	want := &contracts.BundleEnvironment{
		Environment: "dev", Version: "1.0",
		Registry: contracts.Registry{Provider: "acr", LoginServer: "modelopsdevacrvsb.azurecr.io"},
		Storage:  &contracts.Storage{Provider: "azure", Container: "bundle-blobs"},
	}
	if !want.Equal(env) {
		t.Errorf("got %+v", env)
	}
	if len(warnings) != 1 || warnings[0].Field != "storage.connection_string" {
		t.Errorf("warnings = %v", warnings)
	}
	t.Run("E2 normalised", func(t *testing.T) {
		env, warnings := parseEnvironment(t, set("", "environment", `"  PROD-East "`))
		if env.Environment != "prod-east" || warnings[0].Field != "environment" {
			t.Errorf("environment = %q, warnings %v", env.Environment, warnings)
		}
	})
	t.Run("E6 without storage", func(t *testing.T) {
		for _, text := range []string{minimal[:strings.Index(minimal, "storage")], minimal[:strings.Index(minimal, "storage")] + "storage: null\n"} {
			if env, _ := parseEnvironment(t, text); env.Storage != nil {
				t.Errorf("storage = %+v", env.Storage)
			}
		}
	})
	for provider, host := range map[string]string{ // E7
		"docker": "registry.example.com:5000", "acr": "modelopsdevacr.azurecr.io/team", "ecr": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
		"gcr": "europe-docker.pkg.dev/project/repo", "ghcr": "ghcr.io/org",
	} {
		parseEnvironment(t, strings.Replace(set("registry", "login_server", host), "provider: acr", "provider: "+provider, 1))
	}
	for _, provider := range []string{"azure", "azurite", "s3", "gcs", "minio"} { // E9
		parseEnvironment(t, strings.Replace(minimal, "provider: azure", "provider: "+provider, 1))
	}
	for in, want := range map[string]bool{"yes": true, "true": true, "on": true, "no": false, "null": false} { // E13
		if env, _ := parseEnvironment(t, set("registry", "requires_auth", in)); env.Registry.RequiresAuth != want {
			t.Errorf("requires_auth: %s is %v", in, env.Registry.RequiresAuth)
		}
	}
	for _, stamp := range []string{"2024-01-15T10:30:00", `"2024-01-15T10:30:00Z"`, "'2026-11-23T18:36:12.339740'", "2024-01-15"} { // E15
		env, warnings := parseEnvironment(t, set("", "timestamp", stamp))
		if env.Timestamp != strings.Trim(stamp, `'"`) || len(warnings) != 1 {
			t.Errorf("timestamp = %q, %v", env.Timestamp, warnings)
		}
	}
}

func TestParseEnvironmentRefused(t *testing.T) {
	for _, c := range []struct{ name, text, field, says string }{
		{"E3", set("", "environment", `"  "`), "environment", "is blank"},
		{"E4 missing", set("", "environment", ""), "environment", "is missing"},
		{"E4 null", set("", "environment", "null"), "environment", "is missing"},
		{"E4 integer", set("", "environment", "5"), "environment", "is an integer, not a string"},
		{"E4 boolean", set("", "environment", "off"), "environment", "is a boolean, not a string"},
		{"E5", set("", "environment", "../../etc/x"), "environment", "starts with a lower-case letter"},
		{"name too long", set("", "environment", strings.Repeat("a", 41)), "environment", "41 characters"},
		{"name starts with digit", set("", "environment", "1dev"), "environment", "starts with"},
		{"E6 no registry", "environment: dev\n", "registry", "is missing"},
		{"E6 null registry", "environment: dev\nregistry: null\n", "registry", "is missing"},
		{"registry is a string", "environment: dev\nregistry: x.azurecr.io\n", "registry", "is a string, not a mapping"},
		{"E8", strings.Replace(minimal, "provider: acr", "provider: azure", 1), "registry.provider", "acr, docker, ecr, gcr, ghcr"},
		{"E8 case", strings.Replace(minimal, "provider: acr", "provider: ACR", 1), "registry.provider", `is "ACR"`},
		{"E8 blank", strings.Replace(minimal, "provider: acr", `provider: ""`, 1), "registry.provider", "is blank"},
		{"E10", strings.Replace(minimal, "provider: azure", "provider: local", 1), "storage.provider", "azure, azurite, fs, gcs, minio, s3"},
		{"E11 blank", set("registry", "login_server", `""`), "registry.login_server", "is blank"},
		{"E11 scheme", set("registry", "login_server", "https://x.azurecr.io/"), "registry.login_server", "leave out everything up to ://"},
		{"integer", set("registry", "login_server", "5555"), "registry.login_server", "put it in quotes"},
		{"trailing slash", strings.Replace(set("registry", "login_server", "ghcr.io/"), "acr", "ghcr", 1), "registry.login_server", "invalid path"},
		{"E12", set("storage", "container", `""`), "storage.container", "is blank"},
		{"E13 quoted", set("registry", "requires_auth", `"yes"`), "registry.requires_auth", "without quotes"},
		{"E13 maybe", set("registry", "requires_auth", "maybe"), "registry.requires_auth", "not a boolean"},
		{"E15", set("", "timestamp", "5"), "timestamp", "is an integer"},
		{"E18 empty", "", "", "is empty"},
		{"E18 comment", "# nothing\n", "", "is empty"},
		{"E18 null", "null\n", "", "is empty"},
		{"E18 list", "- a\n", "", "is a list, not a mapping"},
		{"version 2", set("", "version", `"2.0"`), "version", "this program reads 1.x"},
		{"version float", set("", "version", "1.1"), "version", "put it in quotes"},
		{"version word", set("", "version", "one"), "version", "major.minor"},
		{"username alone", set("registry", "username", "u"), "registry.password", "go together"},
		{"password alone", set("registry", "password", "p"), "registry.username", "go together"},
		{"colon", strings.Replace(set("registry", "username", `"a:b"`), "registry:", "registry:\n  password: p", 1), "registry.username", "colon"},
		{"placeholder", strings.Replace(set("registry", "username", "u"), "registry:", "registry:\n  password: \"[redacted]\"", 1), "registry.password", "stands for a secret"},
		{"insecure acr", set("registry", "insecure", "true"), "registry.insecure", "never sent in the clear"},
		{"ca_file", set("registry", "ca_file", "ca.pem"), "registry.ca_file", "not an absolute path"},
		{"ca_file without TLS", strings.Replace(set("registry", "login_server", `"localhost:5555"`), "provider: acr", "provider: docker\n  ca_file: /ca.pem", 1), "registry.ca_file", "without TLS"},
		{"metadata service", strings.Replace(set("registry", "login_server", `"169.254.169.254:80"`), "acr", "docker", 1), "registry.login_server", "cloud's own services"},
		{"wire server", strings.Replace(set("registry", "login_server", "168.63.129.16"), "acr", "docker", 1), "registry.login_server", "cloud's own services"},
		{"link local", strings.Replace(set("registry", "login_server", `"[fe80::1]:5000"`), "acr", "docker", 1), "registry.login_server", "cloud's own services"},
		{"key is no string", minimal + "5: x\n", "5", "not a string"},
		{"nested key twice", minimal + "x:\n  - a: 1\n    a: 2\n", "x.0.a", "is there twice"},
		{"control character", set("registry", "username", `"a\x1b[2J"`), "registry.username", "control character"},
		{"infinite", minimal + "x: .inf\n", "x", "not a finite number"},
		{"not UTF-8", minimal + "x: \xff\n", "", "not valid UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := contracts.ParseEnvironment("dev.yaml", []byte(c.text))
			if err == nil {
				t.Fatalf("accepted:\n%s", c.text)
			}
			wantCode(t, err, contracts.CodeInvalidEnvironment, c.says, `"dev.yaml"`)
			problems := contracts.AsError(err).Problems
			if !slices.ContainsFunc(problems, func(p contracts.Problem) bool { return p.Field == c.field }) {
				t.Errorf("no problem of %q: %v", c.field, problems)
			}
		})
	}
}

func TestParseEnvironmentAllProblems(t *testing.T) {
	_, _, err := contracts.ParseEnvironment("x.yaml", []byte(`environment: 5
registry: {provider: quay, requires_auth: maybe, password: p}
storage: {provider: s3, container: A, connection_string: x, access_key: k}
compute: {provider: slurm, tls: {cert_file: c}}
version: "9.0"
`))
	if err == nil {
		t.Fatal("accepted")
	}
	var fields []string
	for _, p := range contracts.AsError(err).Problems {
		fields = append(fields, p.Field)
		if p.Message == "" || p.Hint == "" {
			t.Errorf("problem without message or hint: %+v", p)
		}
	}
	slices.Sort(fields)
	want := []string{"compute.provider", "compute.scheduler", "compute.tls.ca_file", "compute.tls.cert_file", "compute.tls.key_file", "environment",
		"registry.login_server", "registry.provider", "registry.requires_auth", "registry.username",
		"storage.connection_string", "storage.container", "storage.secret_key", "version"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	wantCode(t, err, contracts.CodeInvalidEnvironment, "(and 13 more problems)")
}

func TestPlainHTTP(t *testing.T) {
	for server, want := range map[string]bool{
		"localhost": true, "localhost:5555": true, "localhost:5555/x": true, "127.0.0.1:80": true, "127.0.0.1": true, "[::1]": true, "[::1]:5000": true,
		"127.0.0.2:80": false, "localhost.example.com": false, "::1": false, "[::2]:1": false, "example.com": false, "localhosts": false, "0.0.0.0:5000": false, "": false,
	} {
		if got := (contracts.Registry{LoginServer: server}).PlainHTTP(); got != want {
			t.Errorf("PlainHTTP(%s) = %v", server, got)
		}
	}
	if !(contracts.Registry{LoginServer: "x.example.com", Insecure: true}).PlainHTTP() {
		t.Error("insecure is not plain HTTP")
	}
}

func TestEnvironmentName(t *testing.T) {
	for _, name := range []string{"dev", "a", "team-2", strings.Repeat("a", 40)} {
		if err := contracts.ValidateEnvironmentName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "Dev", "1a", "-a", "a_b", "a.b", "a/b", "..", "dev\n", "d\u00e9v", strings.Repeat("a", 41), "../bundle-env/dev"} {
		if err := contracts.ValidateEnvironmentName(name); err == nil {
			t.Errorf("%q is accepted", name)
		} else {
			wantCode(t, err, contracts.CodeInvalidName)
		}
	}
	if got := contracts.NormalizeEnvironmentName(" Dev\t"); got != "dev" {
		t.Errorf("NormalizeEnvironmentName = %q", got)
	}
}
