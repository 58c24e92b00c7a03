package contracts_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

const registryOnly = "environment: dev\nregistry: {provider: docker, login_server: localhost:5555}\n"

const connection = "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=QUFBQQ==;EndpointSuffix=core.windows.net"

// A rule is a line of YAML that is added to registryOnly, and the field and words of
// the problem, or the warning, that it makes. Without words it is accepted silently.
type rule struct{ name, yaml, field, says string }

func checkRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, c := range rules {
		t.Run(c.name, func(t *testing.T) {
			_, warnings, err := contracts.ParseEnvironment("dev.yaml", []byte(registryOnly+c.yaml+"\n"))
			warning, isWarning := strings.CutPrefix(c.says, "warning: ")
			switch {
			case c.says == "" || isWarning:
				if err != nil {
					t.Fatalf("%v\n%s", err, c.yaml)
				}
				if len(warnings) > 0 != isWarning || isWarning && (warnings[0].Field != c.field || !strings.Contains(warnings[0].Message, warning)) {
					t.Errorf("warnings = %v", warnings)
				}
			case err == nil:
				t.Fatalf("accepted: %s", c.yaml)
			default:
				wantCode(t, err, contracts.CodeInvalidEnvironment, c.says)
				if problems := contracts.AsError(err).Problems; !slices.ContainsFunc(problems, func(p contracts.Problem) bool { return p.Field == c.field && p.Hint != "" }) {
					t.Errorf("no problem of %s: %v", c.field, problems)
				}
			}
		})
	}
}

// azure is a storage block with the connection string.
func azure(connection string) string {
	return `storage: {provider: azure, container: blobs, connection_string: "` + connection + `"}`
}

func TestStorageAccepted(t *testing.T) {
	checkRules(t, []rule{
		{"azure key", azure(connection), "", ""},
		{"azure key, trailing ;", azure(connection + ";"), "", ""},
		{"azure identity", "storage: {provider: azure, container: blobs, endpoint: 'https://acct.blob.core.windows.net'}", "", ""},
		{"azure both", "storage: {provider: azure, container: blobs, endpoint: 'https://acct.blob.core.windows.net/', connection_string: '" + connection + "'}", "", ""},
		{"azure nothing", "storage: {provider: azure, container: blobs}", "storage.connection_string", "warning: is missing"},
		{"azure SAS", azure("BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature=sv=2024&sig=x%3D"), "", ""},
		{"azure emulator", azure("DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=QUFBQQ==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"), "", ""},
		{"development storage", azure("UseDevelopmentStorage=true"), "", ""},
		{"azurite", "storage: {provider: azurite, container: blobs, connection_string: 'DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=QUFBQQ==;BlobEndpoint=http://azurite:10000/devstoreaccount1'}", "", ""},
		{"azurite endpoint", "storage: {provider: azurite, container: blobs, endpoint: 'http://azurite:10000/x'}", "storage.endpoint", "warning: not encrypted"},
		{"s3", "storage: {provider: s3, container: my.bucket, region: eu-central-1, access_key: k, secret_key: s, prefix: team/seir}", "", ""},
		{"s3 localstack", "storage: {provider: s3, container: bucket, endpoint: 'http://localhost:4566'}", "", ""},
		{"minio", "storage: {provider: minio, container: bucket, endpoint: 'https://minio.example.com:9000', access_key: k, secret_key: s}", "", ""},
		{"minio plain", "storage: {provider: minio, container: bucket, endpoint: 'http://minio:9000'}", "storage.endpoint", "warning: not encrypted"},
		{"minio nowhere", "storage: {provider: minio, container: bucket}", "storage.endpoint", "warning: is missing"},
		{"gcs", "storage: {provider: gcs, container: bucket_1, access_key: k, secret_key: s}", "", ""},
		{"fs", "storage: {provider: fs, container: /var/lib/modelops}", "", ""},
		{"fs of a user", "storage: {provider: fs, container: /home/ada/.modelops/local/storage}", "", ""},
		{"fs temporary", "storage: {provider: fs, container: /tmp/x/storage}", "", ""},
		{"fs on a Mac", "storage: {provider: fs, container: /private/var/folders/zz/x/storage}", "", ""},
		{"fs on Windows", `storage: {provider: fs, container: 'C:\Users\ada\.modelops\local\storage'}`, "", ""},
	})
}

