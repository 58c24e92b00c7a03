package contracts

import (
	"embed"
	"slices"
)

//go:embed schema/*.json
var schemas embed.FS

// SchemaNames are the documents that have a JSON Schema.
func SchemaNames() []string {
	return []string{"environment", "error", "project", "return", "study", "task"}
}

// Schema is the JSON Schema (draft 2020-12) of a document. A schema says less than
// the parser: what it accepts the parser may still refuse, with a reason. An unknown
// name is an [Error] with [CodeNotFound].
func Schema(name string) ([]byte, error) {
	if !slices.Contains(SchemaNames(), name) {
		return nil, &Error{Code: CodeNotFound, Message: "no schema is called " + Quote(name), Hint: "the schemas are environment, error, project, return, study and task"}
	}
	return schemas.ReadFile("schema/" + name + ".json")
}
