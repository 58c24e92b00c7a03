package contracts

import (
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Kind is what a [Value] is.
type Kind uint8

// The kinds. A parameter of a study is a Bool, an Int, a Float or a String; the
// others occur in metadata and are hashed all the same.
const (
	KindNull Kind = iota
	KindBool
	KindInt
	KindFloat
	KindString
	KindList
	KindMap
)

// String is the kind as a message names it: "an integer".
func (k Kind) String() string {
	return [...]string{"null", "a boolean", "an integer", "a number", "a string", "a list", "a mapping"}[k]
}

// Value is a value of a document. Unlike what encoding/json makes of it, it keeps
// the difference between 1 and 1.0, integers of any size, and the order of a mapping.
//
// A number is spelled as Python spells it after reading it: 1.50 is 1.5, 1E5 is
// 100000.0, -0 is 0 and -0.0 stays. The zero Value is null.
type Value struct {
	kind   Kind
	text   string // canonical spelling of a scalar; a string's own content
	nested *nested
}

type nested struct {
	list    []Value
	members []Member
}

// Member is one key of a mapping.
type Member struct {
	Key   string
	Value Value
}

// BoolValue is true or false.
func BoolValue(b bool) Value { return Value{kind: KindBool, text: strconv.FormatBool(b)} }

// IntValue is an integer.
func IntValue(i int64) Value { return Value{kind: KindInt, text: strconv.FormatInt(i, 10)} }

// StringValue is a string, which must be valid UTF-8 to be written.
func StringValue(s string) Value { return Value{kind: KindString, text: s} }

// FloatValue is a number that is not an integer, even when it is whole: 2 is written
// 2.0. NaN and the infinities are an [Error] with [CodeInvalidStudy].
func FloatValue(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}, &Error{Code: CodeInvalidStudy, Stage: StageStudy,
			Message: "non-finite number " + strconv.FormatFloat(f, 'g', -1, 64) + " is not allowed", Hint: "a parameter is a finite number"}
	}
	return Value{kind: KindFloat, text: pythonFloat(f)}, nil
}

// NumberValue reads a number as JSON spells it: an integer, or a float when it has
// ".", "e" or "E". What is no finite number is an [Error] with [CodeInvalidStudy].
func NumberValue(text string) (Value, error) {
	v, rest, problem := parseNumber(text)
	if problem == "" && rest != "" {
		problem = "is not a number"
	}
	if problem != "" {
		return Value{}, &Error{Code: CodeInvalidStudy, Stage: StageStudy, Message: Quote(text) + " " + problem}
	}
	return v, nil
}

func listValue(items []Value) Value { return Value{kind: KindList, nested: &nested{list: items}} }

func mapValue(members []Member) Value {
	return Value{kind: KindMap, nested: &nested{members: members}}
}

// Kind is what the value is.
func (v Value) Kind() Kind { return v.kind }

// Text is a scalar as it is written, without quotes; a list or mapping is its JSON.
func (v Value) Text() string {
	if v.kind == KindList || v.kind == KindMap {
		return string(appendCanonical(nil, v))
	}
	if v.kind == KindNull {
		return "null"
	}
	return v.text
}

// Bool is the value of a Bool.
func (v Value) Bool() (b, ok bool) { return v.text == "true", v.kind == KindBool }

// Int64 is the value of an Int that fits.
func (v Value) Int64() (int64, bool) {
	if v.kind != KindInt {
		return 0, false
	}
	i, err := strconv.ParseInt(v.text, 10, 64)
	return i, err == nil
}

// Float64 is the value of a Float, or of an Int rounded to the nearest.
func (v Value) Float64() (float64, bool) {
	if v.kind != KindFloat && v.kind != KindInt {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.text, 64)
	return f, err == nil
}

// Items are the values of a List.
func (v Value) Items() []Value {
	if v.nested == nil {
		return nil
	}
	return v.nested.list
}

// Members are the keys of a Map, in the document's order.
func (v Value) Members() []Member {
	if v.nested == nil {
		return nil
	}
	return v.nested.members
}

