package contracts

import (
	"strconv"
	"strings"
)

// scanYAML looks for what YAML can do and a configuration file must not: anchors,
// aliases, merge keys, tags and directives, which readers treat differently, and
// nesting beyond all use. It reads tokens only; whether the document is YAML at all
// is the parser's business. A string without quotes that goes on in a second line with
// one of these characters is taken for one of them, too: it wants quotes.
func scanYAML(text string) []Problem {
	s := &yamlScanner{text: text, line: 1, fresh: true}
	for s.at < len(s.text) && len(s.problems) < 20 {
		s.step()
	}
	return s.problems
}

type yamlScanner struct {
	text     string
	at       int
	line     int
	start    int  // where this line begins
	parent   int  // column of the last key or dash, which a block scalar is indented from
	flow     int  // open brackets
	fresh    bool // a node may start here; otherwise a scalar was just read
	quoted   bool // the last token was a quoted scalar
	problems []Problem
}

func (s *yamlScanner) report(what string) {
	s.problems = append(s.problems, Problem{
		Message: "has " + what + " (line " + strconv.Itoa(s.line) + ")",
		Hint:    "write the value out; in a string, put it in quotes",
	})
}

func (s *yamlScanner) step() {
	c := s.text[s.at]
	switch {
	case c == '\n':
		s.at++
		s.line++
		s.fresh, s.quoted = true, false
		s.start = s.at
	case c == ' ' || c == '\t' || c == '\r':
		s.at++
	case c == '#' && (s.at == 0 || strings.IndexByte(" \t\n", s.text[s.at-1]) >= 0):
		s.skipLine()
	case c == ':' && (s.blankAt(s.at+1) || s.flow > 0 && (s.quoted || s.at+1 < len(s.text) && strings.IndexByte(",[]{}", s.text[s.at+1]) >= 0)):
		s.at++
		s.fresh, s.quoted = true, false
	case s.flow > 0 && strings.IndexByte(",[]{}", c) >= 0, s.fresh && (c == '[' || c == '{'):
		s.bracket(c)
	case !s.fresh:
		s.at++
	case (c == '-' || c == '?') && s.blankAt(s.at+1):
		s.parent = s.at - s.start
		s.at++
	case c == '"' || c == '\'':
		s.skipQuoted(c)
	case (c == '|' || c == '>') && s.flow == 0:
		s.skipBlock()
	case c == '&' || c == '*' || c == '!':
		s.report(map[byte]string{'&': "an anchor", '*': "an alias", '!': "a tag"}[c])
		for s.at < len(s.text) && !s.blankAt(s.at) {
			s.at++
		}
	case c == '%' && (s.at == 0 || s.text[s.at-1] == '\n'):
		s.report("a directive")
		s.skipLine()
	default:
		if rest, found := strings.CutPrefix(s.text[s.at:], "<<"); found && strings.HasPrefix(strings.TrimLeft(rest, " "), ":") {
			s.report("a merge key")
		}
		s.parent = s.at - s.start
		s.fresh = false
		s.at++
	}
}

func (s *yamlScanner) bracket(c byte) {
	s.at++
	s.fresh, s.quoted = true, false
	switch c {
	case '[', '{':
		if s.flow++; s.flow > maxDepth {
			s.report("too many brackets in one another")
			s.at = len(s.text)
		}
	case ']', '}':
		s.flow--
		s.fresh, s.quoted = false, true
	}
}

func (s *yamlScanner) blankAt(i int) bool {
	return i >= len(s.text) || strings.IndexByte(" \t\r\n", s.text[i]) >= 0
}

func (s *yamlScanner) skipLine() {
	if i := strings.IndexByte(s.text[s.at:], '\n'); i >= 0 {
		s.at += i
	} else {
		s.at = len(s.text)
	}
}

func (s *yamlScanner) skipQuoted(quote byte) {
	s.parent = s.at - s.start
	s.fresh, s.quoted = false, true
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '\n':
			s.line++
			s.start = s.at + 1
		case c == '\\' && quote == '"':
			s.at++
		case c == quote:
			s.at++
			return
		}
	}
}

// skipBlock passes over the lines of a | or > scalar: those indented deeper than
// the key or dash that it belongs to.
func (s *yamlScanner) skipBlock() {
	s.skipLine()
	for s.at < len(s.text) { // at a line's end
		next := s.text[s.at+1:]
		line, _, _ := strings.Cut(next, "\n")
		depth := len(line) - len(strings.TrimLeft(line, " "))
		if strings.TrimSpace(line) != "" && depth <= s.parent {
			return
		}
		s.at += 1 + len(line)
		s.line++
	}
}
