package contracts_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

// The configuration that the Python suite wrote for its own test bundle (facts,
// modelops 8.1).
const pythonProject = `cache_dir: null
cache_link_mode: auto
default_tag: latest
registry_ref: modelopsdevacrvsb.azurecr.io/modelops-bundles
storage: {container: modelops-bundles, force_blob_patterns: [], force_oci_patterns: [], mode: auto, prefix: '', provider: azure, threshold_bytes: 52428800}
`

func TestParseProjectConfig(t *testing.T) {
	config, warnings, err := contracts.ParseProjectConfig("config.yaml", []byte(pythonProject))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := &contracts.ProjectConfig{
		RegistryRef: "modelopsdevacrvsb.azurecr.io/modelops-bundles", DefaultTag: "latest", CacheLinkMode: "auto",
		Storage: contracts.ProjectStorage{Provider: "azure", Container: "modelops-bundles", Mode: "auto", ThresholdBytes: contracts.DefaultThreshold},
	}
	if !want.Equal(config) {
		t.Errorf("config = %+v", config)
	}
	config, _, err = contracts.ParseProjectConfig("", []byte("project: my-model\n"))
	if err != nil {
		t.Fatal(err)
	}
	want = &contracts.ProjectConfig{Project: "my-model", DefaultTag: "latest", Storage: contracts.ProjectStorage{Mode: "oci-only", ThresholdBytes: contracts.DefaultThreshold}}
	if !want.Equal(config) {
		t.Errorf("config = %+v", config)
	}
}

