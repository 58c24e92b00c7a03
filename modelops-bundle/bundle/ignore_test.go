package bundle

import (
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// Every pattern says of every path what the library says.
func TestIgnoreAsLibrary(t *testing.T) {
	lines := append(strings.Fields(builtinIgnore), "*", "*/", "**", "a", "a/", "/a", "!a", "*a", "*.a", "a*", "a ", `\*a`, "[a]", "*a/", "a/b", "**/a", "?", "/a*", "/a*/", "a*b", "/b*a", "a**", "a*b*", "/*", "/a/b", "/", "*.py[cod]")
	names := []string{"a", "b", "ba", "b.a", "*a", ".env", ".env.x", "x.pyc", "id_rsa", "build", "venv", "é~", "a b", "A", "ab", "a.b", "aba"}
	for _, line := range lines {
		ours, theirs := parsePattern(line), gitignore.ParsePattern(line, nil)
		for _, first := range names {
			for _, path := range [][]string{{first}, {first, "c"}, {"c", first}, {"c", first, "c"}, {first, first}} {
				for _, dir := range []bool{false, true} {
					if got, want := ours.Match(path, dir), theirs.Match(path, dir); got != want {
						t.Errorf("%q of %q, a directory: %v: %v, the library says %v", line, path, dir, got, want)
					}
				}
			}
		}
	}
}
