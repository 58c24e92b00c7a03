package contracts

import (
	"fmt"
	"strconv"
	"strings"
)

// appendYAML writes a mapping as a YAML document in block style. Every string is in
// double quotes, so that no reader takes it for anything else.
func appendYAML(out []byte, document Value) []byte {
	return appendYAMLMembers(out, document.Members(), 0)
}

func appendYAMLMembers(out []byte, members []Member, indent int) []byte {
	for _, member := range members {
		out = append(out, strings.Repeat(" ", indent)...)
		if plainKey().MatchString(member.Key) && !reservedKey().MatchString(member.Key) {
			out = append(out, member.Key...)
		} else {
			out = appendYAMLString(out, member.Key)
		}
		out = append(out, ':')
		out = appendYAMLNode(out, member.Value, indent)
	}
	return out
}

var (
	plainKey    = pattern(`\A[A-Za-z_][A-Za-z0-9_]*\z`)
	reservedKey = pattern(`\A(?i:y|n|yes|no|on|off|true|false|null)\z`)
)

// appendYAMLNode writes what follows a key or a dash, to the end of the line.
func appendYAMLNode(out []byte, v Value, indent int) []byte {
	switch {
	case v.kind == KindMap && len(v.Members()) > 0:
		return appendYAMLMembers(append(out, '\n'), v.Members(), indent+2)
	case v.kind == KindList && len(v.Items()) > 0:
		out = append(out, '\n')
		for _, item := range v.Items() {
			out = append(out, strings.Repeat(" ", indent+2)...)
			out = append(out, '-')
			out = appendYAMLNode(out, item, indent+2)
		}
		return out
	}
	out = append(out, ' ')
	switch v.kind {
	case KindMap:
		out = append(out, "{}"...)
	case KindList:
		out = append(out, "[]"...)
	case KindString:
		out = appendYAMLString(out, v.text)
	case KindFloat:
		text := v.text
		if !strings.Contains(text, ".") { // YAML 1.1 takes 1e+16 for a string
			text = strings.Replace(text, "e", ".0e", 1)
		}
		out = append(out, text...)
	default:
		out = append(out, v.Text()...)
	}
	return append(out, '\n')
}

// appendYAMLString writes a double-quoted scalar. It differs from JSON above U+FFFF,
// where YAML has an escape of eight digits and no surrogates.
func appendYAMLString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r == '\r':
			out = append(out, `\r`...)
		case strconv.IsPrint(r):
			out = append(out, string(r)...)
		case r < 0x100:
			out = fmt.Appendf(out, `\x%02X`, r)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04X`, r)
		default:
			out = fmt.Appendf(out, `\U%08X`, r)
		}
	}
	return append(out, '"')
}
