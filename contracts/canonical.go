package contracts

import (
	"slices"
	"strings"
)

// appendCanonical writes v as Python's json.dumps does with sorted keys, the
// separators "," and ":", and ensure_ascii off. This is the form that is hashed: it
// must never change.
func appendCanonical(b []byte, v Value) []byte {
	switch v.kind {
	case KindNull:
		return append(b, "null"...)
	case KindString:
		return appendCanonicalString(b, v.text)
	case KindList:
		b = append(b, '[')
		for i, item := range v.Items() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, item)
		}
		return append(b, ']')
	case KindMap:
		members := slices.Clone(v.Members())
		slices.SortFunc(members, func(x, y Member) int { return strings.Compare(x.Key, y.Key) })
		b = append(b, '{')
		for i, member := range members {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonicalString(b, member.Key)
			b = append(b, ':')
			b = appendCanonical(b, member.Value)
		}
		return append(b, '}')
	default:
		return append(b, v.text...)
	}
}

// appendCanonicalString escapes quotes, backslashes and control characters below
// U+0020, and nothing else: not <, >, & and not U+2028, which encoding/json escapes.
func appendCanonicalString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