// Equal says whether both have the same canonical form: the same kinds, spellings
// and keys, in any order of the keys.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind || v.text != w.text {
		return false
	}
	if v.nested == nil || w.nested == nil {
		return len(v.Items())+len(v.Members()) == len(w.Items())+len(w.Members())
	}
	return slices.Equal(appendCanonical(nil, v), appendCanonical(nil, w))
}

// MarshalJSON writes the canonical form: keys sorted, no blanks, UTF-8 unescaped.
func (v Value) MarshalJSON() ([]byte, error) { return appendCanonical(nil, v), nil }

// UnmarshalJSON reads any JSON value whose mappings name no key twice.
func (v *Value) UnmarshalJSON(data []byte) error {
	parsed, problem := parseJSON(data)
	if problem != nil {
		return &Error{Code: CodeInvalidStudy, Stage: StageStudy, Message: problem.Message, Hint: problem.Hint, Problems: []Problem{*problem}}
	}
	*v = parsed
	return nil
}

// plain is v as encoding/json would decode it into an any, with numbers as
// json.Number so that their spelling survives.
func (v Value) plain() any {
	switch v.kind {
	case KindNull:
		return nil
	case KindBool:
		return v.text == "true"
	case KindInt, KindFloat:
		return json.Number(v.text)
	case KindString:
		return v.text
	case KindList:
		list := make([]any, len(v.Items()))
		for i, item := range v.Items() {
			list[i] = item.plain()
		}
		return list
	default:
		m := make(map[string]any, len(v.Members()))
		for _, member := range v.Members() {
			m[member.Key] = member.Value.plain()
		}
		return m
	}
}

// maxDigits bounds an integer as Python's own reader does.
const maxDigits = 4300

// parseNumber reads a JSON number at the start of s; problem says what is wrong.
func parseNumber(s string) (v Value, rest, problem string) {
	end, float := 0, false
	digits := func() bool {
		start := end
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		return end > start
	}
	if strings.HasPrefix(s, "-") {
		end++
	}
	switch {
	case end < len(s) && s[end] == '0':
		end++
	case !digits():
		return Value{}, s, "is not a number"
	}
	if end < len(s) && s[end] == '.' {
		end++
		float = true
		if !digits() {
			return Value{}, s, "is not a number"
		}
	}
	if end < len(s) && (s[end] == 'e' || s[end] == 'E') {
		end++
		float = true
		if end < len(s) && (s[end] == '+' || s[end] == '-') {
			end++
		}
		if !digits() {
			return Value{}, s, "is not a number"
		}
	}
	text, rest := s[:end], s[end:]
	switch {
	case !float && end > maxDigits:
		return Value{}, rest, "has more than " + strconv.Itoa(maxDigits) + " digits"
	case !float && text == "-0":
		return Value{kind: KindInt, text: "0"}, rest, ""
	case !float:
		return Value{kind: KindInt, text: strings.Clone(text)}, rest, ""
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Value{}, rest, "is too large for a number"
	}
	return Value{kind: KindFloat, text: pythonFloat(f)}, rest, ""
}

// pythonFloat is repr(f) of Python: the shortest digits that read back, with an
// exponent below 1e-4 and from 1e16, and always a point or an exponent.
func pythonFloat(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		panic("contracts: non-finite number")
	}
	scientific := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, err := strconv.Atoi(scientific[strings.IndexByte(scientific, 'e')+1:])
	if err != nil {
		panic(err)
	}
	if exponent < -4 || exponent >= 16 {
		return scientific // Go too writes two digits and the sign: 1e-05, 1e+16
	}
	decimal := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(decimal, ".") {
		decimal += ".0"
	}
	return decimal
}

// int64Sum guards counts: it is false when a·b + c does not fit.
func int64Sum(a, b, c int64) (int64, bool) {
	n := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	n.Add(n, big.NewInt(c))
	return n.Int64(), n.IsInt64()
}