func TestStorageRefused(t *testing.T) {
	checkRules(t, []rule{
		{"azure takes no key", "storage: {provider: azure, container: blobs, access_key: k, secret_key: s}", "storage.access_key", "is not used with provider azure"},
		{"azure takes no region", "storage: {provider: azure, container: blobs, region: x}", "storage.region", "connection_string, endpoint, prefix"},
		{"s3 takes no connection string", "storage: {provider: s3, container: bucket, connection_string: x}", "storage.connection_string", "is not used with provider s3"},
		{"gcs takes no endpoint", "storage: {provider: gcs, container: bucket, endpoint: 'https://x'}", "storage.endpoint", "is not used with provider gcs"},
		{"fs takes no endpoint", "storage: {provider: fs, container: /x/y, endpoint: 'https://x'}", "storage.endpoint", "is not used with provider fs"},
		{"half a key", "storage: {provider: s3, container: bucket, access_key: k}", "storage.secret_key", "go together"},
		{"azure container short", "storage: {provider: azure, container: ab}", "storage.container", "3 to 63"},
		{"azure container dashes", "storage: {provider: azure, container: a--b}", "storage.container", "single '-'"},
		{"azure container edge", "storage: {provider: azure, container: -ab}", "storage.container", "3 to 63"},
		{"bucket dots", "storage: {provider: s3, container: a..b}", "storage.container", "bucket's name"},
		{"bucket case", "storage: {provider: s3, container: Bucket}", "storage.container", "bucket's name"},
		{"region", "storage: {provider: s3, container: bucket, region: 'eu central'}", "storage.region", "eu-central-1"},
		{"prefix slash", "storage: {provider: s3, container: bucket, prefix: /x}", "storage.prefix", "team/seir"},
		{"prefix up", "storage: {provider: s3, container: bucket, prefix: a/../b}", "storage.prefix", "team/seir"},
		{"prefix only up", "storage: {provider: s3, container: bucket, prefix: ..}", "storage.prefix", "team/seir"},
		{"endpoint scheme", "storage: {provider: s3, container: bucket, endpoint: 'ftp://x'}", "storage.endpoint", "does not begin with https:// or http://"},
		{"endpoint user", "storage: {provider: s3, container: bucket, endpoint: 'https://u:p@x'}", "storage.endpoint", "a user or a password"},
		{"endpoint fragment", "storage: {provider: s3, container: bucket, endpoint: 'https://x/#y'}", "storage.endpoint", "fragment"},
		{"endpoint host", "storage: {provider: s3, container: bucket, endpoint: 'https://x_y'}", "storage.endpoint", "invalid host"},
		{"endpoint plain", "storage: {provider: s3, container: bucket, endpoint: 'http://x'}", "storage.endpoint", "not encrypted"},
		{"endpoint text", "storage: {provider: s3, container: bucket, endpoint: '%'}", "storage.endpoint", "not a URL"},

		{"connection words", azure("abc"), "storage.connection_string", "not KEY=VALUE"},
		{"connection unknown", azure("AccountName=a;AccountKey=QQ==;Evil=x"), "storage.connection_string", "not known"},
		{"connection without account", azure("AccountKey=QQ=="), "storage.connection_string", "no AccountName"},
		{"connection without key", azure("AccountName=a"), "storage.connection_string", "no AccountKey"},
		{"connection bad key", azure("AccountName=a;AccountKey=%%%"), "storage.connection_string", "not base64"},
		{"connection bad account", azure("AccountName=a/b;AccountKey=QQ=="), "storage.connection_string", "AccountName"},
		{"connection http", azure("DefaultEndpointsProtocol=http;AccountName=a;AccountKey=QQ=="), "storage.connection_string", "not encrypted"},
		{"connection ftp", azure("DefaultEndpointsProtocol=ftp;AccountName=a;AccountKey=QQ=="), "storage.connection_string", "unknown DefaultEndpointsProtocol"},
		{"connection endpoint", azure("BlobEndpoint=http://evil.example.com;AccountName=a;AccountKey=QQ=="), "storage.connection_string", "not encrypted"},
		{"connection endpoint query", azure("BlobEndpoint=https://x/?sig=s;AccountName=a;AccountKey=QQ=="), "storage.connection_string", "has a query"},
		{"connection suffix", azure("AccountName=a;AccountKey=QQ==;EndpointSuffix=evil/x"), "storage.connection_string", "no host"},
		{"development storage and more", azure("UseDevelopmentStorage=true;AccountName=a"), "storage.connection_string", "with something else"},
		{"connection twice by case", azure("AccountName=a;accountname=b;AccountKey=QQ=="), "storage.connection_string", "twice"},
		{"placeholder", azure("[redacted]"), "storage.connection_string", "stands for a secret"},
	})
}

