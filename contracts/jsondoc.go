package contracts

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of every document.
const maxDepth = 64

// parseJSON reads one JSON document strictly: valid UTF-8, no key twice in a
// mapping, no NaN, nothing after it. encoding/json would let a repeated key win and
// would replace what is not UTF-8, so that two documents could hash alike.
func parseJSON(data []byte) (Value, *Problem) {
	p := &jsonParser{text: string(data)}
	if strings.HasPrefix(p.text, "\ufeff") {
		p.fail("begins with a byte order mark", "save it as UTF-8 without one")
		return Value{}, p.problem
	}
	p.blanks()
	v, ok := p.value(0)
	if ok {
		p.blanks()
		if p.at < len(p.text) {
			p.fail("has text after its end", "one document is one JSON value")
		}
	}
	return v, p.problem
}

type jsonParser struct {
	text    string
	at      int
	path    []string // keys and indexes that lead here
	keys    map[string]string
	problem *Problem
}

// fail records the first problem, with line and column.
func (p *jsonParser) fail(message, hint string) (Value, bool) {
	if p.problem == nil {
		read := p.text[:p.at]
		line := 1 + strings.Count(read, "\n")
		column := 1 + utf8.RuneCountInString(read[strings.LastIndexByte(read, '\n')+1:])
		p.problem = &Problem{
			Field:   strings.Join(p.path, "."),
			Message: fmt.Sprintf("%s (line %d, column %d)", message, line, column),
			Hint:    hint,
		}
	}
	return Value{}, false
}

