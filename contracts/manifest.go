package contracts

import (
	"path"
	"strconv"
	"strings"
)

// RunManifest is .modelops/manifest.json inside a bundle: how its simulation is
// called, and what it needs. Wire and Command exclude each other; with neither the
// bundle is called by its entry point or its wire.py.
type RunManifest struct {
	Wire      string     `json:"wire,omitempty"`    // module.path:function or path/to/file.py:function
	Command   []string   `json:"command,omitempty"` // program and arguments, run in the bundle
	Resources *Resources `json:"resources,omitempty"`
}

var (
	wireModulePattern = pattern(`\A[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\z`)
	wireFilePattern   = pattern(`\A[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*\.py\z`)
)

// ParseRunManifest reads a run manifest. Unknown keys are ignored. The error is an
// [Error] with [CodeInvalidBundle] and every problem.
func ParseRunManifest(file string, data []byte) (*RunManifest, error) {
	const what = "run manifest"
	v, problem := parseJSON(data)
	if problem != nil {
		return nil, documentError(CodeInvalidBundle, StagePrepare, what, file, []Problem{*problem})
	}
	problems := &problemList{}
	manifest := readManifest(v, problems)
	if err := problems.err(CodeInvalidBundle, StagePrepare, what, file); err != nil {
		return nil, err
	}
	return manifest, nil
}

func readManifest(v Value, problems *problemList) *RunManifest {
	m := readMapping(v, "", problems)
	if m == nil {
		return nil
	}
	r := &RunManifest{Wire: m.text("wire"), Command: readCommand(m), Resources: readResources(m)}
	if m.present("command") && len(r.Command) == 0 {
		problems.add("command", "is empty", `give program and arguments, as in ["Rscript", "run.R"]`)
	}
	if r.Wire != "" && m.present("command") {
		problems.add("", "has both wire and command", "keep the one that the simulation is called by")
	}
	if r.Wire != "" {
		module, function, found := strings.Cut(r.Wire, ":")
		isFile := wireFilePattern().MatchString(module) && path.Clean(module) == module && !strings.HasPrefix(module, "..")
		if !found || !wireModulePattern().MatchString(function) || !isFile && !wireModulePattern().MatchString(module) {
			problems.add("wire", "is "+Quote(r.Wire), "write module.path:function, or path/to/file.py:function inside the bundle")
		}
	}
	return r
}

// readCommand reads a list of words. A word may be blank; none may hold a NUL, which
// ends an argument.
func readCommand(m *mapping) []string {
	v, there := m.get("command")
	if !there {
		return nil
	}
	if v.kind != KindList {
		m.problems.add("command", "is "+v.kind.String()+", not a list", `write each word by itself, as in ["Rscript", "run.R"]`)
		return nil
	}
	var words []string
	for i, item := range v.Items() {
		field := "command." + strconv.Itoa(i)
		switch {
		case item.kind != KindString:
			m.problems.add(field, "is "+item.kind.String()+", not a string", "put it in quotes")
		case strings.Contains(item.text, "\x00"):
			m.problems.add(field, "has a NUL", "remove it")
		case i == 0 && strings.TrimSpace(item.text) == "":
			m.problems.add(field, "is blank", "give the program")
		default:
			words = append(words, item.text)
		}
	}
	return words
}