func TestStorageDirectories(t *testing.T) {
	for _, directory := range []string{"/", "/etc", "/etc/x", "/usr/local/x", "/bin", "/proc/self", "/dev/shm", "/home", "/root", "/tmp", "/var", "/var/lib", "/System/x",
		"/private/etc/x", "/private/var", "x/y", "./x", "~/x", "/x/../etc", "/x/", "//x/y", "/x/.", "C:", `C:\`, `C:\Windows\x`, `c:/program files/x`, `C:\x\..\Windows`, `\\host\share`} {
		text := registryOnly + "storage: {provider: fs, container: '" + directory + "'}\n"
		if _, _, err := contracts.ParseEnvironment("dev.yaml", []byte(text)); err == nil {
			t.Errorf("fs container %s is accepted", directory)
		} else {
			wantCode(t, err, contracts.CodeInvalidEnvironment, "storage.container", "absolute path of a directory")
		}
	}
}

func TestComputeRules(t *testing.T) {
	checkRules(t, []rule{
		{"tls", "compute: {provider: dask, scheduler: 'tls://dask.example.com:8786', dashboard: 'https://dask.example.com/', tls: {ca_file: /c/ca.pem, cert_file: /c/c.pem, key_file: /c/k.pem}}", "", ""},
		{"tcp", "compute: {provider: dask, scheduler: 'tcp://10.0.0.1:8786', dashboard: 'http://10.0.0.1:8787'}", "", ""},
		{"kubernetes", "compute: {provider: dask, kubernetes: {context: dev, namespace: modelops-dask-dev}}", "", ""},
		{"null", "compute: null", "", ""},
		{"tls without files", "compute: {provider: dask, scheduler: 'tls://h:8786'}", "compute.tls", "warning: is missing"},
		{"tls and tcp", "compute: {provider: dask, scheduler: 'tcp://h:8786', tls: {ca_file: /c}}", "compute.tls", "no effect"},
		{"nowhere", "compute: {provider: dask}", "compute.scheduler", "kubernetes with a namespace"},
		{"no provider", "compute: {scheduler: 'tcp://h:1'}", "compute.provider", "it is dask"},
		{"other provider", "compute: {provider: ray, scheduler: 'tcp://h:1'}", "compute.provider", `is "ray"`},
		{"scheme", "compute: {provider: dask, scheduler: 'http://h:1'}", "compute.scheduler", "tls:// or tcp://"},
		{"no scheme", "compute: {provider: dask, scheduler: 'h:8786'}", "compute.scheduler", "tls://host:8786"},
		{"no port", "compute: {provider: dask, scheduler: 'tcp://h'}", "compute.scheduler", "no port"},
		{"path", "compute: {provider: dask, scheduler: 'tcp://h:1/x'}", "compute.scheduler", "has a path"},
		{"dashboard", "compute: {provider: dask, scheduler: 'tcp://h:1', dashboard: 'https://h/?token=x'}", "compute.dashboard", "has a query"},
		{"tls relative", "compute: {provider: dask, scheduler: 'tls://h:1', tls: {ca_file: ca.pem}}", "compute.tls.ca_file", "not an absolute path"},
		{"tls half", "compute: {provider: dask, scheduler: 'tls://h:1', tls: {ca_file: /c, key_file: /k}}", "compute.tls.cert_file", "go together"},
		{"namespace", "compute: {provider: dask, kubernetes: {namespace: A_b}}", "compute.kubernetes.namespace", "lower-case"},
		{"no namespace", "compute: {provider: dask, kubernetes: {context: x}}", "compute.kubernetes.namespace", "is missing"},
		{"context option", "compute: {provider: dask, kubernetes: {context: --x, namespace: y}}", "compute.kubernetes.context", "begins with '-'"},
		{"not a mapping", "compute: dask", "compute", "is a string, not a mapping"},
	})
}

func TestEnvironmentWarnings(t *testing.T) {
	checkRules(t, []rule{
		{"unknown", "exec: /bin/sh", "exec", "warning: is not a key of the contract"},
		{"newer minor", `version: "1.9"`, "version", "warning: newer than"},
		{"this version", `version: "1.1"`, "", ""},
		{"first version", `version: "1.0"`, "", ""},
		{"no time", "timestamp: yesterday", "timestamp", "warning: not a time"},
		{"key with escape", `"\e[2J": x`, `"\x1b[2J"`, "warning: is not a key"},
		{"case", "Environment: prod", "Environment", "differs from the key environment only in case"},
	})
	_, warnings, err := contracts.ParseEnvironment("", []byte(strings.Replace(registryOnly, "{", "{registry_name: x, usernam: y, ", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for field, hint := range map[string]string{"registry.registry_name": "docs/environment-file.md", "registry.usernam": "did you mean username?"} {
		if !slices.ContainsFunc(warnings, func(p contracts.Problem) bool { return p.Field == field && strings.Contains(p.Hint, hint) }) {
			t.Errorf("no warning of %s with hint %q: %v", field, hint, warnings)
		}
	}
}

// What YAML can do and a configuration file must not, and the same characters where
// they are harmless.
func TestYAMLSubset(t *testing.T) {
	checkRules(t, []rule{
		{"anchor", "x: &a 1", "", "has an anchor (line 3)"},
		{"alias", "x: *a", "", "has an alias"},
		{"merge key", "<<: {x: 1}", "", "has a merge key"},
		{"merge key in flow", "x: {<<: {y: 1}}", "", "has a merge key"},
		{"tag", "x: !!str 5", "", "has a tag"},
		{"local tag", "x: !x 5", "", "has a tag"},
		{"tag in a list", "x:\n  - !!binary aGk=", "", "has a tag (line 4)"},
		{"anchor on a key", "&a x: 1", "", "has an anchor"},
		{"anchor after a block", "x: |\n  &no\n  'no\ny: &a 1", "", "has an anchor (line 6)"},
		{"anchor after an empty block", "x: |\ny: &a 1", "", "has an anchor"},
		{"anchor after an empty block in a list", "x:\n- a: |\n  b: &c 1", "", "has an anchor"},
		{"anchor after quotes", "x: 'it''s'\ny: \"a \\\" b\"\nz: &a 1", "", "has an anchor (line 5)"},
		{"two documents", "---\nx: 1", "", "more than one document"},
		{"brackets", "x: " + strings.Repeat("[", 100), "", "too many brackets"},
		{"broken", "x: [", "", "is not valid YAML"},

		{"ampersand in a plain scalar", "x: a & b", "x", "warning: "},
		{"asterisk in quotes", "x: '*a'", "x", "warning: "},
		{"quoted merge", "'<<': x", `"<<"`, "warning: "},
		{"block scalar", "x: |\n  &a *b !c\n\n  <<: d", "x", "warning: "},
		{"folded scalar", "x:\n  - >-\n    &a\n    b\n  - c", "x", "warning: "},
		{"comment", "x: 1 # &a *b !c", "x", "warning: "},
		{"comment line", "# <<: &a\nx: 1", "x", "warning: "},
		{"flow", "x: {a: b&c, d: [e*f, \"g!\"]}", "x", "warning: "},
		{"JSON", `x: {"a":"&b","c":["*d"]}`, "x", "warning: "},
		{"dash", "x:\n  - - 1\n    - 2", "x", "warning: "},
	})
	for _, text := range []string{"---\n" + registryOnly, registryOnly + "...\n", "\ufeff" + registryOnly, strings.ReplaceAll(registryOnly, "\n", "\r\n"), strings.TrimSuffix(registryOnly, "\n"),
		`{"environment":"dev","registry":{"provider":"docker","login_server":"localhost:5555"}}`} {
		parseEnvironment(t, text)
	}
}
