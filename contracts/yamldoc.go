package contracts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v2"
)

// maxDocument bounds a YAML document before anything parses it.
const maxDocument = 64 << 10

// parseYAML reads one YAML document strictly, so that every reader agrees about it:
// at most 64 KiB of UTF-8, one document, no key twice, no anchors, aliases, merge
// keys or tags, and every key a string. Scalars keep the kind that YAML 1.1 gives
// them, the one that the Python suite's reader uses too: off is a boolean, 010 an
// integer, and neither becomes a string by being asked for as one. Timestamps are
// strings.
func parseYAML(data []byte) (Value, []Problem) {
	one := func(message, hint string) (Value, []Problem) {
		return Value{}, []Problem{{Message: message, Hint: hint}}
	}
	switch {
	case len(data) > maxDocument:
		return one(fmt.Sprintf("has %d bytes", len(data)), "at most 64 KiB are read")
	case !utf8.Valid(data):
		return one("is not valid UTF-8", "save it as UTF-8")
	case len(bytes.TrimSpace(data)) == 0:
		return one("is empty", "it may have been cut off; write it again")
	case bytes.IndexByte(data, 0) >= 0:
		return one("has NUL bytes", "it may have been cut off; write it again")
	}
	if problems := scanYAML(string(data)); len(problems) > 0 {
		return Value{}, problems
	}
	var top any
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&top); err != nil && !errors.Is(err, io.EOF) {
		return one(yamlMessage(err), "mend that line; a string with ': ', '#' or a leading special character belongs in quotes")
	}
	var next any
	switch err := decoder.Decode(&next); {
	case err == nil:
		return one("holds more than one document", "remove everything from the second --- on")
	case !errors.Is(err, io.EOF):
		return one(yamlMessage(err), "mend that line; a string with ': ', '#' or a leading special character belongs in quotes")
	}
	if _, isMapping := top.(map[any]any); !isMapping {
		v, _ := yamlValue(top, "", &problemList{})
		if v.kind == KindNull {
			return one("is empty", "it may have been cut off; write it again")
		}
		return one("is "+v.kind.String()+", not a mapping", "write it as key: value")
	}
	// Once more in the document's order, which also shows a key that is there twice.
	var members yaml.MapSlice
	if err := yaml.Unmarshal(data, &members); err != nil {
		return one(yamlMessage(err), "mend that line; a string with ': ', '#' or a leading special character belongs in quotes")
	}
	problems := &problemList{}
	v, _ := yamlValue(members, "", problems)
	return v, problems.list
}

// yamlValue turns what the decoder made into a Value; false means that a problem was
// reported.
func yamlValue(in any, field string, problems *problemList) (Value, bool) {
	switch in := in.(type) {
	case nil:
		return Value{}, true
	case bool:
		return BoolValue(in), true
	case string:
		return StringValue(in), true
	case int:
		return IntValue(int64(in)), true
	case int64:
		return IntValue(in), true
	case uint64:
		return Value{kind: KindInt, text: strconv.FormatUint(in, 10)}, true
	case float64:
		v, err := FloatValue(in)
		if err != nil {
			problems.add(field, "is not a finite number", "write a number, or put it in quotes")
			return Value{}, false
		}
		return v, true
	case []any:
		items := make([]Value, 0, len(in))
		for i, item := range in {
			v, ok := yamlValue(item, join(field, strconv.Itoa(i)), problems)
			if ok {
				items = append(items, v)
			}
		}
		return listValue(items), true
	case yaml.MapSlice:
		return yamlMapping(in, field, problems), true
	case map[any]any:
		return mapValue(nil), true
	default:
		problems.add(field, "has a value of a kind that is not supported here", "put it in quotes")
		return Value{}, false
	}
}

func yamlMapping(in yaml.MapSlice, field string, problems *problemList) Value {
	seen := newKeySet()
	members := make([]Member, 0, len(in))
	for _, item := range in {
		key, isString := item.Key.(string)
		if !isString {
			problems.add(join(field, fieldKey(fmt.Sprint(item.Key))), "is a key that is not a string", "put the key in quotes")
			continue
		}
		path := join(field, fieldKey(key))
		if !seen.add(key, members) {
			problems.add(path, "is there twice", "keep one of the two")
			continue
		}
		if v, ok := yamlValue(item.Value, path, problems); ok {
			members = append(members, Member{key, v})
		}
	}
	return mapValue(members)
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}

var yamlLine = pattern(`line (\d+): `)

// yamlMessage is a parser's error in one line, without its prefix.
func yamlMessage(err error) string {
	message, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), "\n")
	if match := yamlLine().FindStringSubmatch(message); match != nil {
		message = strings.Replace(message, match[0], "", 1) + " (line " + match[1] + ")"
	}
	return "is not valid YAML: " + message
}
