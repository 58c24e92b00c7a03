package command

import (
	"math"
	"strings"
)

// arity is how many arguments a command takes, read from its ArgsUsage.
type arity struct {
	names    []string // of the required arguments, in order
	min, max int
}

// parseArity reads the notation of [cli.Command.ArgsUsage]: NAME is required, [NAME]
// may be left out, and NAME... may be repeated.
func parseArity(usage string) arity {
	var a arity
	depth := 0
	for field := range strings.FieldsSeq(usage) {
		depth += strings.Count(field, "[")
		name := strings.Trim(field, "[]")
		many := strings.HasSuffix(name, "...")
		name = strings.TrimSuffix(name, "...")
		if name != "" && name != "--" {
			if depth == 0 {
				a.names = append(a.names, name)
				a.min++
			}
			if many {
				a.max = math.MaxInt
			} else if a.max < math.MaxInt {
				a.max++
			}
		}
		depth -= strings.Count(field, "]")
	}
	return a
}
