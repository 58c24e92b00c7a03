package modelops_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	ctyyaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/contracts/conformance"
)

const examples = "../docs/examples"

// mustConform is an error of the test unless data is an environment file without a word
// to say against it. It answers with what the file says.
func mustConform(t *testing.T, data string) *contracts.BundleEnvironment {
	t.Helper()
	report := conformance.CheckEnvironment("dev.yaml", []byte(data))
	if !report.Valid || len(report.Warnings) > 0 {
		t.Fatalf("%v %v\n%s", report.Errors, report.Warnings, data)
	}
	env, _, err := contracts.ParseEnvironment("dev.yaml", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// The Terraform example writes a file that is taken, with keys and without. Its
// expressions are evaluated as Terraform does, over what Azure would answer.
func TestTerraformExample(t *testing.T) {
	for _, keys := range []bool{false, true} {
		attributes := evaluate(t, keys)
		if mode := attributes["file_permission"].AsString(); mode != "0600" {
			t.Errorf("file_permission %s", mode)
		}
		if name := attributes["filename"].AsString(); name != "./dev.yaml" {
			t.Errorf("filename %s", name)
		}
		env := mustConform(t, attributes["content"].AsString())
		if env.Environment != "dev" || env.Registry.LoginServer != "modelopsdevacrvsb1.azurecr.io" || env.Storage.Container != "bundle-blobs" {
			t.Errorf("%+v", env)
		}
		if withKeys := env.Registry.Password != "" && env.Storage.ConnectionString != ""; withKeys != keys || (env.Storage.Endpoint == "") != keys {
			t.Errorf("keys %v: %+v %+v", keys, env.Registry, env.Storage)
		}
	}
}

// evaluate is the attributes of the example's environment file.
func evaluate(t *testing.T, keys bool) map[string]cty.Value {
	t.Helper()
	path := filepath.Join(examples, "terraform", "main.tf")
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, diagnostics := hclsyntax.ParseConfig(source, path, hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	variables := map[string]cty.Value{"keys": cty.BoolVal(keys)}
	blocks := file.Body.(*hclsyntax.Body).Blocks
	for _, block := range blocks {
		if value, ok := block.Body.Attributes["default"]; ok && block.Type == "variable" && block.Labels[0] != "keys" {
			if variables[block.Labels[0]], diagnostics = value.Expr.Value(nil); diagnostics.HasErrors() {
				t.Fatal(diagnostics)
			}
		}
	}
	text := func(pairs ...string) cty.Value {
		object := map[string]cty.Value{}
		for i := 0; i < len(pairs); i += 2 {
			object[pairs[i]] = cty.StringVal(pairs[i+1])
		}
		return cty.ObjectVal(object)
	}
	named := func(label string, value cty.Value) cty.Value {
		return cty.ObjectVal(map[string]cty.Value{label: value})
	}
	context := &hcl.EvalContext{
		Functions: map[string]function.Function{"yamlencode": ctyyaml.YAMLEncodeFunc},
		Variables: map[string]cty.Value{
			"var":  cty.ObjectVal(variables),
			"path": text("root", "."),
			"azurerm_container_registry": named("modelops", text("login_server", "modelopsdevacrvsb1.azurecr.io",
				"admin_username", "modelopsdevacrvsb1", "admin_password", "QUFB+QUFB/x=")),
			"azurerm_storage_container": named("bundles", text("name", "bundle-blobs")),
			"azurerm_storage_account": named("modelops", text("primary_blob_endpoint", "https://modelopsdevvsb1.blob.core.windows.net/",
				"primary_connection_string", "DefaultEndpointsProtocol=https;AccountName=modelopsdevvsb1;AccountKey=QUFBQQ==;EndpointSuffix=core.windows.net")),
		},
	}
	attributes := map[string]cty.Value{}
	for _, block := range blocks {
		if strings.Join(append([]string{block.Type}, block.Labels...), ".") != "resource.local_sensitive_file.environment" {
			continue
		}
		for name, attribute := range block.Body.Attributes {
			value, diagnostics := attribute.Expr.Value(context)
			if diagnostics.HasErrors() {
				t.Fatal(diagnostics)
			}
			attributes[name] = value
		}
	}
	return attributes
}

// The files that are written by hand are taken too, and so is every one on the pages.
func TestEnvironmentExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examples, "local", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if env := mustConform(t, string(data)); env.Environment+".yaml" != filepath.Base(file) {
			t.Errorf("%s is of environment %s", file, env.Environment)
		}
	}
	for _, page := range []string{"../docs/providers.md", "../docs/environment-file.md"} {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, block := range strings.Split(string(data), "```yaml\n")[1:] {
			text, _, _ := strings.Cut(block, "```")
			mustConform(t, text)
			found++
		}
		if found == 0 {
			t.Errorf("%s has no example", page)
		}
	}
}
