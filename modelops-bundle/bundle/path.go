package bundle

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	maxPath  = 4096
	maxName  = 255
	maxDepth = 64

	// StateDir is the project's own directory, of which only [RegistryFile] may be in
	// a bundle.
	StateDir = ".modelops-bundle"
	// RegistryFile is what Calabaria's wire finds its model by.
	RegistryFile = StateDir + "/registry.yaml"
)

// CheckPath says what is wrong with a path in a bundle, or "". A path means the same on
// Linux, macOS and Windows, cannot leave the bundle, and cannot be mistaken for another.
func CheckPath(p string) string {
	switch {
	case p == "":
		return "is empty"
	case len(p) > maxPath:
		return "is longer than 4096 bytes"
	case !utf8.ValidString(p):
		return "is not UTF-8"
	case strings.Contains(p, `\`):
		return `has a backslash`
	case strings.HasPrefix(p, "/"):
		return "is absolute"
	case path.Clean(p) != p || p == ".":
		return "is not in its shortest form"
	case !norm.NFC.IsNormalString(p):
		return "is not in Unicode normal form C (rename it to its composed form)"
	}
	names := strings.Split(p, "/")
	if len(names) > maxDepth {
		return "is nested more than 64 deep"
	}
	for _, name := range names {
		if problem := checkName(name); problem != "" {
			return problem
		}
	}
	switch first := strings.ToLower(names[0]); {
	case p == RegistryFile:
		return ""
	case first == StateDir:
		return "lies in " + StateDir + ", of which only registry.yaml may be in a bundle"
	}
	return ""
}

func checkName(name string) string {
	switch {
	case name == "..":
		return "leaves the bundle"
	case len(name) > maxName:
		return "has a name longer than 255 bytes"
	case strings.Trim(name, ".") == "":
		return "has a name of dots only"
	case strings.HasSuffix(name, "."):
		return "has a name that ends in a dot, which Windows drops"
	case strings.HasPrefix(name, " ") || strings.HasSuffix(name, " "):
		return "has a name that begins or ends with a space"
	case strings.HasPrefix(name, "-"):
		return "has a name that begins with '-', which programs take for an option"
	case strings.EqualFold(name, ".git"):
		return "is part of a Git repository's own files"
	}
	for _, r := range name {
		if !allowedRune(r) {
			return "has the character " + contracts.Quote(string(r)) + ", which is not allowed in names"
		}
	}
	if reservedOnWindows(name) {
		return "has a name that Windows reserves"
	}
	return ""
}

// allowedRune keeps out what some system or program cannot have in a name, what is not
// seen, and what can be mistaken for a separator or a dot.
func allowedRune(r rune) bool {
	if r < utf8.RuneSelf {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("!#$%&'()+,-.=@[]^_{}~ ", r)
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.So, unicode.Sk, unicode.Ps, unicode.Pe, unicode.Pi, unicode.Pf, unicode.Pd)
}

func reservedOnWindows(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, device := range []string{"COM", "LPT"} {
		if digit, ok := strings.CutPrefix(stem, device); ok && utf8.RuneCountInString(digit) == 1 && strings.Contains("0123456789¹²³", digit) {
			return true
		}
	}
	return isShortName(stem)
}

// isShortName recognises the 8.3 names, such as PROGRA~1, under which Windows also
// opens other files.
func isShortName(stem string) bool {
	i := strings.LastIndexByte(stem, '~')
	if i < 1 || i > 6 || i == len(stem)-1 || len(stem) > 8 {
		return false
	}
	return strings.Trim(stem[i+1:], "0123456789") == ""
}

// CheckPaths reports every path that cannot be in a bundle, and every pair that cannot
// be in one bundle together: equal, equal but for case, or both a file and a directory.
func CheckPaths(paths []string) []contracts.Problem {
	var problems []contracts.Problem
	add := func(p, message string) {
		problems = append(problems, contracts.Problem{Field: contracts.Quote(p), Message: message})
	}
	seen := &collision{files: make(map[string]string, len(paths)), dirs: map[string]string{}, fold: cases.Fold()}
	for _, p := range paths {
		if problem := CheckPath(p); problem != "" {
			add(p, problem)
			continue
		}
		if problem := seen.add(p); problem != "" {
			add(p, problem)
		}
	}
	return problems
}

// collision remembers paths by what a file system that ignores case makes of them.
type collision struct {
	files, dirs map[string]string
	fold        cases.Caser
}

func (c *collision) add(p string) string {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		folded := c.folded(dir)
		if file, ok := c.files[folded]; ok {
			return "needs a directory where " + contracts.Quote(file) + " is a file"
		}
		if other, ok := c.dirs[folded]; ok {
			if other != dir {
				return "differs from " + contracts.Quote(other) + " by case alone, in a directory's name"
			}
			break // its parents were checked with it
		}
		c.dirs[folded] = dir
	}
	folded := c.folded(p)
	if dir, ok := c.dirs[folded]; ok {
		return "is a file where " + contracts.Quote(dir) + " is a directory"
	}
	if other, ok := c.files[folded]; ok {
		if other == p {
			return "is there twice"
		}
		return "differs from " + contracts.Quote(other) + " by case alone"
	}
	c.files[folded] = p
	return ""
}

func (c *collision) folded(p string) string {
	for i := 0; i < len(p); i++ {
		if p[i] >= utf8.RuneSelf {
			return norm.NFC.String(c.fold.String(p))
		}
	}
	return strings.ToLower(p)
}
