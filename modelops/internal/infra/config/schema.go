package config

import (
	"encoding/json"
	"maps"

	"github.com/modelops-suite/modelops-go/contracts"
)

// JSONSchema is the JSON Schema (draft 2020-12) of the file, made from [Keys]. It says
// less than [Parse]: what it accepts Parse may still refuse, with a reason, and what Parse
// accepts it accepts.
func JSONSchema() []byte {
	properties := map[string]any{"schema_version": map[string]any{"const": Schema, "description": "The version of this file's form"}}
	for section, keys := range sections() {
		properties[section] = mapping(keys, "object", "null")
	}
	document := map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"$id":                  "https://github.com/modelops-suite/modelops-go/modelops/schema/configuration.json",
		"title":                "modelops.yaml",
		"type":                 "object",
		"required":             []string{"schema_version"},
		"additionalProperties": false,
		"properties":           properties,
		"allOf": []any{
			when("settings", "provider", Azure, requires("settings", "environment")),
			when("settings", "provider", Azure, requires("azure", "subscription_id")),
			when("azure", "existing_resource_group", true, requires("azure", "resource_group")),
			when("registry", "existing", true, requires("registry", "name")),
			when("storage", "existing", true, requires("storage", "name")),
			when("cluster", "existing", true, requires("cluster", "name")),
			when("registry", "anonymous_pull", true, has("registry", "sku", map[string]any{"enum": []string{"Standard", "Premium"}})),
		},
	}
	data, err := json.MarshalIndent(document, "", "  ") // maps are written with their keys sorted
	if err != nil {
		panic(err) // strings, numbers and booleans of this page
	}
	return append(data, '\n')
}

// when is a rule for documents in which a key has a value.
func when(section, key string, value any, then map[string]any) map[string]any {
	return map[string]any{"if": has(section, key, map[string]any{"const": value}), "then": then}
}

func requires(section, key string) map[string]any {
	return has(section, key, map[string]any{"not": map[string]any{"type": "null"}})
}

// has is a document with a key whose value fits.
func has(section, key string, value map[string]any) map[string]any {
	return map[string]any{
		"required": []string{section},
		"properties": map[string]any{section: map[string]any{
			"type": "object", "required": []string{key}, "properties": map[string]any{key: value},
		}},
	}
}

// mapping is the schema of one with those keys and no others.
func mapping[T any](keys []KeyOf[T], kinds ...string) map[string]any {
	properties := map[string]any{}
	for _, key := range keys {
		properties[key.Name()] = key.schema()
	}
	return map[string]any{"type": kinds, "additionalProperties": false, "properties": properties}
}

// schema is that of the key's value; null is the same as absent.
func (k KeyOf[T]) schema() map[string]any {
	schema := map[string]any{"description": k.Doc}
	switch k.Kind {
	case contracts.KindBool:
		schema["type"], schema["default"] = []string{"boolean", "null"}, k.Default == "true"
	case contracts.KindInt:
		schema["type"], schema["minimum"], schema["maximum"] = []string{"integer", "null"}, 0, k.Max
		if k.Default != "" {
			schema["default"] = json.Number(k.Default)
		}
	case contracts.KindList, contracts.KindMap:
		var empty T
		maps.Copy(schema, nestedIn(k.at(&empty)).schema())
	default:
		schema["type"] = []string{"string", "null"}
		if k.Default != "" {
			schema["default"] = k.Default
		}
	}
	if k.Words != nil {
		words := []any{}
		for _, word := range k.Words {
			words = append(words, word)
		}
		schema["enum"] = append(words, nil)
	}
	if k.Pattern != "" {
		schema["pattern"] = k.Pattern
	}
	return schema
}
