package replay

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Output is one output of both.
type Output struct {
	Name            string      `json:"name"`
	Same            bool        `json:"same"`
	Recorded        *Bytes      `json:"recorded"` // null when there is no such output
	Replayed        *Bytes      `json:"replayed"` // likewise
	FirstDifference *Difference `json:"first_difference,omitempty"`
}

// Bytes say what an output's bytes are.
type Bytes struct {
	Size     int64  `json:"size"`
	Checksum string `json:"checksum"` // BLAKE2b-256
}

// Difference is where two outputs first differ.
type Difference struct {
	Offset int64 `json:"offset"`         // of the first byte that differs, or that only one has
	Line   int64 `json:"line,omitempty"` // the line that it is in, from 1; absent for what is no text
	// The line in both, cut to what is around the offset; of what is no text, the bytes
	// from the offset on in hexadecimal.
	Recorded string `json:"recorded"`
	Replayed string `json:"replayed"`
}

// compareOutputs compares the outputs of two results, by name.
func compareOutputs(ctx context.Context, recorded, replayed version) ([]Output, error) {
	names := slices.Concat(slices.Collect(maps.Keys(recorded.Outputs)), slices.Collect(maps.Keys(replayed.Outputs)))
	slices.Sort(names)
	outputs := []Output{}
	for _, name := range slices.Compact(names) {
		output := Output{Name: name, Recorded: bytesOf(recorded, name), Replayed: bytesOf(replayed, name)}
		both := output.Recorded != nil && output.Replayed != nil
		output.Same = both && *output.Recorded == *output.Replayed
		if both && !output.Same {
			var err error
			if output.FirstDifference, err = differ(ctx, name, recorded, replayed); err != nil {
				return nil, err
			}
		}
		outputs = append(outputs, output)
	}
	return outputs, nil
}

func bytesOf(v version, name string) *Bytes {
	artifact, ok := v.Outputs[name]
	if !ok {
		return nil
	}
	return &Bytes{Size: artifact.Size, Checksum: artifact.Checksum}
}

// differ finds where an output of both first differs.
func differ(ctx context.Context, name string, recorded, replayed version) (*Difference, error) {
	x, err := recorded.open(ctx, recorded.Outputs[name])
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.Close() }()
	y, err := replayed.open(ctx, replayed.Outputs[name])
	if err != nil {
		return nil, err
	}
	defer func() { _ = y.Close() }()
	d, err := firstDifference(x, y)
	if err == nil {
		_, err = io.Copy(io.Discard, x) // its end says whether these are the bytes that were stored
	}
	if err == nil && d == nil {
		err = &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageStore,
			Message: "output " + contracts.Quote(name) + " has equal bytes under different checksums"}
	}
	return d, err
}

const (
	block   = 64 << 10 // bytes that are compared at a time
	lead    = 60       // bytes of a line that are shown before the difference
	excerpt = 100      // and from it on
	digits  = 16       // bytes that are shown of what is no text
)

// firstDifference reads two streams as far as they are equal; nil when both end so.
func firstDifference(x, y io.Reader) (*Difference, error) {
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
		recorded, err := begin(a[equal:n], x)
		if err != nil {
			return nil, err
		}
		replayed, err := begin(b[equal:m], y)
		return at.describe(recorded, replayed), err
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
func (p *position) describe(recorded, replayed []byte) *Difference {
	d := &Difference{Offset: p.offset, Recorded: p.lineWith(recorded), Replayed: p.lineWith(replayed)}
	if p.binary || !isText(d.Recorded) || !isText(d.Replayed) {
		d.Recorded, d.Replayed = hex.EncodeToString(recorded[:min(digits, len(recorded))]), hex.EncodeToString(replayed[:min(digits, len(replayed))])
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
