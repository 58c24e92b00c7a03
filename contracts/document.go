package contracts

import "strings"

// ParseYAML reads a YAML document that is no contract of this package, as strictly as
// those that are: at most 64 KiB of UTF-8, one document whose top is a mapping, no key
// twice, no anchors, aliases, merge keys or tags, every key a string. With problems
// there may be no Value.
func ParseYAML(data []byte) (Value, []Problem) { return parseYAML(data) }

// MarshalYAML writes a mapping in block style with every string in quotes, so that
// [ParseYAML], and any other reader, makes the same of it.
func MarshalYAML(document Value) []byte { return appendYAML(nil, document) }

// MapValue is a mapping with its keys in that order, no two of them equal.
func MapValue(members ...Member) Value { return mapValue(members) }

// ListValue is a list.
func ListValue(items ...Value) Value { return listValue(items) }

// DocumentError is the error for a document with problems, of which there is at least
// one. what names the kind of document, file the one that is meant.
func DocumentError(code Code, stage Stage, what, file string, problems []Problem) *Error {
	return documentError(code, stage, what, file, problems)
}

// Nearest is the known word that word was probably meant to be, or "".
func Nearest(word string, known []string) string {
	limit := 2
	if len(word) > 5 {
		limit = 3
	}
	best, distance := "", limit
	for _, candidate := range known {
		if d := editDistance(strings.ToLower(word), candidate, limit); d < distance || d == distance && d < limit && candidate < best {
			best, distance = candidate, d
		}
	}
	return best
}

// ControlCharacter says that s has one, which no value of a document needs; "" when it
// has none.
func ControlCharacter(s string) string { return controlCharacter(s) }

// FieldKey is a document's own key as part of [Problem.Field]: as it is when it is
// plain, otherwise quoted.
func FieldKey(key string) string { return fieldKey(key) }
