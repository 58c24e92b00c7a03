package contracts

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// problemList collects the faults of one document. Only the first fault of a field
// is kept: the others would follow from it.
type problemList struct {
	list    []Problem
	fields  map[string]bool
	dropped int // beyond maxProblems
}

// maxProblems bounds a list that a document of thousands of parameter sets can fill.
const maxProblems = 100

func (l *problemList) add(field, message, hint string) {
	if l.has(field) {
		return
	}
	if l.fields == nil {
		l.fields = map[string]bool{}
	}
	if len(l.list) == maxProblems {
		l.dropped++
		return
	}
	l.fields[field] = true
	l.list = append(l.list, Problem{Field: field, Message: message, Hint: hint})
}

// has says whether field, or the mapping that it lies in, has a fault already.
func (l *problemList) has(field string) bool {
	for {
		if l.fields[field] {
			return true
		}
		i := strings.LastIndexByte(field, '.')
		if i < 0 {
			return false
		}
		field = field[:i]
	}
}

// err is the error that reports every problem of the document, or nil. what names
// the kind of document, file the one that is meant.
func (l *problemList) err(code Code, stage Stage, what, file string) error {
	if len(l.list) == 0 {
		return nil
	}
	e := documentError(code, stage, what, file, l.list)
	if l.dropped > 0 {
		e.Problems = append(e.Problems, Problem{Message: strconv.Itoa(l.dropped) + " more problems are not listed"})
	}
	return e
}

func documentError(code Code, stage Stage, what, file string, problems []Problem) *Error {
	first := problems[0]
	message := what
	if file != "" {
		message += " " + Quote(file)
	}
	message += ": " + first.String()
	switch more := len(problems) - 1; more {
	case 0:
	case 1:
		message += " (and 1 more problem)"
	default:
		message += " (and " + strconv.Itoa(more) + " more problems)"
	}
	return &Error{Code: code, Stage: stage, Message: message, Hint: first.Hint, Problems: problems}
}

// String is the field and what is wrong with it.
func (p Problem) String() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + " " + p.Message
}

// mapping reads the keys of one mapping of a document with the types that the
// contract gives them. Null is the same as absent.
type mapping struct {
	field    string // "registry."; empty at the top
	members  []Member
	known    map[string]bool
	problems *problemList
}

// readMapping expects a mapping at field; nil and a problem if it is anything else.
func readMapping(v Value, field string, problems *problemList) *mapping {
	if v.kind != KindMap {
		problems.add(field, "is "+v.kind.String()+", not a mapping", "write it as key: value")
		return nil
	}
	m := &mapping{members: v.Members(), known: map[string]bool{}, problems: problems}
	if field != "" {
		m.field = field + "."
	}
	return m
}

// get is the value of key, and whether it is there and not null.
func (m *mapping) get(key string) (Value, bool) {
	m.known[key] = true
	for _, member := range m.members {
		if member.Key == key {
			return member.Value, member.Value.kind != KindNull
		}
	}
	return Value{}, false
}

// text reads a string that is not blank.
func (m *mapping) text(key string) string {
	s, there := m.anyText(key)
	if there && strings.TrimSpace(s) == "" {
		m.problems.add(m.field+key, "is blank", "give it a value, or leave the key out")
		return ""
	}
	return s
}

// anyText reads a string that may be blank.
func (m *mapping) anyText(key string) (string, bool) {
	v, there := m.get(key)
	if !there {
		return "", false
	}
	if v.kind != KindString {
		hint := "it is one value"
		if v.nested == nil {
			hint = "put it in quotes"
		}
		m.problems.add(m.field+key, "is "+v.kind.String()+", not a string", hint)
		return "", false
	}
	if problem := controlCharacter(v.text); problem != "" {
		m.problems.add(m.field+key, problem, "remove it")
		return "", false
	}
	return v.text, true
}

func (m *mapping) flag(key string) bool {
	v, there := m.get(key)
	if there && v.kind != KindBool {
		m.problems.add(m.field+key, "is "+v.kind.String()+", not a boolean", "write true or false, without quotes")
	}
	return v.text == "true" && v.kind == KindBool
}

