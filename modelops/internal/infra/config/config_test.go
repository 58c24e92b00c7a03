package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

var update = flag.Bool("update", false, "rewrite the documentation")

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func files(t *testing.T, kind string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join("testdata", kind, "*.yaml"))
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	return list
}

// validate judges a file as an editor does: by another YAML reader and the schema.
func validate(t *testing.T, data []byte) error {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(string(config.JSONSchema())))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("configuration.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("configuration.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(document)))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(value)
}

func TestValid(t *testing.T) {
	for _, file := range files(t, "valid") {
		data := read(t, file)
		c, err := config.Parse(file, data)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := validate(t, data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		written, err := c.Marshal()
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := validate(t, written); err != nil {
			t.Errorf("%s, written: %v", file, err)
		}
		back, err := config.Parse(file, written)
		if diff := cmp.Diff(c, back); err != nil || diff != "" {
			t.Errorf("%s reads back otherwise: %v %s", file, err, diff)
		}
	}
}

func TestInvalid(t *testing.T) {
	listed := []string{}
	for line := range strings.Lines(string(read(t, "testdata/invalid/want.txt"))) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(cells) != 5 {
			t.Fatalf("not a row: %s", line)
		}
		file := filepath.Join("testdata", "invalid", cells[0]+".yaml")
		listed = append(listed, file)
		data := read(t, file)
		_, err := config.Parse(file, data)
		e := contracts.AsError(err)
		if e == nil || e.Code != contracts.CodeInvalidConfig || !strings.Contains(e.Message, cells[0]+".yaml") {
			t.Errorf("%s: %v", file, err)
			continue
		}
		field := strings.TrimPrefix(cells[1], "-")
		if !slices.ContainsFunc(e.Problems, func(p contracts.Problem) bool {
			return p.Field == field && strings.Contains(p.Message, cells[2]) && strings.Contains(p.Hint, cells[3])
		}) {
			t.Errorf("%s: %+v, want %s %q %q", file, e.Problems, field, cells[2], cells[3])
		}
		if cells[4] == "schema" && validate(t, data) == nil {
			t.Errorf("the schema accepts %s", file)
		}
	}
	slices.Sort(listed)
	if diff := cmp.Diff(files(t, "invalid"), listed); diff != "" {
		t.Error(diff)
	}
}

// Every problem is reported at once.
func TestManyProblems(t *testing.T) {
	_, err := config.Parse("modelops.yaml", []byte("schema_version: 3\nsettings: {provder: azure}\nazure: {location: East US}\nregistry: {existing: true}\nlater: 1\n"))
	e := contracts.AsError(err)
	var fields []string
	for _, p := range e.Problems {
		fields = append(fields, p.Field)
	}
	if diff := cmp.Diff([]string{"settings.provder", "azure.location", "later", "registry.name"}, fields); diff != "" {
		t.Error(diff)
	}
}

func TestTooLarge(t *testing.T) {
	_, err := config.Parse("modelops.yaml", []byte("schema_version: 3\n# "+strings.Repeat("x", 64<<10)))
	if err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Error(err)
	}
}

