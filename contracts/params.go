package contracts

import (
	"fmt"
	"maps"
	"slices"
)

// Params are the parameters of one simulation, by name.
type Params map[string]Value

// Names are the parameters' names in the order that they are hashed in.
func (p Params) Names() []string { return slices.Sorted(maps.Keys(p)) }

// Equal says whether both have the same names with equal values.
func (p Params) Equal(q Params) bool { return maps.EqualFunc(p, q, Value.Equal) }

// MarshalJSON writes the canonical form, the one that [Params.ID] hashes.
func (p Params) MarshalJSON() ([]byte, error) { return p.appendCanonical(nil), nil }

// UnmarshalJSON reads a mapping that names no key twice.
func (p *Params) UnmarshalJSON(data []byte) error {
	var v Value
	if err := v.UnmarshalJSON(data); err != nil {
		return err
	}
	if v.kind != KindMap {
		return &Error{Code: CodeInvalidStudy, Stage: StageStudy, Message: fmt.Sprintf("parameters are %v, not a mapping", v.kind)}
	}
	*p = paramsOf(v)
	return nil
}

func paramsOf(v Value) Params {
	p := make(Params, len(v.Members()))
	for _, m := range v.Members() {
		p[m.Key] = m.Value
	}
	return p
}

func (p Params) appendCanonical(b []byte) []byte {
	b = append(b, '{')
	for i, name := range p.Names() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendCanonicalString(b, name)
		b = append(b, ':')
		b = appendCanonical(b, p[name])
	}
	return append(b, '}')
}

// checkParams reports every parameter that is not a scalar: simulations take
// numbers, strings and booleans.
func checkParams(params Params, field string, add func(field, message, hint string)) {
	for _, name := range params.Names() {
		switch kind := params[name].kind; kind {
		case KindBool, KindInt, KindFloat, KindString:
		default:
			add(field+"."+fieldKey(name), "is "+kind.String(), "a parameter is a number, a string or a boolean")
		}
		if name == "" {
			add(field, "has a parameter without a name", "give it one")
		}
	}
}
