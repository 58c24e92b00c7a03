package modelops_test

import (
	"os/exec"
	"strings"
	"testing"
)

const suite = "github.com/modelops-suite/modelops-go/"

// linked are the packages outside the standard library that mops may link, by prefix,
// and why. What is not here is not linked.
var linked = []struct{ prefix, reason string }{
	{suite + "modelops/", "this module"},
	{suite + "contracts", "the vocabulary"},
	{suite + "modelops-bundle/atomicfile", "files that a crash leaves whole"},
	{suite + "modelops-bundle/azurecredential", "who somebody is to Azure"},
	{suite + "modelops-bundle/blobstore", "where jobs and results are kept"},
	{suite + "modelops-bundle/command", "one command line for both programs, docs/adr/0002"},
	{suite + "modelops-bundle/environment", "the environment in force"},
	{suite + "modelops-bundle/machine", "how much memory there is"},
	{"github.com/urfave/cli/v2", "the command line"},
	{"github.com/cpuguy83/go-md2man/v2", "of urfave/cli"},
	{"github.com/russross/blackfriday/v2", "of urfave/cli"},
	{"github.com/xrash/smetrics", "of urfave/cli"},
	{"github.com/Azure/azure-sdk-for-go/sdk/azcore", "of the libraries of Azure"},
	{"github.com/Azure/azure-sdk-for-go/sdk/azidentity", "identities, for storage without a key"},
	{"github.com/Azure/azure-sdk-for-go/sdk/internal", "of the libraries of Azure"},
	{"github.com/Azure/azure-sdk-for-go/sdk/storage", "storage in Azure"},
	{"github.com/AzureAD/microsoft-authentication-library-for-go", "of azidentity"},
	{"github.com/golang-jwt/jwt/v5", "of azidentity"},
	{"github.com/kylelemons/godebug", "of azidentity"},
	{"github.com/pkg/browser", "of azidentity"},
	{"github.com/minio/minio-go/v7", "storage that speaks S3, docs/adr/0008"},
	{"github.com/minio/crc64nvme", "of minio-go"},
	{"github.com/minio/md5-simd", "of minio-go"},
	{"github.com/dustin/go-humanize", "of minio-go"},
	{"github.com/klauspost/crc32", "of minio-go"},
	{"github.com/philhofer/fwd", "of minio-go"},
	{"github.com/rs/xid", "of minio-go"},
	{"github.com/tinylib/msgp", "of minio-go"},
	{"go.yaml.in/yaml/v3", "of minio-go"},
	{"gopkg.in/ini.v1", "of minio-go: the files of AWS"},
	{"github.com/olareg/olareg", "the local registry"},
	{"github.com/opencontainers/go-digest", "of olareg"},
	{"github.com/gofrs/flock", "one server, and one driver, per directory"},
	{"golang.org/x/term", "whether somebody can be asked"},
	{"golang.org/x/sys", "processes and locks"},
	{"golang.org/x/sync", "groups of goroutines"},
	{"sigs.k8s.io/yaml", "environment files as JSON"},
	{"gonum.org/v1/gonum", "the quasi-random sequences of mops study random"},
	{"golang.org/x/tools/container/intsets", "of gonum"},
	{"github.com/klauspost/compress", "segments of results"},
	{"github.com/apache/arrow-go/v18", "tables as Parquet"},
	{"github.com/andybalholm/brotli", "of arrow-go"},
	{"github.com/apache/thrift", "of arrow-go"},
	{"github.com/cespare/xxhash/v2", "of arrow-go"},
	{"github.com/goccy/go-json", "of arrow-go"},
	{"github.com/google/flatbuffers", "of arrow-go"},
	{"github.com/google/uuid", "of arrow-go"},
	{"github.com/golang/snappy", "of arrow-go"},
	{"github.com/klauspost/cpuid/v2", "of arrow-go"},
	{"github.com/pierrec/lz4/v4", "of arrow-go"},
	{"github.com/zeebo/xxh3", "of arrow-go"},
	{"golang.org/x/exp", "of arrow-go"},
	{"golang.org/x/xerrors", "of arrow-go"},
	{"golang.org/x/net", "of arrow-go"},
	{"google.golang.org/genproto/googleapis/rpc", "of arrow-go"},
	{"google.golang.org/grpc", "of arrow-go"},
	{"google.golang.org/protobuf", "of arrow-go"},
	{"github.com/go-playground", "of contracts"},
	{"github.com/gabriel-vasile/mimetype", "of contracts"},
	{"github.com/leodido/go-urn", "of contracts"},
	{"go.yaml.in/yaml/v2", "of contracts"},
	{"golang.org/x/crypto", "of contracts"},
	{"golang.org/x/text", "of contracts"},
}

