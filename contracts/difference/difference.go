// Package difference finds where two outputs first differ, and shows it to people.
package difference

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"unicode/utf8"
)

// Difference is where two outputs first differ.
type Difference struct {
	Offset int64 // of the first byte that differs, or that only one has
	Line   int64 // the line that it is in, from 1; 0 for what is no text
	// The line in both, cut to what is around the offset; of what is no text, the bytes
	// from the offset on in hexadecimal.
	First, Second string
}

const (
	block   = 64 << 10 // bytes that are compared at a time
	lead    = 60       // bytes of a line that are shown before the difference
	excerpt = 100      // and from it on
	digits  = 16       // bytes that are shown of what is no text
)

// Find reads two streams as far as they are equal; nil when both end so.
func Find(x, y io.Reader) (*Difference, error) {
	a, b := make([]byte, block), make([]byte, block)
	at := position{line: 1}
	for {
		n, err := fill(x, a)
		if err != nil {
			return nil, err
		}
		m, err := fill(y, b)
		if err != nil {
			return nil, err
		}
		equal := common(a[:n], b[:m])
		at.pass(a[:equal])
		if equal == n && equal == m {
			if n < block {
				return nil, nil
			}
			continue
		}
		first, err := begin(a[equal:n], x)
		if err != nil {
			return nil, err
		}
		second, err := begin(b[equal:m], y)
		return at.describe(first, second), err
	}
}

// fill reads as much as fits and is there.
func fill(r io.Reader, into []byte) (int, error) {
	n, err := io.ReadFull(r, into)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

// begin is the beginning of what follows: what was read and, if that is little, more.
func begin(read []byte, r io.Reader) ([]byte, error) {
	into := make([]byte, excerpt+utf8.UTFMax)
	n, err := fill(io.MultiReader(bytes.NewReader(read), r), into)
	return into[:n], err
}

// common is how many bytes two slices have in common at their beginning.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	if bytes.Equal(a[:n], b[:n]) {
		return n
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i
}

// position is how far two streams are equal.
type position struct {
	offset int64
	line   int64
	binary bool   // a zero byte was among them
	before []byte // the end of the line so far
	cut    bool   // before is not all of it
}

// pass takes bytes that are equal in both.
func (p *position) pass(equal []byte) {
	p.offset += int64(len(equal))
	p.line += int64(bytes.Count(equal, []byte{'\n'}))
	p.binary = p.binary || bytes.IndexByte(equal, 0) >= 0
	if i := bytes.LastIndexByte(equal, '\n'); i >= 0 {
		p.before, p.cut, equal = p.before[:0], false, equal[i+1:]
	}
	p.before = append(p.before, equal[max(0, len(equal)-lead-utf8.UTFMax):]...)
	p.cut = p.cut || len(equal) > lead
	for len(p.before) > lead || p.cut && len(p.before) > 0 && !utf8.RuneStart(p.before[0]) {
		p.before, p.cut = p.before[1:], true
	}
}

// describe is the difference between what follows in both.
func (p *position) describe(first, second []byte) *Difference {
	d := &Difference{Offset: p.offset, First: p.lineWith(first), Second: p.lineWith(second)}
	if p.binary || !isText(d.First) || !isText(d.Second) {
		d.First, d.Second = hex.EncodeToString(first[:min(digits, len(first))]), hex.EncodeToString(second[:min(digits, len(second))])
		return d
	}
	d.Line = p.line
	return d
}

// lineWith is the line that the position is in, as it goes on with these bytes.
func (p *position) lineWith(rest []byte) string {
	line := append([]byte{}, p.before...)
	if p.cut {
		line = append([]byte("…"), line...)
	}
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	if len(rest) <= excerpt {
		return string(append(line, rest...))
	}
	end := excerpt
	for end > excerpt-utf8.UTFMax && !utf8.RuneStart(rest[end]) {
		end--
	}
	return string(append(line, rest[:end]...)) + "…"
}

func isText(s string) bool { return utf8.ValidString(s) && bytes.IndexByte([]byte(s), 0) < 0 }
