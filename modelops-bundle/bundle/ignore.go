package bundle

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// IgnoreFile lists, in a project's directory, what is not part of the bundle: the rules
// of gitignore, on top of the built-in ones, which it may undo with "!".
const IgnoreFile = ".modelopsignore"

// builtinIgnore is what is never meant: other programs' state, and secrets. Patterns
// for directories that a model may well have of its own, such as build, hold at the top
// only.
const builtinIgnore = `
.git
/.modelops-bundle/
__pycache__/
*.pyc
*.pyo
*.pyd
*.egg-info/
/build/
/dist/
/env/
.venv/
venv/
node_modules/
.ipynb_checkpoints/
.pytest_cache/
.mypy_cache/
.ruff_cache/
.tox/
.coverage
htmlcov/
.Rproj.user/
.Rhistory
.RData
.idea/
.vscode/
*.swp
*~
.DS_Store
Thumbs.db
desktop.ini
.env
.env.*
*.pem
*.key
id_rsa
id_dsa
id_ecdsa
id_ed25519
.netrc
.pypirc
`

// Ignore decides which files of a project are left out.
type Ignore struct {
	matcher gitignore.Matcher
	plain   []plain // all the patterns, where all are: nothing puts back what they leave out
}

// ParseIgnore makes the rules of an ignore file's content, which may be empty, and the
// built-in ones.
func ParseIgnore(content string) Ignore {
	var patterns []gitignore.Pattern
	var simple []plain
	for _, line := range strings.Split(builtinIgnore+content, "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern := parsePattern(line)
		patterns = append(patterns, pattern)
		if p, ok := pattern.(plain); ok {
			simple = append(simple, p)
		}
	}
	if len(simple) < len(patterns) {
		simple = nil
	}
	return Ignore{gitignore.NewMatcher(patterns), simple}
}

// parsePattern is a line as the library understands it, or as [plain], which says the same.
func parsePattern(line string) gitignore.Pattern {
	name, directory := strings.CutSuffix(line, "/")
	name, top := strings.CutPrefix(name, "/")
	begin, end, star := strings.Cut(name, "*")
	if begin+end == "" || strings.ContainsAny(begin+end, `*?[\/! `) {
		return gitignore.ParsePattern(line, nil)
	}
	return plain{begin, end, star, top, directory}
}

// plain is what most patterns are: a name, or its beginning and its end, at the top or at
// any depth. The library takes as long for all patterns of a path as the system for its
// file.
type plain struct {
	begin, end           string
	star, top, directory bool
}

// Match says whether the pattern leaves out the path.
func (p plain) Match(path []string, isDir bool) gitignore.MatchResult {
	for i, name := range path {
		if p.matches(name) {
			if p.directory && !isDir && i == len(path)-1 {
				return gitignore.NoMatch
			}
			return gitignore.Exclude
		}
		if p.top {
			break
		}
	}
	return gitignore.NoMatch
}

func (p plain) matches(name string) bool {
	if !p.star {
		return name == p.begin
	}
	return len(name) >= len(p.begin)+len(p.end) && strings.HasPrefix(name, p.begin) && strings.HasSuffix(name, p.end)
}

// Match says whether the file or directory at the slash-separated path is left out. As
// in Git, nothing below a directory that is left out can be put back.
func (g Ignore) Match(path string, dir bool) bool {
	return g.matcher.Match(strings.Split(path, "/"), dir)
}

// matchIn is Match for a name in a directory that is not left out itself, "." at the top.
func (g Ignore) matchIn(dir, name string, isDir bool) bool {
	if g.plain == nil {
		return g.Match(below(dir, name), isDir)
	}
	for _, p := range g.plain {
		if (!p.top || dir == ".") && (!p.directory || isDir) && p.matches(name) {
			return true
		}
	}
	return false
}

// below is the path of a name in a directory, "." at the top.
func below(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