// linkedByCloud is what mops-cloud may link besides.
var linkedByCloud = []struct{ prefix, reason string }{
	{"github.com/pulumi", "the engine that makes infrastructure, docs/adr/0005"},
	{"github.com/blang/semver", "versions of Pulumi"},
	{"github.com/pulumi", "infrastructure in a cloud, docs/adr/0005"},
	{"github.com/BurntSushi/toml", "of pulumi"},
	{"github.com/ProtonMail/go-crypto", "of pulumi"},
	{"github.com/aead/chacha20", "of pulumi"},
	{"github.com/agext/levenshtein", "of pulumi"},
	{"github.com/apparentlymart", "of pulumi"},
	{"github.com/aymanbagabas/go-osc52", "of pulumi"},
	{"github.com/cenkalti/backoff", "of pulumi"},
	{"github.com/charmbracelet", "of pulumi"},
	{"github.com/cheggaaa/pb", "of pulumi"},
	{"github.com/clipperhouse", "of pulumi"},
	{"github.com/cloudflare/circl", "of pulumi"},
	{"github.com/djherbis/times", "of pulumi"},
	{"github.com/emirpasic/gods", "of pulumi"},
	{"github.com/fsnotify/fsnotify", "of pulumi"},
	{"github.com/go-git", "of pulumi"},
	{"github.com/go-logr", "of pulumi"},
	{"github.com/gogo/protobuf", "of pulumi"},
	{"github.com/golang/glog", "of pulumi"},
	{"github.com/grpc-ecosystem", "of pulumi"},
	{"github.com/hashicorp", "of pulumi"},
	{"github.com/json-iterator/go", "of pulumi"},
	{"github.com/kevinburke/ssh_config", "of pulumi"},
	{"github.com/lucasb-eyer/go-colorful", "of pulumi"},
	{"github.com/mattn/go-isatty", "of pulumi"},
	{"github.com/mattn/go-runewidth", "of pulumi"},
	{"github.com/mitchellh/go-wordwrap", "of pulumi"},
	{"github.com/modern-go/concurrent", "of pulumi"},
	{"github.com/modern-go/reflect2", "of pulumi"},
	{"github.com/muesli", "of pulumi"},
	{"github.com/nxadm/tail", "of pulumi"},
	{"github.com/opentracing", "of pulumi"},
	{"github.com/pgavlin", "of pulumi"},
	{"github.com/pjbgf/sha1cd", "of pulumi"},
	{"github.com/pkg/errors", "of pulumi"},
	{"github.com/pkg/term", "of pulumi"},
	{"github.com/rivo/uniseg", "of pulumi"},
	{"github.com/rogpeppe/go-internal", "of pulumi"},
	{"github.com/santhosh-tekuri/jsonschema", "of pulumi"},
	{"github.com/sergi/go-diff", "of pulumi"},
	{"github.com/spf13/cobra", "of pulumi"},
	{"github.com/spf13/pflag", "of pulumi"},
	{"github.com/texttheater/golang-levenshtein", "of pulumi"},
	{"github.com/uber", "of pulumi"},
	{"github.com/xo/terminfo", "of pulumi"},
	{"github.com/zclconf/go-cty", "of pulumi"},
	{"go.opentelemetry.io", "of pulumi"},
	{"go.uber.org/atomic", "of pulumi"},
	{"go.uber.org/multierr", "of pulumi"},
	{"google.golang.org/genproto/googleapis", "of pulumi"},
	{"gopkg.in/tomb.v1", "of pulumi"},
	{"gopkg.in/yaml.v3", "of pulumi"},
	{"lukechampine.com/frand", "of pulumi"},
	{"k8s.io", "the connection with a cluster, docs/adr/0011"},
	{"sigs.k8s.io/json", "of client-go"},
	{"sigs.k8s.io/randfill", "of client-go"},
	{"sigs.k8s.io/structured-merge-diff", "of client-go"},
	{"github.com/fxamacker/cbor/v2", "of client-go"},
	{"github.com/x448/float16", "of client-go"},
	{"gopkg.in/inf.v0", "of client-go"},
	{"github.com/davecgh/go-spew", "of client-go"},
	{"github.com/munnerz/goautoneg", "of client-go"},
	{"golang.org/x/oauth2", "of client-go"},
	{"golang.org/x/time", "of client-go"},
	{"github.com/gorilla/websocket", "of client-go: ports are forwarded over it"},
	{"github.com/moby/spdystream", "of client-go: and over this, where a proxy knows no WebSocket"},
}

func TestLinkedPackages(t *testing.T) {
	checkLinked(t, "mops", linked)
	checkLinked(t, "mops-cloud", append(linkedByCloud[:len(linkedByCloud):len(linkedByCloud)], linked...))
}

func checkLinked(t *testing.T, program string, rules []struct{ prefix, reason string }) {
	t.Helper()
	for _, pkg := range goList(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./cmd/"+program) {
		allowed := false
		for _, rule := range rules {
			allowed = allowed || within(pkg, rule.prefix)
		}
		if !allowed {
			t.Errorf("%s links %s, which no rule allows", program, pkg)
		}
	}
}

// confined are packages that only one room of this module may import itself.
var confined = []struct{ imported, room, reason string }{
	{"github.com/urfave/cli/v2", "internal/cli", "what a command does is no business of its library"},
	{"github.com/olareg/olareg", "internal/localregistry", "one place starts the registry"},
	{"github.com/apache/arrow-go/v18", "internal/results", "tables are made in one place"},
	{"github.com/pulumi", "internal/infra", "the engine stays behind the providers"},
	{"github.com/Azure", "internal/infra", "a cloud stays behind its provider"},
	{"k8s.io/client-go", "internal/kube", "one connection with a cluster; its types, k8s.io/api, are for who writes them"},
}

func TestConfinedPackages(t *testing.T) {
	const module = suite + "modelops/"
	for _, line := range goListLines(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		importer, imports, _ := strings.Cut(line, " ")
		for imported := range strings.FieldsSeq(imports) {
			for _, rule := range confined {
				if within(imported, rule.imported) && !within(importer, module+rule.room) {
					t.Errorf("%s imports %s, which is for %s: %s", importer, imported, rule.room, rule.reason)
				}
			}
		}
	}
}

func within(pkg, prefix string) bool {
	return pkg == prefix || strings.HasPrefix(pkg, strings.TrimSuffix(prefix, "/")+"/")
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	return strings.Fields(strings.Join(goListLines(t, args...), " "))
}

func goListLines(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
