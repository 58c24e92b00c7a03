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

// A name in a directory that is not left out is judged as its whole path is.
func TestIgnoreInDirectory(t *testing.T) {
	names := []string{"a", "build", "x.pyc", ".git", ".env.x", "venv", "dist", "b~", "keep"}
	for content, plain := range map[string]bool{"": true, "keep\n": true, "/a/\n*.pyc\n": true, "*\n!a\n!keep\n": false, "a/b\n": false, "!x.pyc\n": false} {
		ignore := ParseIgnore(content)
		if got := ignore.plain != nil; got != plain {
			t.Errorf("the patterns %q are all plain: %v", content, got)
		}
		for _, dir := range []string{".", "a", "build", "a/build", "keep/dist", "c"} {
			if dir != "." && ignore.Match(dir, true) || strings.Contains(dir, "/") && ignore.Match(dir[:strings.Index(dir, "/")], true) {
				continue
			}
			for _, name := range names {
				for _, isDir := range []bool{false, true} {
					if got, want := ignore.matchIn(dir, name, isDir), ignore.Match(below(dir, name), isDir); got != want {
						t.Errorf("%q leaves out %s in %s, a directory: %v: %v, and its path %v", content, name, dir, isDir, got, want)
					}
				}
			}
		}
	}
}
