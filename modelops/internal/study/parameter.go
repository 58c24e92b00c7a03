// Package study makes the parameter sets of studies: grids, space-filling samples, and
// tables that somebody has already. What it makes is a function of its input alone.
package study

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Parameter is one parameter of a design: a list of values, or a range.
type Parameter struct {
	Name   string
	Values []contracts.Value // of a list
	Range  *Range
}

// Range is a range of numbers, both ends included.
type Range struct {
	Low, High *big.Rat // exactly as they were written
	Int       bool     // whole numbers only
	Steps     int      // of a grid: how many values; 0 when none was given
}

// ParseParameter reads what people type:
//
//	beta=0.1,0.2,0.5         a list; numbers keep their spelling, other words are strings
//	beta=0.1:0.5             a range
//	beta=0.1:0.5:5           a range in so many equal steps
//	population=int:100:1000  a range of whole numbers
//
// The error is a [contracts.Error] with [contracts.CodeUsage].
func ParseParameter(text string) (Parameter, error) {
	name, value, found := strings.Cut(text, "=")
	if !found || strings.TrimSpace(name) != name || name == "" {
		return Parameter{}, usage("parameter %s is not NAME=VALUES", contracts.Quote(text))
	}
	p := Parameter{Name: name}
	parts := strings.Split(value, ":")
	whole := parts[0] == "int" && len(parts) > 1
	if whole {
		parts = parts[1:]
	}
	if len(parts) > 1 {
		r, err := parseRange(parts, whole)
		if err != nil {
			return Parameter{}, usage("parameter %s: %v", contracts.Quote(text), err)
		}
		p.Range = r
		return p, nil
	}
	if whole {
		return Parameter{}, usage("parameter %s: int: is followed by LOW:HIGH", contracts.Quote(text))
	}
	for item := range strings.SplitSeq(value, ",") {
		v, err := Scalar(strings.TrimSpace(item))
		if err != nil {
			return Parameter{}, usage("parameter %s: %v", contracts.Quote(text), err)
		}
		p.Values = append(p.Values, v)
	}
	return p, nil
}

func usage(format string, args ...any) error {
	return &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageCommand, Message: fmt.Sprintf(format, args...),
		Hint: "as in beta=0.1:0.5:5, gamma=0.1,0.2 or population=int:100:1000"}
}

func parseRange(parts []string, whole bool) (*Range, error) {
	if len(parts) > 3 {
		return nil, fmt.Errorf("has %d parts; a range is LOW:HIGH or LOW:HIGH:STEPS", len(parts))
	}
	r := &Range{Int: whole}
	for i, end := range []**big.Rat{&r.Low, &r.High} {
		if !numberPattern.MatchString(parts[i]) {
			return nil, fmt.Errorf("%s is not a number", contracts.Quote(parts[i]))
		}
		value, ok := new(big.Rat).SetString(parts[i])
		if f, _ := value.Float64(); !ok || f-f != 0 {
			return nil, fmt.Errorf("%s is out of range", contracts.Quote(parts[i]))
		}
		if whole && !value.IsInt() {
			return nil, fmt.Errorf("%s is not a whole number", contracts.Quote(parts[i]))
		}
		*end = value
	}
	if r.Low.Cmp(r.High) >= 0 {
		return nil, fmt.Errorf("%s is not below %s", contracts.Quote(parts[0]), contracts.Quote(parts[1]))
	}
	if len(parts) == 3 {
		steps, err := strconv.Atoi(parts[2])
		if err != nil || steps < 2 {
			return nil, fmt.Errorf("%s is not a number of steps; at least 2", contracts.Quote(parts[2]))
		}
		r.Steps = steps
	}
	return r, nil
}

var (
	numberPattern = regexp.MustCompile(`\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?\z`)
	codePattern   = regexp.MustCompile(`\A0[0-9]+\z`)
)

// Scalar is the value that a word stands for: a number as JSON writes it, a boolean, or
// else a string. Digits behind a zero are a string: they name something. What some
// programs take for a number and others do not is refused.
func Scalar(word string) (contracts.Value, error) {
	switch {
	case word == "":
		return contracts.Value{}, fmt.Errorf("a value is missing")
	case numberPattern.MatchString(word):
		v, err := contracts.NumberValue(word)
		if err != nil {
			return contracts.Value{}, fmt.Errorf("%s", contracts.AsError(err).Message)
		}
		return v, nil
	case strings.EqualFold(word, "true"), strings.EqualFold(word, "false"):
		return contracts.BoolValue(strings.EqualFold(word, "true")), nil
	case codePattern.MatchString(word):
		return contracts.StringValue(word), nil
	}
	if f, err := strconv.ParseFloat(word, 64); err == nil {
		if f-f != 0 {
			return contracts.Value{}, fmt.Errorf("%s is not a finite number", contracts.Quote(word))
		}
		return contracts.Value{}, fmt.Errorf("%s is not written as a number here; write %s", contracts.Quote(word), strconv.FormatFloat(f, 'g', -1, 64))
	}
	return contracts.StringValue(word), nil
}

// at is the value at a fraction of the range.
func (r *Range) at(fraction *big.Rat) (contracts.Value, error) {
	x := new(big.Rat).Sub(r.High, r.Low)
	x.Mul(x, fraction).Add(x, r.Low)
	if !r.Int {
		f, _ := x.Float64()
		return contracts.FloatValue(f)
	}
	if !x.IsInt() {
		return contracts.Value{}, fmt.Errorf("%s to %s does not divide into %d whole numbers", r.Low.RatString(), r.High.RatString(), r.Steps)
	}
	return contracts.NumberValue(x.Num().String())
}

// check refuses names that occur twice.
func check(params []Parameter) error {
	if len(params) == 0 {
		return usage("there is no parameter")
	}
	seen := map[string]bool{}
	for _, p := range params {
		if seen[p.Name] {
			return usage("parameter %s is given twice", contracts.Quote(p.Name))
		}
		seen[p.Name] = true
	}
	return nil
}
