package contracts

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that is compiled when it is first asked for. Every
// program of the suite links this package and most runs need few of its patterns:
// compiling them all took a third of the time in which bundle-worker starts.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
