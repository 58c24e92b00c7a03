package contracts_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

func compileSchemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	id := func(name string) string {
		return "https://github.com/modelops-suite/modelops-go/contracts/schema/" + name + ".json"
	}
	for _, name := range contracts.SchemaNames() {
		data, err := contracts.Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(id(name), doc); err != nil {
			t.Fatal(err)
		}
	}
	schemas := map[string]*jsonschema.Schema{}
	for _, name := range contracts.SchemaNames() {
		schema, err := compiler.Compile(id(name))
		if err != nil {
			t.Fatal(err)
		}
		schemas[name] = schema
	}
	return schemas
}

// validate judges a document as a third party would: with a YAML library that is not
// ours and the schema.
func validate(t *testing.T, schema *jsonschema.Schema, file string) error {
	t.Helper()
	data := readFile(t, file)
	if strings.HasSuffix(file, ".yaml") {
		var err error
		if data, err = yaml.YAMLToJSON(data); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}

func parse(kind, file string, data []byte) error {
	var err error
	switch kind {
	case "environment":
		_, _, err = contracts.ParseEnvironment(file, data)
	case "project":
		_, _, err = contracts.ParseProjectConfig(file, data)
	case "study":
		_, err = contracts.ParseStudy(file, data)
	case "task":
		_, err = contracts.ParseTask(data)
	case "return":
		_, err = contracts.ParseReturn(data)
	case "error":
		err = json.Unmarshal(data, &contracts.Envelope{})
	}
	return err
}

func TestValidDocuments(t *testing.T) {
	schemas := compileSchemas(t)
	for kind, schema := range schemas {
		files, err := filepath.Glob(filepath.Join("testdata", "valid", kind, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no examples of %s: %v", kind, err)
		}
		for _, file := range files {
			if err := parse(kind, file, readFile(t, file)); err != nil {
				t.Error(err)
			}
			if err := validate(t, schema, file); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestInvalidDocuments(t *testing.T) {
	schemas := compileSchemas(t)
	for kind, schema := range schemas {
		dir := filepath.Join("testdata", "invalid", kind)
		if kind == "error" {
			continue // nobody parses one by itself
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		listed := 1 // want.txt itself
		for line := range strings.Lines(string(readFile(t, filepath.Join(dir, "want.txt")))) {
			words := strings.Fields(line)
			if strings.HasPrefix(line, "#") || len(words) != 3 {
				continue
			}
			listed++
			matches, err := filepath.Glob(filepath.Join(dir, words[0]+".[jy]*"))
			if err != nil || len(matches) != 1 {
				t.Errorf("%s: %v %v", words[0], matches, err)
				continue
			}
			checkInvalid(t, kind, matches[0], words[1])
			if words[2] == "schema" && validate(t, schema, matches[0]) == nil {
				t.Errorf("the schema accepts %s", matches[0])
			}
		}
		if listed != len(files) {
			t.Errorf("%s has %d files, want.txt lists %d", dir, len(files), listed)
		}
	}
}

func checkInvalid(t *testing.T, kind, file, field string) {
	t.Helper()
	err := parse(kind, file, readFile(t, file))
	if err == nil {
		t.Errorf("%s is accepted", file)
		return
	}
	e := contracts.AsError(err)
	if e.Code == contracts.CodeInternal {
		t.Errorf("%s: %v", file, err)
	}
	if field != "-" && !slices.ContainsFunc(e.Problems, func(p contracts.Problem) bool { return p.Field == field }) {
		t.Errorf("%s: no problem of %s: %v", file, field, e.Problems)
	}
}

// What is written is valid by the schema, and reads the same with another library.
func TestWrittenDocuments(t *testing.T) {
	schemas := compileSchemas(t)
	files, err := filepath.Glob(filepath.Join("testdata", "valid", "environment", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		env, _ := parseEnvironment(t, string(readFile(t, file)))
		out, err := env.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		written := filepath.Join(t.TempDir(), "written.yaml")
		if err := os.WriteFile(written, out, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := validate(t, schemas["environment"], written); err != nil {
			t.Errorf("%s, written: %v", file, err)
		}
		var loose struct {
			Environment, Version string
			Registry             struct {
				LoginServer string `json:"login_server"`
			}
		}
		if err := yaml.Unmarshal(out, &loose); err != nil || loose.Environment != env.Environment || loose.Registry.LoginServer != env.Registry.LoginServer || loose.Version != "1.1" {
			t.Errorf("%s reads as %+v, %v", file, loose, err)
		}
	}
	for _, e := range []*contracts.Error{{Code: contracts.CodeUsage, Message: "x"}, {Code: contracts.CodeModel, Stage: contracts.StageRun, Type: "T", Message: "m", Traceback: "t", StderrTail: "s", Hint: "h", Retryable: true, Problems: []contracts.Problem{{Message: "p"}}}} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(contracts.MarshalEnvelope(e)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schemas["error"].Validate(doc); err != nil {
			t.Error(err)
		}
	}
}

func TestSchema(t *testing.T) {
	_, err := contracts.Schema("../environment")
	wantCode(t, err, contracts.CodeNotFound, "environment, error, project, return, study and task")
}
