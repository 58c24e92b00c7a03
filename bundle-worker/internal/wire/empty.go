package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/modelops-suite/modelops-go/contracts"
)

// An error can come as an output. Calabaria's wire answers a model that it cannot find, or
// that fails, with an output "table" of no bytes and an output "metadata" that is JSON with
// an "error"; others put the error into the schema metadata of an Arrow table without rows.
// Either is a failed task with that text, and not a result.

// metadataOutput is the output that says something about the others.
const metadataOutput = "metadata"

// emptiness is what an output says about the task's success.
type emptiness struct {
	name     string
	empty    bool   // it is a table, or a file, that holds nothing
	metadata bool   // it speaks about the other outputs, and holds no data itself
	alone    bool   // its error needs no empty table beside it
	errors   reason // the error that it holds, if any
}

// reason is an error's parts, as metadata gives them.
type reason struct{ text, class, traceback string }

// examine looks at an output, or at the beginning of a large one.
func examine(name string, data []byte) emptiness {
	e := emptiness{name: name}
	if len(bytes.TrimSpace(data)) == 0 {
		e.empty = true
		return e
	}
	if table, ok := readArrow(data); ok {
		e.empty = table.rows == 0
		if e.empty {
			e.errors, e.alone = reasonOf(table.metadata), true
		}
		return e
	}
	if trimmed := bytes.TrimSpace(data); trimmed[0] == '{' && len(data) <= checked {
		e.object(trimmed)
	}
	return e
}

// object looks at an output that may be a JSON object.
func (e *emptiness) object(data []byte) {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&fields) != nil {
		return
	}
	e.metadata = e.name == metadataOutput
	texts := map[string]string{}
	rows := false
	for key, value := range fields {
		switch value := value.(type) {
		case string:
			texts[key] = value
		case map[string]any:
			if message, ok := value["message"].(string); ok && isErrorKey(key) {
				texts[key] = message
				continue
			}
			rows = rows || len(value) > 0
		case []any:
			rows = rows || len(value) > 0
		}
	}
	e.errors = reasonOf(texts)
	e.alone = !e.metadata && !rows
}

// reasonOf picks an error from metadata.
func reasonOf(metadata map[string]string) reason {
	var r reason
	for key, value := range metadata {
		switch key = strings.ToLower(key); {
		case isErrorKey(key):
			if r.text == "" || key == "error" {
				r.text = strings.TrimSpace(value)
			}
		case key == "error_type" || key == "exception_type":
			r.class = value
		case key == "traceback" || key == "error_traceback":
			r.traceback = value
		}
	}
	return r
}

func isErrorKey(key string) bool {
	key = strings.ToLower(key)
	if i := strings.LastIndexFunc(key, func(r rune) bool { return r == '.' || r == ':' || unicode.IsSpace(r) }); i >= 0 {
		key = key[i+1:]
	}
	return key == "error" || key == "error_message"
}

// disguised is the error that outputs amount to, or nil.
func disguised(outputs []emptiness) error {
	data, empty := 0, 0
	for _, o := range outputs {
		if !o.metadata {
			data++
		}
		if o.empty {
			empty++
		}
	}
	for _, o := range outputs {
		if o.errors.text == "" || !o.alone && data > 0 && empty == 0 {
			continue
		}
		return &contracts.Error{
			Code: contracts.CodeOutput, Stage: contracts.StageRun, Type: o.errors.class,
			Message: o.errors.text, Traceback: o.errors.traceback,
			Hint: "the model answered no data, and this error in output " + contracts.Quote(o.name),
		}
	}
	return nil
}