func (p *jsonParser) blanks() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *jsonParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (Value, bool) {
	rest := p.text[p.at:]
	switch {
	case depth > maxDepth:
		return p.fail("is nested too deeply", "at most "+strconv.Itoa(maxDepth)+" levels")
	case rest == "":
		return p.fail("ends too early", "the file may have been cut off")
	case rest[0] == '{':
		return p.object(depth)
	case rest[0] == '[':
		return p.list(depth)
	case rest[0] == '"':
		s, ok := p.string()
		return StringValue(s), ok
	case rest[0] == '-' || rest[0] >= '0' && rest[0] <= '9':
		return p.number()
	}
	switch {
	case strings.HasPrefix(rest, "true"):
		p.at += len("true")
		return BoolValue(true), true
	case strings.HasPrefix(rest, "false"):
		p.at += len("false")
		return BoolValue(false), true
	case strings.HasPrefix(rest, "null"):
		p.at += len("null")
		return Value{}, true
	}
	for _, word := range []string{"NaN", "Infinity"} {
		if strings.HasPrefix(rest, word) {
			return p.fail(word+" is not allowed", "a number is finite")
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return p.fail("has "+Quote(string(r))+" where a value is due", "mend that line; a string belongs in double quotes")
}

func (p *jsonParser) number() (Value, bool) {
	if strings.HasPrefix(p.text[p.at:], "-Infinity") {
		return p.fail("-Infinity is not allowed", "a number is finite")
	}
	v, rest, problem := parseNumber(p.text[p.at:])
	if problem != "" {
		end := p.at
		for end < len(p.text) && strings.IndexByte("+-.0123456789eE", p.text[end]) >= 0 {
			end++
		}
		return p.fail(Quote(p.text[p.at:end])+" "+problem, "write it as JSON does, as in 0.5 or 1e-3")
	}
	p.at = len(p.text) - len(rest)
	return v, true
}

func (p *jsonParser) list(depth int) (Value, bool) {
	p.at++
	items := []Value{}
	p.blanks()
	if p.take(']') {
		return listValue(items), true
	}
	p.path = append(p.path, "")
	defer func() { p.path = p.path[:len(p.path)-1] }()
	for {
		p.path[len(p.path)-1] = strconv.Itoa(len(items))
		p.blanks()
		item, ok := p.value(depth + 1)
		if !ok {
			return item, false
		}
		items = append(items, item)
		p.blanks()
		switch {
		case p.take(']'):
			return listValue(items), true
		case !p.take(','):
			return p.fail("has a list without , or ]", "write a comma between two items, ] after the last")
		}
	}
}

func (p *jsonParser) object(depth int) (Value, bool) {
	p.at++
	members := []Member{}
	p.blanks()
	if p.take('}') {
		return mapValue(members), true
	}
	p.path = append(p.path, "")
	defer func() { p.path = p.path[:len(p.path)-1] }()
	seen := newKeySet()
	for {
		p.path[len(p.path)-1] = "?"
		p.blanks()
		if p.at >= len(p.text) || p.text[p.at] != '"' {
			return p.fail("has a mapping without a key in quotes", `write "key": value, and no comma after the last`)
		}
		start := p.at
		key, ok := p.string()
		if !ok {
			return Value{}, false
		}
		p.path[len(p.path)-1] = fieldKey(key)
		if !seen.add(key, members) {
			p.at = start
			return p.fail("key "+Quote(key)+" is there twice", "keep one of the two")
		}
		p.blanks()
		if !p.take(':') {
			return p.fail("key "+Quote(key)+" has no value", `write "key": value`)
		}
		p.blanks()
		v, ok := p.value(depth + 1)
		if !ok {
			return v, false
		}
		members = append(members, Member{p.intern(key), v})
		p.blanks()
		switch {
		case p.take('}'):
			return mapValue(members), true
		case !p.take(','):
			return p.fail("has a mapping without , or }", "write a comma between two keys, } after the last")
		}
	}
}

// intern gives equal keys the same memory: the sets of a study repeat theirs
// thousands of times.
func (p *jsonParser) intern(key string) string {
	const most = 1024
	known, there := p.keys[key]
	if there {
		return known
	}
	if p.keys == nil {
		p.keys = map[string]string{}
	}
	if len(p.keys) < most {
		p.keys[key] = key
	}
	return key
}

// keySet finds a repeated key. Small mappings, of which a study has thousands, are
// searched as they are; only large ones pay for a set.
type keySet struct{ keys map[string]struct{} }

func newKeySet() *keySet { return &keySet{} }

func (s *keySet) add(key string, before []Member) bool {
	const small = 16
	if len(before) < small {
		for _, m := range before {
			if m.Key == key {
				return false
			}
		}
		return true
	}
	if s.keys == nil {
		s.keys = make(map[string]struct{}, 2*len(before))
		for _, m := range before {
			s.keys[m.Key] = struct{}{}
		}
	}
	if _, there := s.keys[key]; there {
		return false
	}
	s.keys[key] = struct{}{}
	return true
}

// string reads a quoted string. What cannot be UTF-8 is refused: a lone surrogate
// has no bytes to hash.
func (p *jsonParser) string() (string, bool) {
	start := p.at + 1
	for end := start; end < len(p.text); end++ {
		switch c := p.text[end]; {
		case c == '"':
			s := p.text[start:end]
			if !utf8.ValidString(s) {
				_, ok := p.fail("is not valid UTF-8", "save the file as UTF-8")
				return "", ok
			}
			p.at = end + 1
			return strings.Clone(s), true
		case c == '\\':
			return p.escapedString(start)
		case c < ' ':
			p.at = end
			_, ok := p.fail("has a control character in a string", "escape it as \\u00XX")
			return "", ok
		}
	}
	p.at = len(p.text)
	_, ok := p.fail("has a string without an end", "the file may have been cut off")
	return "", ok
}

func (p *jsonParser) escapedString(start int) (string, bool) {
	var b strings.Builder
	for p.at = start; p.at < len(p.text); {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '"':
			s := b.String()
			if !utf8.ValidString(s) {
				_, ok := p.fail("is not valid UTF-8", "save the file as UTF-8")
				return "", ok
			}
			return s, true
		case c < ' ':
			_, ok := p.fail("has a control character in a string", "escape it as \\u00XX")
			return "", ok
		case c != '\\':
			b.WriteByte(c)
		default:
			if r, ok := p.escape(); ok {
				b.WriteRune(r)
			} else {
				return "", false
			}
		}
	}
	_, ok := p.fail("has a string without an end", "the file may have been cut off")
	return "", ok
}

// escape reads what follows a backslash.
func (p *jsonParser) escape() (rune, bool) {
	if p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
			return rune("\"\\/\b\f\n\r\t"[i]), true
		}
		if c == 'u' {
			r, ok := p.hex4()
			if ok && utf16.IsSurrogate(r) {
				if strings.HasPrefix(p.text[p.at:], `\u`) {
					p.at += 2
					var low rune
					low, ok = p.hex4()
					r = utf16.DecodeRune(r, low)
				}
				ok = ok && r != utf8.RuneError && !utf16.IsSurrogate(r)
			}
			if ok {
				return r, true
			}
		}
	}
	_, ok := p.fail("has an invalid escape in a string", `write \\ for a backslash`)
	return 0, ok
}

func (p *jsonParser) hex4() (rune, bool) {
	if p.at+4 > len(p.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16)
	p.at += 4
	return rune(n), err == nil
}
