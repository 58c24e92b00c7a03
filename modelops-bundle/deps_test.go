package modelopsbundle_test

import (
	"os/exec"
	"strings"
	"testing"
)

// allowed says which packages outside the standard library each part of the module may
// link, and why. What is not here is not linked: an import that breaks a rule of
// docs/architecture.md fails this test.
var allowed = map[string]map[string]string{
	"./atomicfile": {},
	"./bundle": {
		"modelops-bundle/atomicfile":            "the stat cache",
		"contracts":                             "the vocabulary",
		"github.com/klauspost/":                 "zstd; cpuid",
		"github.com/PlakarKorp/go-cdc-chunkers": "content-defined chunking",
		"github.com/zeebo/blake3":               "the chunker's keyed mode, which is not used",
		"github.com/go-git/go-git/v5/plumbing":  "gitignore rules",
		"github.com/go-git/go-git/v5/":          "what its gitignore package pulls in",
		"github.com/go-git/":                    "the same: its file system and configuration reader",
		"github.com/cyphar/filepath-securejoin": "the same",
		"github.com/jbenet/go-context":          "the same",
		"gopkg.in/warnings.v0":                  "the same",
		"golang.org/x/":                         "Unicode normalisation and folding, errgroup",
		"github.com/go-playground/":             "by way of contracts: validation",
		"github.com/gabriel-vasile/mimetype":    "by way of contracts: validation",
		"github.com/leodido/go-urn":             "by way of contracts: validation",
		"go.yaml.in/yaml/":                      "by way of contracts: YAML",
	},
	"./ocilayout": {
		"modelops-bundle/atomicfile": "files that are whole or not there",
		"github.com/opencontainers/": "the OCI types",
	},
	"./bundleoci": {
		"modelops-bundle/bundle":     "the format",
		"modelops-bundle/atomicfile": "by way of blobstore: its directories",
		"modelops-bundle/blobstore":  "where blobs are that are no layers; the clouds' clients are below it, and stay out",
		"modelops-bundle/ocilayout":  "bundles in files",
		"oras.land/oras-go/v2":       "the registry client",
	},
	"./azurecredential": {
		"github.com/Azure/azure-sdk-for-go/sdk/":                      "who the process is, for Azure",
		"github.com/AzureAD/microsoft-authentication-library-for-go/": "by way of azidentity: its protocols",
		"github.com/golang-jwt/jwt/v5":                                "by way of azidentity",
		"github.com/google/uuid":                                      "by way of azidentity",
		"github.com/kylelemons/godebug/":                              "by way of azidentity",
		"github.com/pkg/browser":                                      "by way of azidentity: logins that are not used here",
	},
	"./acrauth": {
		"modelops-bundle/azurecredential": "who the process is, for Azure",
	},
}

func TestDependencies(t *testing.T) {
	rules := map[string]string{}
	for _, part := range []string{"./atomicfile", "./bundle", "./ocilayout", "./bundleoci", "./azurecredential", "./acrauth"} { // each may use what the ones before may
		for prefix, why := range allowed[part] {
			rules[prefix] = why
		}
		for _, dep := range dependencies(t, part) {
			if !permitted(dep, rules) {
				t.Errorf("%s links %s, which no rule allows", part, dep)
			}
		}
	}
}

// urfave/cli and the clouds come in where a program decides so, and nowhere else.
func TestLibrariesStaySmall(t *testing.T) {
	for _, part := range []string{"./atomicfile", "./bundle", "./ocilayout", "./bundleoci", "./blobstore", "./environment", "./internal/project", "./internal/registration"} {
		for _, dep := range dependencies(t, part) {
			for _, heavy := range []string{"github.com/urfave/cli", "github.com/Azure/", "github.com/minio/", "github.com/pulumi/", "k8s.io/"} {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("%s links %s", part, dep)
				}
			}
		}
	}
}

// Who somebody is to Azure is found by a package of its own.
func TestStorageWithoutIdentity(t *testing.T) {
	for _, dep := range dependencies(t, "./blobstore/azure") {
		if strings.HasPrefix(dep, "github.com/Azure/azure-sdk-for-go/sdk/azidentity") {
			t.Errorf("./blobstore/azure links %s", dep)
		}
	}
}

const modules = "github.com/modelops-suite/modelops-go/"

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
		line = strings.TrimPrefix(line, modules)
		if line != "modelops-bundle/"+strings.TrimPrefix(pkg, "./") {
			deps = append(deps, line)
		}
	}
	return deps
}

func permitted(dep string, rules map[string]string) bool {
	for prefix := range rules {
		if strings.HasPrefix(dep, prefix) {
			return true
		}
	}
	return false
}
