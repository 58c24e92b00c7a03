package contracts

import (
	"fmt"
	"log/slog"
)

// Secret is a password, key or connection string. Whatever prints or encodes it
// writes "[redacted]"; [Secret.Reveal] is the only way to the value.
type Secret string

const redacted = "[redacted]"

// Reveal is the value itself: for the one place that sends or stores it.
func (s Secret) Reveal() string { return string(s) }

// String is "[redacted]", or "" when there is nothing to hide.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return s.String() }

// Format hides the value from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue hides the value from structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
