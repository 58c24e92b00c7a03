package contracts_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The vocabulary stays a leaf: whoever imports it gets these packages and no others.
// A package that is linked is one line here, with the reason.
var allowed = []struct{ path, reason string }{
	{"github.com/modelops-suite/modelops-go/contracts", "this module"},
	{"github.com/go-playground/validator/v10", "the structure of documents"},
	{"github.com/go-playground/locales", "of validator"},
	{"github.com/go-playground/universal-translator", "of validator"},
	{"github.com/gabriel-vasile/mimetype", "of validator"},
	{"github.com/leodido/go-urn", "of validator"},
	{"golang.org/x/crypto/sha3", "of validator"},
	{"golang.org/x/text", "of validator"},
	{"go.yaml.in/yaml/v2", "YAML; the parser inside sigs.k8s.io/yaml, used itself because it keeps the order of keys and shows repeated ones"},
	{"golang.org/x/crypto/blake2b", "param_id, seeds and task keys"},
	{"golang.org/x/sys/cpu", "of blake2b"},
}

// refused are packages of the standard library that would make it more than a
// vocabulary. What an allowed package links is its own affair, so only the imports of
// this module count.
var refused = []struct{ path, reason string }{
	{"os", "no file is opened and no home directory read"},
	{"net/http", "nothing is asked of a network"},
	{"os/exec", "nothing is run"},
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestDependencies(t *testing.T) {
	for _, path := range goList(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...") {
		known := false
		for _, a := range allowed {
			known = known || path == a.path || strings.HasPrefix(path, a.path+"/")
		}
		if !known {
			t.Errorf("%s is linked and has no reason in the list", path)
		}
	}
	for _, path := range goList(t, "-f", `{{join .Imports "\n"}}`, "./...") {
		for _, r := range refused {
			if path == r.path {
				t.Errorf("%s is imported: %s", path, r.reason)
			}
		}
	}
}