// Every key is in one of the documented examples, with another value than its default,
// and its value is what the file says.
func TestEveryKey(t *testing.T) {
	shown := map[string]bool{}
	for _, example := range []string{"all", "existing", "private"} {
		file := "testdata/valid/" + example + ".yaml"
		c, err := config.Parse(file, read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := yaml.Unmarshal(read(t, file), &document); err != nil {
			t.Fatal(err)
		}
		for _, key := range config.Keys() {
			section, _ := document[key.Section()].(map[string]any)
			value, there := section[key.Name()]
			switch {
			case !there && key.Text(c) != key.Default:
				t.Errorf("%s is %q and not in %s", key.Path, key.Text(c), file)
			case there && key.Text(c) != written(t, value):
				t.Errorf("%s is %q, and %s says %v", key.Path, key.Text(c), file, value)
			case there && key.Text(c) != key.Default:
				shown[key.Path] = true
			}
		}
	}
	for _, key := range config.Keys() {
		if !shown[key.Path] {
			t.Errorf("no example shows %s", key.Path)
		}
	}
	for _, key := range config.PoolKeys() {
		if !slices.ContainsFunc(examplePools(t), func(p config.NodePool) bool { return key.Text(&p) != key.Default }) {
			t.Errorf("no example shows %s", key.Path)
		}
	}
}

func examplePools(t *testing.T) []config.NodePool {
	t.Helper()
	c, err := config.Parse("", read(t, "testdata/valid/all.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Cluster.NodePools
}

// written is a value of a document as [config.Key.Text] says it. The examples' lists and
// mappings are in the form that is written.
func written(t *testing.T, value any) string {
	t.Helper()
	switch value.(type) {
	case []any, map[string]any:
	default:
		return fmt.Sprint(value)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Taints have three forms, and a pool what it does not say.
func TestPools(t *testing.T) {
	c, err := config.Parse("", read(t, "testdata/valid/pools.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.NodePool{
		{Name: "system", Mode: config.SystemPool, VMSize: "Standard_D2s_v5", Count: 1, Min: 1, Max: 3, DiskType: "managed"},
		{Name: "big", Mode: config.UserPool, VMSize: "Standard_E32s_v5", DiskType: "managed",
			Taints: []config.Taint{{Key: "modelops.io/role", Value: "memory", Effect: "NoSchedule"}, {Key: "dedicated", Effect: "PreferNoSchedule"}}},
	}
	if diff := cmp.Diff(want, c.Cluster.Pools()); diff != "" {
		t.Error(diff)
	}
	if c, err = config.Parse("", []byte("schema_version: 3\ncluster: {}\n")); err != nil || !c.Cluster.Wanted {
		t.Fatal(c, err)
	}
	for _, file := range []string{"schema_version: 3\n", "schema_version: 3\ncluster:\n"} {
		if c, err := config.Parse("", []byte(file)); err != nil || c.Cluster.Wanted {
			t.Error(c, err)
		}
	}
	// The pools of who says nothing are such as could be written.
	c.Cluster.NodePools = config.DefaultPools()
	if _, err := c.Marshal(); err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	c, err := config.Parse("", []byte("schema_version: 3\n"))
	if diff := cmp.Diff(config.Default(), c); err != nil || diff != "" {
		t.Error(err, diff)
	}
	want := &config.Config{
		Azure:    config.AzureSettings{Location: "eastus2"},
		Registry: config.Registry{SKU: "Basic", DomainNameLabelScope: "Unsecure"},
		Storage:  config.Storage{SKU: "Standard_LRS", Auth: "connection-string", Container: "bundle-blobs", ScratchDays: 7},
		Cluster: config.Cluster{UpgradeChannel: "patch", Tier: "Free", Auth: "certificate", NetworkPolicy: "cilium",
			PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.0.0.0/16"},
		Workspace: config.Workspace{ImagePullPolicy: "IfNotPresent", MaxWorkers: 10, IdleMinutes: 10, GraceMinutes: 60,
			WorkerCPU: "2", WorkerMemory: "4Gi", SchedulerCPU: "1", SchedulerMemory: "2Gi", DriverCPU: "1", DriverMemory: "2Gi",
			Cache: "node", CachePath: "/var/lib/modelops", NetworkPolicy: true},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestRequire(t *testing.T) {
	c := config.Default()
	if err := c.Require("f", config.Local); err != nil {
		t.Error(err)
	}
	if e := contracts.AsError(c.Require("f", config.Azure)); e == nil || len(e.Problems) != 2 || !strings.Contains(e.Hint, "mops init") {
		t.Error(e)
	}
}

func TestNames(t *testing.T) {
	c, err := config.Parse("", read(t, "testdata/valid/existing.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := name.Choice{
		Input:   name.Input{Environment: "dev", Username: "vsb", SubscriptionID: "3f2504e0-4f89-41d3-9a0c-0305e82c3301"},
		Given:   name.Names{Registry: "teamregistry", StorageAccount: "teamstorage", Cluster: "team-aks"},
		Adopted: name.Parts{Registry: true, StorageAccount: true, Cluster: true},
	}
	if diff := cmp.Diff(want, c.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestMarshalRefuses(t *testing.T) {
	c := config.Default()
	c.Settings.Provider = config.Azure
	if data, err := c.Marshal(); err == nil {
		t.Errorf("%s", data)
	}
}

func TestLoad(t *testing.T) {
	home := t.TempDir()
	if c, err := config.Load(home); c != nil || err != nil {
		t.Error(c, err)
	}
	path := filepath.Join(home, "modelops.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(home); err == nil {
		t.Errorf("an empty file is %v", c)
	}
	if err := os.WriteFile(path, read(t, "testdata/valid/personal.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(home); err != nil || c.Settings.Username != "vsb" {
		t.Error(c, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"schema_version: 3\n", "schema_version: 3\nregistry: {sku: Basic, x: [1, {a: b}]}\n", "{"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if err != nil {
			return
		}
		written, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := config.Parse("f", written); err != nil || !cmp.Equal(c, back) {
			t.Errorf("%s reads back as %v, %v", written, back, err)
		}
	})
}

// docs/configuration.md has the keys and the example.
func TestDocumentation(t *testing.T) {
	const page = "../../../../docs/configuration.md"
	text := string(read(t, page))
	want := between(t, text, "<!-- keys -->\n", "<!-- /keys -->", config.Reference())
	want = between(t, want, "<!-- example -->\n```yaml\n", "```\n<!-- /example -->", string(read(t, "testdata/valid/all.yaml")))
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, string(read(t, page))); diff != "" {
		t.Errorf("%s is not what the program says; run make docs:\n%s", page, diff)
	}
}

// between is text with what stands between two marks replaced.
func between(t *testing.T, text, begin, end, content string) string {
	t.Helper()
	before, rest, found := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("the marks %q and %q are gone", begin, end)
	}
	return before + begin + content + end + after
}