// integer reads a whole number of at least minimum; otherwise is what it is when absent.
func (m *mapping) integer(key string, minimum, otherwise int64) int64 {
	v, there := m.get(key)
	if !there {
		return otherwise
	}
	if v.kind != KindInt {
		m.problems.add(m.field+key, "is "+v.kind.String()+", not an integer", "write a whole number without quotes")
		return otherwise
	}
	i, fits := v.Int64()
	switch {
	case !fits:
		m.problems.add(m.field+key, "is out of range", "write a smaller number")
	case i < minimum:
		m.problems.add(m.field+key, "is "+v.text, "it is at least "+strconv.FormatInt(minimum, 10))
	}
	return i
}

// texts reads a list of strings that are not blank.
func (m *mapping) texts(key string) []string {
	v, there := m.get(key)
	if !there {
		return nil
	}
	if v.kind != KindList {
		m.problems.add(m.field+key, "is "+v.kind.String()+", not a list", "write it as a list, even of one")
		return nil
	}
	list := make([]string, 0, len(v.Items()))
	for i, item := range v.Items() {
		field := m.field + key + "." + strconv.Itoa(i)
		switch {
		case item.kind != KindString:
			m.problems.add(field, "is "+item.kind.String()+", not a string", "put it in quotes")
		case strings.TrimSpace(item.text) == "":
			m.problems.add(field, "is blank", "leave it out")
		case controlCharacter(item.text) != "":
			m.problems.add(field, controlCharacter(item.text), "remove it")
		default:
			list = append(list, item.text)
		}
	}
	return list
}

// sub reads a mapping; nil when it is absent or broken.
func (m *mapping) sub(key string) *mapping {
	v, there := m.get(key)
	if !there {
		return nil
	}
	return readMapping(v, m.field+key, m.problems)
}

// require reports every one of keys that is absent.
func (m *mapping) require(hint string, keys ...string) {
	for _, key := range keys {
		if _, there := m.get(key); !there {
			m.problems.add(m.field+key, "is missing", hint)
		}
	}
}

// rest are the members that nobody asked for.
func (m *mapping) rest() []Member {
	var rest []Member
	for _, member := range m.members {
		if !m.known[member.Key] {
			rest = append(rest, member)
		}
	}
	return rest
}

// unknown are the members that nobody asked for. A key that differs from a known
// one only in case is a problem, because readers disagree about it.
func (m *mapping) unknown() []Member {
	var rest []Member
	for _, member := range m.rest() {
		if known := m.sameButCase(member.Key); known != "" {
			m.problems.add(m.field+fieldKey(member.Key), "differs from the key "+known+" only in case", "write "+known)
			continue
		}
		rest = append(rest, member)
	}
	return rest
}

// fieldKey is a document's own key as part of a field: as it is when it is plain,
// otherwise quoted.
func fieldKey(key string) string {
	if plainField().MatchString(key) {
		return key
	}
	return Quote(key)
}

var plainField = pattern(`\A[A-Za-z0-9_-]{1,64}\z`)

// nearestKnown is the known key that key was probably meant to be, or "".
func (m *mapping) nearestKnown(key string) string {
	return Nearest(key, slices.Collect(maps.Keys(m.known)))
}

// editDistance counts the insertions, deletions and replacements between a and b; it
// gives up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}

// warnings are the unknown members as problems for a writer.
func (m *mapping) warnings(unknown []Member, hint string) []Problem {
	var list []Problem
	for _, member := range unknown {
		p := Problem{Field: m.field + fieldKey(member.Key), Message: "is not a key of the contract; it has no effect", Hint: hint}
		if nearest := m.nearestKnown(member.Key); nearest != "" {
			p.Hint = "did you mean " + nearest + "?"
		}
		list = append(list, p)
	}
	return list
}

func (m *mapping) sameButCase(key string) string {
	for known := range m.known {
		if strings.EqualFold(known, key) {
			return known
		}
	}
	return ""
}

// controlCharacter says that s has one, which no value of a document needs.
func controlCharacter(s string) string {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return "has the control character " + quoteASCII(string(r))
		}
	}
	return ""
}