func TestProjectConfigMarshal(t *testing.T) {
	text := `project: team/seir
registry_ref: ghcr.io/org/team/seir
format: files
environment: dev
auto_code: {code_roots: [src], import_mode: "static"}
storage: {mode: blob-only, force_oci_patterns: ['*.py'], region: x}
`
	config, warnings, err := contracts.ParseProjectConfig("config.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, w := range warnings {
		fields = append(fields, w.Field)
		if w.Field == "environment" && !strings.Contains(w.Hint, "env switch") {
			t.Errorf("warning = %+v", w)
		}
	}
	if diff := cmp.Diff([]string{"storage.region", "environment", "auto_code"}, fields); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	got, err := config.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := `project: "team/seir"
registry_ref: "ghcr.io/org/team/seir"
default_tag: "latest"
format: "files"
storage:
  provider: ""
  container: ""
  prefix: ""
  mode: "blob-only"
  threshold_bytes: 52428800
  force_oci_patterns:
    - "*.py"
  force_blob_patterns: []
  region: "x"
environment: "dev"
auto_code:
  code_roots:
    - "src"
  import_mode: "static"
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, bad := range map[string]*contracts.ProjectConfig{
		"nothing": {}, "name": {Project: "My Model"}, "UTF-8": {Project: "x", CacheDir: "\xff"}, "mode": {Project: "x", Storage: contracts.ProjectStorage{Mode: "oci-inline"}},
	} {
		if _, err := bad.Marshal(); err == nil {
			t.Errorf("%s is written", name)
		} else {
			wantCode(t, err, contracts.CodeInvalidProject)
		}
	}
}

func TestParseProjectConfigRefused(t *testing.T) {
	for _, c := range []struct{ text, field, says string }{
		{"", "", "is empty"},
		{"default_tag: x\n", "project", "init . --name NAME"},
		{"project: My-Model\n", "project", "use my-model"},
		{"project: my.proj/x\n", "project", "not a repository's name"},
		{"project: 5\n", "project", "is an integer"},
		{"project: x\nproject: y\n", "project", "twice"},
		{"project: x\ndefault_tag: '-x'\n", "default_tag", "not a tag"},
		{"project: x\nformat: tar\n", "format", "files, packed"},
		{"project: x\nstorage: {mode: oci-inline}\n", "storage.mode", "auto, blob-only, oci-only"},
		{"project: x\nstorage: {provider: nfs}\n", "storage.provider", `is "nfs"`},
		{"project: x\nstorage: {threshold_bytes: '5'}\n", "storage.threshold_bytes", "not an integer"},
		{"project: x\nstorage: {threshold_bytes: -5}\n", "storage.threshold_bytes", "at least 0"},
		{"project: x\nstorage: {force_oci_patterns: '*.py'}\n", "storage.force_oci_patterns", "not a list"},
		{"project: x\nstorage: []\n", "storage", "not a mapping"},
		{"project: x\ncache_link_mode: magic\n", "cache_link_mode", "reflink"},
	} {
		_, _, err := contracts.ParseProjectConfig("config.yaml", []byte(c.text))
		if err == nil {
			t.Errorf("accepted: %s", c.text)
			continue
		}
		wantCode(t, err, contracts.CodeInvalidProject, c.says, `"config.yaml"`)
		if problems := contracts.AsError(err).Problems; !slices.ContainsFunc(problems, func(p contracts.Problem) bool { return p.Field == c.field && p.Hint != "" }) {
			t.Errorf("no problem of %s: %v", c.field, problems)
		}
	}
}

func TestParseRunManifest(t *testing.T) {
	for text, want := range map[string]contracts.RunManifest{
		`{"wire":"wire.py:wire"}`:                                 {Wire: "wire.py:wire"},
		`{"wire":"pkg.mod:fn_2","name":"x"}`:                      {Wire: "pkg.mod:fn_2"},
		`{"wire":"src/sim-a/wire.py:Wire"}`:                       {Wire: "src/sim-a/wire.py:Wire"},
		`{"command":["Rscript","run.R",""]}`:                      {Command: []string{"Rscript", "run.R", ""}},
		`{"resources":{"memory":"2GB","cores":2,"timeout":"1h"}}`: {Resources: &contracts.Resources{Memory: "2GB", Cores: 2, Timeout: "1h"}},
		`{"command":["x"],"resources":{"commands":["Rscript"]}}`:  {Command: []string{"x"}, Resources: &contracts.Resources{Commands: []string{"Rscript"}}},
		`{"wire":null,"command":["./run.sh","--seed","1\n2"]}`:    {Command: []string{"./run.sh", "--seed", "1\n2"}},
		`{}`: {},
	} {
		got, err := contracts.ParseRunManifest("manifest.json", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for text, says := range map[string]string{
		``: "ends too early", `[]`: "not a mapping", `{"wire":5}`: "not a string", `{"wire":"wire"}`: "module.path:function", `{"wire":"../x.py:f"}`: "inside the bundle",
		`{"wire":"/x.py:f"}`: "wire is", `{"wire":"a/../x.py:f"}`: "wire is", `{"wire":"x.py:f-g"}`: "wire is", `{"wire":"a:b:c"}`: "wire is", `{"wire":"a b:c"}`: "wire is",
		`{"wire":"a.b:c","command":["x"]}`: "both wire and command", `{"command":"Rscript run.R"}`: "each word by itself", `{"command":[]}`: "is empty",
		`{"command":[1]}`: "command.0", `{"command":[" "]}`: "give the program", `{"command":["a","b\u0000"]}`: "NUL", `{"wire":"a:b","wire":"c:d"}`: "twice",
		`{"resources":{"cores":"2"}}`: "resources.cores",
	} {
		if got, err := contracts.ParseRunManifest("manifest.json", []byte(text)); err == nil {
			t.Errorf("%s is accepted as %+v", text, got)
		} else {
			wantCode(t, err, contracts.CodeInvalidBundle, says, `"manifest.json"`)
		}
	}
}

// The Python suite's table (facts, bundle 9.3 and modelops 8.3). What its expressions
// let through by accident is refused.
func TestParseEntrypoint(t *testing.T) {
	slug := strings.Repeat("x", 64)
	for s, want := range map[string]contracts.Entrypoint{
		"covid.models.SEIR/baseline":             {Module: "covid.models.SEIR", Scenario: "baseline"},
		"targets.prevalence:prevalence_target":   {Module: "targets.prevalence", Object: "prevalence_target"},
		"pkg.M/x":                                {Module: "pkg.M", Scenario: "x"},
		"pkg.M/" + slug:                          {Module: "pkg.M", Scenario: slug},
		"pkg.Model/high-growth.v2":               {Module: "pkg.Model", Scenario: "high-growth.v2"},
		"app.Sim/test_scenario_1":                {Module: "app.Sim", Scenario: "test_scenario_1"},
		"_internal.package_123.MyClass_ABC/test": {Module: "_internal.package_123.MyClass_ABC", Scenario: "test"},
		"a.b:_x1":                                {Module: "a.b", Object: "_x1"},
	} {
		got, err := contracts.ParseEntrypoint(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("ParseEntrypoint(%s) = %+v, %v", s, got, err)
		}
	}
	for s, says := range map[string]string{
		"pkg.M/x" + slug: "invalid scenario", "pkg.M/BASELINE": "invalid scenario", "pkg.M/-x": "invalid scenario", "pkg.M/x-": "invalid scenario",
		"pkg.M/a b": "invalid scenario", "pkg.M/base@line": "invalid scenario", "pkg.M/": "invalid scenario", "a.b/x\n": "invalid scenario",
		"pkg.Model": "either / or :", "": "either / or :",
		"pkg/baseline": "invalid import path", "1a.b/x": "invalid import path", "123.module.Class/x": "invalid import path", "é.b/x": "invalid import path",
		"a.b./x": "invalid import path", "a.b/c/d": "invalid import path", "/x": "invalid import path", "a..b.C/x": "invalid import path", "a.1b/x": "invalid import path",
		"a.b:c/d": "ambiguous",
		"a.b:c:d": "invalid module path", "not:valid:format": "invalid module path", "a:b": "invalid module path",
		"a.b:": "invalid object name", "a.b:_": "invalid object name", "a.b:fn-x": "invalid object name", "a.b:1abc": "invalid object name", "a.b:é": "invalid object name",
	} {
		if got, err := contracts.ParseEntrypoint(s); err == nil {
			t.Errorf("%q is accepted as %+v", s, got)
		} else {
			wantCode(t, err, contracts.CodeInvalidStudy, says)
		}
	}
}
