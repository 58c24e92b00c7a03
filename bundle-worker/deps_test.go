package bundleworker_test

import (
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// allowed says which packages outside the standard library the worker links, and why. What
// is not here is not linked: it is a small static program that every node has.
var allowed = map[string]string{
	"bundle-worker/internal/": "itself",
	"bundle-worker/dask":      "the plugin of Dask workers, a text",
	"contracts":               "the vocabulary",

	"modelops-bundle/azurecredential": "by way of acrauth: who the process is",
	"modelops-bundle/acrauth":         "access to Azure's registries by the pod's identity",
	"modelops-bundle/atomicfile":      "how files are written",
	"modelops-bundle/blobstore":       "large files, and outputs that are too large for a result, in the storage",
	"modelops-bundle/bundle":          "the format",
	"modelops-bundle/bundleoci":       "bundles from a registry",
	"modelops-bundle/environment":     "the environment file",
	"modelops-bundle/machine":         "how much memory there is",
	"modelops-bundle/ocilayout":       "by way of bundleoci: bundles in files",

	"golang.org/x/crypto/blake2b":     "checksums of outputs that are too large for memory",
	"golang.org/x/sys/":               "flock, lstat, kinds of signals",
	"github.com/pelletier/go-toml/v2": "pyproject.toml",

	"github.com/Azure/azure-sdk-for-go/sdk/":                      "by way of acrauth and blobstore: azidentity, azblob",
	"github.com/AzureAD/microsoft-authentication-library-for-go/": "by way of acrauth: azidentity's protocols",
	"github.com/golang-jwt/jwt/v5":                                "by way of acrauth: the same",
	"github.com/google/uuid":                                      "by way of acrauth: the same",
	"github.com/kylelemons/godebug/":                              "by way of acrauth: the same",
	"github.com/pkg/browser":                                      "by way of acrauth: logins that are not used here",
	"golang.org/x/crypto/pkcs12":                                  "by way of acrauth: certificates as a login",

	"github.com/minio/":             "by way of blobstore: storage that speaks S3, docs/adr/0008",
	"github.com/cespare/xxhash/v2":  "by way of minio-go: checksums that are not used",
	"github.com/zeebo/xxh3":         "by way of minio-go: the same",
	"github.com/dustin/go-humanize": "by way of minio-go",
	"github.com/philhofer/fwd":      "by way of minio-go",
	"github.com/rs/xid":             "by way of minio-go",
	"github.com/tinylib/msgp":       "by way of minio-go",
	"gopkg.in/ini.v1":               "by way of minio-go: the files of AWS",
	"golang.org/x/crypto/argon2":    "by way of minio-go: encryption that is not used",

	"oras.land/oras-go/v2":                  "by way of bundleoci: the registry client",
	"github.com/opencontainers/":            "by way of bundleoci: the OCI types",
	"golang.org/x/sync/":                    "by way of bundleoci: parallel fetches",
	"github.com/klauspost/":                 "by way of bundle: zstd; cpuid",
	"golang.org/x/text/":                    "by way of bundle: Unicode normalisation and folding",
	"github.com/PlakarKorp/go-cdc-chunkers": "by way of bundle: chunking, which only a push does",
	"github.com/zeebo/blake3":               "by way of bundle: the same",
	"github.com/go-git/":                    "by way of bundle: ignore rules, which only a push reads",
	"github.com/jbenet/go-context":          "by way of bundle: the same",
	"gopkg.in/warnings.v0":                  "by way of bundle: the same",
	"golang.org/x/net/":                     "by way of bundle: the same",
	"github.com/go-playground/":             "by way of contracts: validation",
	"github.com/gabriel-vasile/mimetype":    "by way of contracts: validation",
	"github.com/leodido/go-urn":             "by way of contracts: validation",
	"golang.org/x/crypto/sha3":              "by way of contracts: validation",
	"go.yaml.in/yaml/":                      "by way of contracts: YAML",
}

const modules = "github.com/modelops-suite/modelops-go/"

func TestDependencies(t *testing.T) {
	used := map[string]bool{}
	for _, dep := range dependencies(t, "./cmd/bundle-worker") {
		if dep == "bundle-worker/cmd/bundle-worker" {
			continue
		}
		rule := ruleOf(dep)
		if rule == "" {
			t.Errorf("the worker links %s, which no rule allows", dep)
		}
		used[rule] = true
	}
	for rule, why := range allowed {
		if !used[rule] {
			t.Errorf("nothing is linked any more that begins with %s (%s)", rule, why)
		}
	}
}

// The lower packages know nothing of those above them.
func TestLayers(t *testing.T) {
	for pkg, forbidden := range map[string][]string{
		"./internal/guard":  {"bundle-worker/internal/", "contracts", "modelops-bundle/"},
		"./internal/rpc":    {"bundle-worker/internal/", "contracts", "modelops-bundle/"},
		"./internal/runner": {"bundle-worker/internal/wire", "bundle-worker/internal/task", "bundle-worker/internal/cache", "modelops-bundle/"},
		"./internal/wire":   {"bundle-worker/internal/task", "bundle-worker/internal/cache", "bundle-worker/internal/config", "modelops-bundle/bundleoci"},
		"./internal/cache":  {"bundle-worker/internal/runner", "bundle-worker/internal/wire", "bundle-worker/internal/config"},
		"./internal/pyenv":  {"bundle-worker/internal/wire", "bundle-worker/internal/cache"},
	} {
		self := "bundle-worker/" + strings.TrimPrefix(pkg, "./")
		for _, dep := range dependencies(t, pkg) {
			for _, prefix := range forbidden {
				if dep != self && strings.HasPrefix(dep, prefix) {
					t.Errorf("%s links %s", pkg, dep)
				}
			}
		}
	}
}

// A guard is part of each simulation's start, and waits for what it imports to be
// initialised; see its init.
func TestGuardImportsLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "./internal/guard").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	early := []string{"errors", "io", "io/fs", "os", "os/signal", "runtime", "syscall", "time", "unsafe"}
	for name := range strings.FieldsSeq(string(out)) {
		if runtime.GOOS == "linux" && !slices.Contains(early, name) {
			t.Errorf("the guard imports %s, and starts later for it", name)
		}
	}
}

// The interpreter of exec's first task starts before most of the program is initialised, of
// which package harness waits for what it imports.
func TestHarnessImportsLittle(t *testing.T) {
	own := []string{"bundle-worker/internal/guard", "bundle-worker/internal/runner", "bundle-worker/internal/wire/harness"}
	for _, dep := range dependencies(t, "./internal/wire/harness") {
		if runtime.GOOS == "linux" && !slices.Contains(own, dep) {
			t.Errorf("the harness links %s, and starts later for it", dep)
		}
	}
	out, err := exec.Command("go", "list", "-deps", "./internal/wire/harness").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		switch first, _, _ := strings.Cut(name, "/"); first {
		case "crypto", "encoding", "hash", "html", "log", "net", "regexp", "text":
			t.Errorf("the harness links %s, and starts later for it", name)
		}
	}
}

func ruleOf(dep string) string {
	best := ""
	for prefix := range allowed {
		if strings.HasPrefix(dep, prefix) && len(prefix) > len(best) {
			best = prefix
		}
	}
	return best
}

// dependencies are the packages outside the standard library that a package links, our
// own without the modules' common prefix.
func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", pkg).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var deps []string
	for line := range strings.FieldsSeq(string(out)) {
		deps = append(deps, strings.TrimPrefix(line, modules))
	}
	return deps
}
