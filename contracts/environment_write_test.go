package contracts_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

func TestEnvironmentMarshal(t *testing.T) {
	env := &contracts.BundleEnvironment{
		Environment: "dev",
		Registry: contracts.Registry{
			Provider: "acr", LoginServer: "modelopsdevacrvsb.azurecr.io", RequiresAuth: true, Username: "u", Password: "p\"\\: #\u00e9\U0001F600\t\u0085",
		},
		Storage:   &contracts.Storage{Provider: "azure", Container: "bundle-blobs", ConnectionString: connection, Endpoint: "https://acct.blob.core.windows.net/"},
		Compute:   &contracts.Compute{Provider: "dask", Scheduler: "tls://h:8786", TLS: &contracts.ComputeTLS{CAFile: "/ca.pem"}, Kubernetes: &contracts.ComputeKubernetes{Namespace: "ns"}},
		Timestamp: "2026-01-15T12:30:00+02:00",
	}
	// A control character has no place in a password.
	if _, err := env.Marshal(); err == nil {
		t.Fatal("a password with U+0085 is written")
	}
	env.Registry.Password = "p\"\\: #\u00e9\U0001F600"
	got, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := `environment: "dev"
registry:
  provider: "acr"
  login_server: "modelopsdevacrvsb.azurecr.io"
  requires_auth: true
  username: "u"
  password: "p\"\\: #é😀"
storage:
  provider: "azure"
  container: "bundle-blobs"
  connection_string: "` + connection + `"
  endpoint: "https://acct.blob.core.windows.net/"
compute:
  provider: "dask"
  scheduler: "tls://h:8786"
  tls:
    ca_file: "/ca.pem"
  kubernetes:
    namespace: "ns"
timestamp: "2026-01-15T10:30:00Z"
version: "1.1"
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	back, warnings := parseEnvironment(t, string(got))
	if len(warnings) > 0 {
		t.Errorf("warnings = %v", warnings)
	}
	if again, err := back.Marshal(); err != nil || string(again) != string(got) {
		t.Errorf("written again, it differs: %v\n%s", err, again)
	}
}

// Keys that the contract does not have stay where they were, with what they held.
func TestEnvironmentMarshalKeepsUnknown(t *testing.T) {
	text := registryOnly + `account: {"yes": [1, 1.5, 1e+20, null, true, "é", [], {}, [[x], {a: b}], 18446744073709551615, "\t\u2028\U0001F600\U000E0001\x85"], "n": "5"}
compute: {provider: dask, scheduler: 'tcp://h:1', image: i, kubernetes: {namespace: ns, zone: z}}
version: "1.7"
`
	env, warnings := parseEnvironment(t, text)
	if len(warnings) != 4 {
		t.Errorf("warnings = %v", warnings)
	}
	env.Registry.RequiresAuth = true // a rewrite
	got, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := `environment: "dev"
registry:
  provider: "docker"
  login_server: "localhost:5555"
  requires_auth: true
compute:
  provider: "dask"
  scheduler: "tcp://h:1"
  kubernetes:
    namespace: "ns"
    zone: "z"
  image: "i"
version: "1.7"
account:
  "yes":
    - 1
    - 1.5
    - 1.0e+20
    - null
    - true
    - "é"
    - []
    - {}
    -
      -
        - "x"
      -
        a: "b"
    - 18446744073709551615
    - "\t\u2028😀\U000E0001\x85"
  "n": "5"
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, _ := parseEnvironment(t, string(got))
	if !again.Equal(env) {
		t.Error("written and read, it differs")
	}
}

func TestEnvironmentMarshalRefused(t *testing.T) {
	good := func() *contracts.BundleEnvironment {
		return &contracts.BundleEnvironment{Environment: "dev", Registry: contracts.Registry{Provider: "docker", LoginServer: "localhost:5555"}}
	}
	if _, err := good().Marshal(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*contracts.BundleEnvironment)
		says   string
	}{
		"nothing":      {func(e *contracts.BundleEnvironment) { *e = contracts.BundleEnvironment{} }, "registry.provider"},
		"name":         {func(e *contracts.BundleEnvironment) { e.Environment = "Dev" }, "environment"},
		"login server": {func(e *contracts.BundleEnvironment) { e.Registry.LoginServer = "" }, "registry.login_server is missing"},
		"blank":        {func(e *contracts.BundleEnvironment) { e.Registry.CAFile = " " }, "registry.ca_file"},
		"new line":     {func(e *contracts.BundleEnvironment) { e.Registry.Username, e.Registry.Password = "a\nb", "p" }, "control character"},
		"not UTF-8":    {func(e *contracts.BundleEnvironment) { e.Registry.Username, e.Registry.Password = "a\xff", "p" }, "UTF-8"},
		"size": {func(e *contracts.BundleEnvironment) {
			e.Registry.Username, e.Registry.Password = "u", contracts.Secret(strings.Repeat("p", 65<<10))
		}, "64 KiB"},
		"version": {func(e *contracts.BundleEnvironment) { e.Version = "3.0" }, "version"},
	} {
		env := good()
		c.change(env)
		if out, err := env.Marshal(); err == nil {
			t.Errorf("%s is written:\n%s", name, out)
		} else {
			wantCode(t, err, contracts.CodeInvalidEnvironment, c.says)
		}
	}
}

func TestEnvironmentRedacted(t *testing.T) {
	text := registryOnly + "storage: {provider: azure, container: blobs, connection_string: '" + connection + "', sas: SAS}\ntoken: TOKEN\n"
	text = strings.Replace(text, "{provider: docker", "{username: u, password: PASS, provider: docker", 1)
	env, _ := parseEnvironment(t, text)
	assertNoSecrets(t, env)
	listing, err := env.Redacted().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"PASS", "TOKEN", "SAS", "QUFB"} {
		if strings.Contains(string(listing), secret) {
			t.Errorf("the listing shows %s:\n%s", secret, listing)
		}
	}
	if env.Registry.Password != "PASS" || env.Storage.ConnectionString != connection {
		t.Error("Redacted changed the original")
	}
	// A listing is no environment file.
	if _, _, err := contracts.ParseEnvironment("x.yaml", listing); err == nil {
		t.Error("a listing is read as an environment file")
	} else {
		wantCode(t, err, contracts.CodeInvalidEnvironment, "stands for a secret")
	}
}
