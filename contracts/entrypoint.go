package contracts

import (
	"strings"
)

// Entrypoint names a simulation or an object in Python code.
//
// A simulation is "import.path/scenario": Module and Scenario are set. An object, as
// a target is, is "import.path:name": Module and Object are set.
type Entrypoint struct {
	Module   string
	Scenario string
	Object   string
}

// String is the entry point as it was parsed.
func (e Entrypoint) String() string {
	if e.Object != "" {
		return e.Module + ":" + e.Object
	}
	return e.Module + "/" + e.Scenario
}

var (
	// modulePattern is an import path of at least two components. Python would take
	// more: a trailing dot, a component that begins with a digit, letters outside
	// ASCII. None of these can be imported everywhere.
	modulePattern   = pattern(`\A[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+\z`)
	scenarioPattern = pattern(`\A[a-z0-9]([a-z0-9_.-]{0,62}[a-z0-9])?\z`)
	objectPattern   = pattern(`\A[A-Za-z_]*[A-Za-z][A-Za-z0-9_]*\z`)
)

const (
	moduleHint   = "an import path has at least two parts, as in models.sir"
	scenarioHint = "a scenario is 1 to 64 lower-case letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
)

// ParseEntrypoint reads an entry point of Python code. The error is an [Error] with
// [CodeInvalidStudy].
func ParseEntrypoint(s string) (Entrypoint, error) {
	slash, colon := strings.Contains(s, "/"), strings.Contains(s, ":")
	switch {
	case slash && colon:
		return Entrypoint{}, invalidEntrypoint(s, "is ambiguous: it has both / and :", "write import.path/scenario for a simulation, import.path:name for an object")
	case slash:
		module, scenario, _ := strings.Cut(s, "/")
		if !modulePattern().MatchString(module) || strings.Contains(scenario, "/") {
			return Entrypoint{}, invalidEntrypoint(s, "has an invalid import path", moduleHint)
		}
		if !scenarioPattern().MatchString(scenario) {
			return Entrypoint{}, invalidEntrypoint(s, "has an invalid scenario", scenarioHint)
		}
		return Entrypoint{Module: module, Scenario: scenario}, nil
	case colon:
		i := strings.LastIndexByte(s, ':')
		module, object := s[:i], s[i+1:]
		if !modulePattern().MatchString(module) {
			return Entrypoint{}, invalidEntrypoint(s, "has an invalid module path", moduleHint)
		}
		if !objectPattern().MatchString(object) {
			return Entrypoint{}, invalidEntrypoint(s, "has an invalid object name", "the name of a function or class, as in targets.prevalence:prevalence_target")
		}
		return Entrypoint{Module: module, Object: object}, nil
	}
	return Entrypoint{}, invalidEntrypoint(s, "must contain either / or :", "write import.path/scenario for a simulation, import.path:name for an object")
}

func invalidEntrypoint(s, problem, hint string) *Error {
	return &Error{Code: CodeInvalidStudy, Stage: StageStudy, Message: "entry point " + Quote(s) + " " + problem, Hint: hint}
}
