package environment

import (
	"fmt"
	"strconv"

	"github.com/modelops-suite/modelops-go/contracts"
)

// What decided, as [Chosen.Why] says it.
const (
	byFlag     = "--env"
	byVariable = "MODELOPS_ENV"
	byPin      = ".modelops-bundle/env"
	byConfig   = "default in modelops.yaml"
	byCount    = "the only environment"
	byDefault  = "default dev"
)

const defaultName = "dev"

// Request is what may decide about the environment.
type Request struct {
	Flag       string // --env; empty when it was not given
	ProjectPin string // what .modelops-bundle/env says; empty outside a project
	Getenv     func(string) string
	ForProject bool // the command reads or writes what belongs to the project
}

// Chosen is the environment in force.
type Chosen struct {
	Name string
	Why  string
	*Loaded
}

// String is for the line that every command writes about its environment.
func (c *Chosen) String() string { return "environment " + c.Name + " (" + c.Why + ")" }

// Resolve finds the environment in force and loads it. The first that says anything
// decides: --env, MODELOPS_ENV, the project's pin, the default in modelops.yaml, there
// being only one; else it is dev.
//
// For a command that concerns the project, MODELOPS_ENV that differs from the pin is an
// error with [contracts.CodeEnvironmentMismatch]; --env that differs is a warning.
func (s Store) Resolve(req Request) (*Chosen, error) {
	name, why, err := s.choose(req)
	if err != nil {
		return nil, err
	}
	pin := contracts.NormalizeEnvironmentName(req.ProjectPin)
	mismatch := req.ForProject && pin != "" && pin != name
	if mismatch && why == byVariable {
		return nil, &contracts.Error{Code: contracts.CodeEnvironmentMismatch, Stage: contracts.StageEnvironment,
			Message: fmt.Sprintf("%s says %s, and this project uses %s (%s)", why, name, pin, byPin),
			Hint:    fmt.Sprintf("unset MODELOPS_ENV to use %s, or move the project: modelops-bundle env switch %s", pin, name)}
	}
	loaded, err := s.Load(name)
	if err != nil {
		return nil, because(err, why)
	}
	if mismatch {
		loaded.Warnings = append(loaded.Warnings, contracts.Problem{
			Message: fmt.Sprintf("--env %s differs from this project's environment %s (%s)", name, pin, byPin),
			Hint:    "modelops-bundle env switch " + name + " makes it the project's own",
		})
	}
	if err := loaded.ApplyVariables(req.Getenv); err != nil {
		return nil, err
	}
	return &Chosen{Name: name, Why: why, Loaded: loaded}, nil
}

// choose finds the name; one that somebody wrote down is checked here, to say where.
func (s Store) choose(req Request) (name, why string, err error) {
	for _, source := range []struct{ name, why string }{
		{req.Flag, byFlag},
		{req.Getenv("MODELOPS_ENV"), byVariable},
		{req.ProjectPin, byPin},
	} {
		if source.name == "" {
			continue
		}
		name := contracts.NormalizeEnvironmentName(source.name)
		if err := contracts.ValidateEnvironmentName(name); err != nil {
			return "", "", because(err, source.why)
		}
		return name, source.why, nil
	}
	config, err := LoadConfig(s.home)
	if err != nil {
		return "", "", err
	}
	if config != nil && config.Environment != "" {
		return config.Environment, byConfig, nil
	}
	if err := s.check(); err != nil {
		return "", "", err
	}
	names, err := s.names()
	if err != nil {
		return "", "", err
	}
	if len(names) == 1 {
		return names[0], byCount, nil
	}
	return defaultName, byDefault, nil
}

// because adds to an error about a name where the name came from.
func because(err error, why string) error {
	e := *contracts.AsError(err)
	if e.Code == contracts.CodeEnvironmentNotFound || e.Code == contracts.CodeInvalidName {
		e.Message += " (chosen by: " + why + ")"
	}
	return (&e).Because(err)
}

// ApplyVariables applies what the process's variables say about any environment:
// MODELOPS_BUNDLE_INSECURE allows plain HTTP to a registry of provider docker.
func (l *Loaded) ApplyVariables(getenv func(string) string) error {
	const variable = "MODELOPS_BUNDLE_INSECURE"
	value := getenv(variable)
	if value == "" {
		return nil
	}
	insecure, err := strconv.ParseBool(value)
	if err != nil {
		return &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageEnvironment,
			Message: variable + " is " + contracts.Quote(value) + ", neither true nor false", Hint: "unset it, or set it to true"}
	}
	if !insecure {
		return nil
	}
	if l.Env.Registry.Provider != "docker" {
		l.Warnings = append(l.Warnings, contracts.Problem{
			Field:   "registry.insecure",
			Message: variable + " has no effect on a registry of provider " + l.Env.Registry.Provider,
			Hint:    "plain HTTP is for provider docker only",
		})
		return nil
	}
	l.Env.Registry.Insecure = true
	return nil
}
