package bundle

import (
	"regexp"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Place decides which sources belong in the storage of the environment, as a project's
// rules say. What is in no storage is in the registry.
func Place(sources []Source, rules contracts.ProjectStorage) {
	registry, storage := matcher(rules.ForceOCIPatterns), matcher(rules.ForceBlobPatterns)
	for i := range sources {
		s := &sources[i]
		switch {
		case rules.Mode != "auto" && rules.Mode != "blob-only", registry(s.Path):
			s.Storage = false
		case storage(s.Path), rules.Mode == "blob-only":
			s.Storage = true
		default:
			s.Storage = s.Info.Size() >= rules.ThresholdBytes
		}
	}
}

// matcher says whether one of the patterns matches a path as a whole, as fnmatch does: *
// and ? match / too, a [set] may begin with !, and nothing is escaped.
func matcher(patterns []string) func(path string) bool {
	var all []string
	for _, pattern := range patterns {
		all = append(all, translate(pattern))
	}
	if len(all) == 0 {
		return func(string) bool { return false }
	}
	expression := regexp.MustCompile(`(?s)\A(?:` + strings.Join(all, "|") + `)\z`)
	return expression.MatchString
}

// translate is a pattern as a regular expression.
func translate(pattern string) string {
	var out strings.Builder
	for rest := pattern; rest != ""; {
		c := rest[:1]
		rest = rest[1:]
		switch c {
		case "*":
			out.WriteString(".*")
		case "?":
			out.WriteString(".")
		case "[":
			set, after, ok := cutSet(rest)
			if !ok {
				out.WriteString(`\[`)
				continue
			}
			out.WriteString(set)
			rest = after
		default:
			out.WriteString(regexp.QuoteMeta(c))
		}
	}
	return out.String()
}

// cutSet takes the set off what follows a "[", as a class of a regular expression. It is
// not ok when there is no end, or when it is no set: then "[" stands for itself.
func cutSet(rest string) (set, after string, ok bool) {
	body, negated := strings.CutPrefix(rest, "!")
	first := 0
	if strings.HasPrefix(body, "]") { // the first one is a member
		first = 1
	}
	end := strings.Index(body[first:], "]")
	if end < 0 {
		return "", "", false
	}
	members := body[:first+end]
	set = "[" + strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(members) + "]"
	if negated {
		set = "[^" + set[1:]
	}
	if _, err := regexp.Compile(set); err != nil { // a range that ends before it begins
		return "", "", false
	}
	return set, body[first+end+1:], true
}
