// Package config is the worker's configuration: from a mounted environment file, or from
// the variables that worker images have always set, with what decided each value.
package config

import (
	"cmp"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops-bundle/machine"
)

// Config is the configuration in force.
type Config struct {
	Environment *contracts.BundleEnvironment
	CacheDir    string
	VenvsDir    string
	// Environments says what becomes of Python environments in the bundle's repository:
	// they are shared with other nodes, only taken from there, or neither.
	Environments Sharing
	Cold         bool          // one process for each task, instead of warm ones
	MaxWarm      int           // warm processes at most
	WarmMemory   func() int64  // bytes that they may use together; 0 for no limit
	WarmTasks    int           // tasks of one of them
	WarmAge      time.Duration // of one of them
	Timeout      time.Duration // of a task that states none
	OutputLimit  int64         // bytes of one output

	// CredentialSource says where the registry's user name and password were read, when
	// that is not the environment file.
	CredentialSource string
	// Reload reads the environment's registry again; nil when it came from variables.
	Reload func() (contracts.Registry, error)

	// EnvironmentFile is where the environment was read; the variable, when it came from those.
	EnvironmentFile string
	Warnings        []contracts.Problem // of it
	// Ignored says which variables are set and have no effect, and what has.
	Ignored []string

	settings []setting
}

// Sharing is what a worker does with Python environments in a bundle's repository.
type Sharing string

// The values of MODELOPS_ENVIRONMENTS.
const (
	Share Sharing = "share" // take what other nodes built, and give what this one builds
	Pull  Sharing = "pull"  // take, and give nothing
	Off   Sharing = "off"   // neither: each node installs
)

// setting is a value and where it came from, for people.
type setting struct {
	name, source string
	value        func() string
}

// The variables.
const (
	envFileVariable   = "MODELOPS_BUNDLE_ENV_FILE"
	registryVariable  = "MODELOPS_BUNDLE_REGISTRY"
	usernameVariable  = "REGISTRY_USERNAME"
	passwordVariable  = "REGISTRY_PASSWORD"
	storageVariable   = "AZURE_STORAGE_CONNECTION_STRING"
	containerVariable = "MODELOPS_BUNDLE_STORAGE_CONTAINER"
	cacheVariable     = "MODELOPS_BUNDLES_CACHE_DIR"
	venvsVariable     = "MODELOPS_VENVS_DIR"
	sharingVariable   = "MODELOPS_ENVIRONMENTS"
	executorVariable  = "MODELOPS_EXECUTOR_TYPE"
	warmVariable      = "MODELOPS_MAX_WARM_PROCESSES"
	memoryVariable    = "MODELOPS_MAX_WARM_MEMORY"
	tasksVariable     = "MODELOPS_MAX_WARM_TASKS"
	minutesVariable   = "MODELOPS_MAX_WARM_MINUTES"
	timeoutVariable   = "MODELOPS_RPC_TIMEOUT_SECONDS"
	outputVariable    = "MODELOPS_OUTPUT_MAX_BYTES"
)

const (
	defaultCache     = "/tmp/modelops/bundles"
	defaultVenvs     = "/tmp/modelops/venvs"
	defaultContainer = "bundle-blobs"
	defaultTasks     = 10_000
	defaultMinutes   = 60
	defaultTimeout   = 1800 // seconds
	defaultOutput    = 2 << 30
)

// Load reads the configuration. envFile is the --env-file flag, or "". An environment file
// beats the variables; where the two disagree, Load stops, because nobody can know which
// was meant. Every wrong value is named by its variable.
func Load(getenv func(string) string, envFile string) (*Config, error) {
	c := &Config{}
	if err := c.environment(getenv, envFile); err != nil {
		return nil, err
	}
	if err := c.formerly(getenv); err != nil {
		return nil, err
	}
	c.note("registry", c.Environment.Registry.LoginServer, "")
	storage := "none"
	if c.Environment.Storage != nil {
		storage = c.Environment.Storage.Provider + " " + c.Environment.Storage.Container
	}
	c.note("storage", storage, "")
	c.CacheDir = c.text(getenv, "bundle cache", cacheVariable, defaultCache)
	c.VenvsDir = c.text(getenv, "Python environments", venvsVariable, defaultVenvs)
	c.Environments = Sharing(c.text(getenv, "sharing of Python environments", sharingVariable, string(Share)))
	switch c.Environments {
	case Share, Pull, Off:
	default:
		return nil, wrong(sharingVariable, string(c.Environments), "is neither share nor pull nor off")
	}
	if err := c.executor(getenv); err != nil {
		return nil, err
	}
	if err := c.warmMemory(getenv); err != nil {
		return nil, err
	}
	numbers := []struct {
		name, variable string
		standard       int64
		set            func(int64)
	}{
		{"warm processes", warmVariable, int64(runtime.GOMAXPROCS(0)), func(n int64) { c.MaxWarm = int(n) }},
		{"tasks of a process", tasksVariable, defaultTasks, func(n int64) { c.WarmTasks = int(n) }},
		{"minutes of a process", minutesVariable, defaultMinutes, func(n int64) { c.WarmAge = time.Duration(n) * time.Minute }},
		{"task timeout in seconds", timeoutVariable, defaultTimeout, func(n int64) { c.Timeout = time.Duration(n) * time.Second }},
		{"largest output in bytes", outputVariable, defaultOutput, func(n int64) { c.OutputLimit = n }},
	}
	for _, number := range numbers {
		text := c.text(getenv, number.name, number.variable, strconv.FormatInt(number.standard, 10))
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 || n > 1<<40 {
			return nil, wrong(number.variable, text, "is not a positive whole number")
		}
		number.set(n)
	}
	return c, nil
}

// CacheOnly reads where bundles and Python environments are kept, for what needs neither
// an environment nor anything else.
func CacheOnly(getenv func(string) string) *Config {
	c := &Config{}
	c.CacheDir = c.text(getenv, "bundle cache", cacheVariable, defaultCache)
	c.VenvsDir = c.text(getenv, "Python environments", venvsVariable, defaultVenvs)
	return c
}

// Lines says each value in force and where it came from, one to a line. Secrets are not
// among them.
func (c *Config) Lines() []string {
	lines := make([]string, len(c.settings))
	for i, s := range c.settings {
		lines[i] = s.name + " = " + s.value()
		if s.source != "" {
			lines[i] += " (" + s.source + ")"
		}
	}
	return lines
}

func (c *Config) note(name, value, source string) {
	c.settings = append(c.settings, setting{name, source, func() string { return value }})
}

func (c *Config) text(getenv func(string) string, name, variable, standard string) string {
	value, source := getenv(variable), variable
	if value == "" {
		value, source = standard, "default"
	}
	c.note(name, value, source)
	return value
}

// warmMemory is half of what there is unless it is stated: a process that works needs the
// rest. How much there is is found out when somebody asks, for that takes time.
func (c *Config) warmMemory(getenv func(string) string) error {
	const name = "memory of warm processes"
	if getenv(memoryVariable) == "" {
		c.WarmMemory = sync.OnceValue(func() int64 { return machine.Memory() / 2 >> 20 << 20 })
		c.settings = append(c.settings, setting{name, "default", func() string {
			if c.WarmMemory() == 0 {
				return "no limit"
			}
			return strconv.FormatInt(c.WarmMemory()>>20, 10) + "Mi"
		}})
		return nil
	}
	text := c.text(getenv, name, memoryVariable, "")
	stated, err := (contracts.Resources{Memory: text}).MemoryBytes()
	if err != nil {
		return wrong(memoryVariable, text, "is no amount of memory, as in 8Gi or 512Mi")
	}
	c.WarmMemory = func() int64 { return stated }
	return nil
}

func (c *Config) executor(getenv func(string) string) error {
	variable, kind := executorVariable, getenv(executorVariable)
	if alias := getenv(executorAlias); kind == "" {
		variable = executorAlias
	} else if alias != "" && alias != kind {
		return wrong(executorAlias, alias, "is not what "+executorVariable+" says")
	}
	kind = c.text(getenv, "processes", variable, "isolated_warm")
	switch kind {
	case "isolated_warm":
		return nil
	case "cold":
		c.Cold = true
		return nil
	case "direct":
		return &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StageEnvironment,
			Message: variable + "=direct is not supported: a simulation always runs in a process of its own",
			Hint:    "set it to isolated_warm, or to cold for a process for each task",
		}
	}
	return wrong(variable, kind, "is neither isolated_warm nor cold")
}

// environment finds the environment: a file that is named, the variables, or the usual
// place.
func (c *Config) environment(getenv func(string) string, envFile string) error {
	source := "--env-file"
	if envFile == "" {
		envFile, source = getenv(envFileVariable), envFileVariable
	}
	var loaded *environment.Loaded
	var err error
	switch {
	case envFile != "":
		if loaded, err = environment.LoadFile(envFile); err != nil {
			return err
		}
		source = fmt.Sprintf("%s %s", source, envFile)
		c.Reload = registryOf(func() (*environment.Loaded, error) { return environment.LoadFile(envFile) })
	case getenv(registryVariable) != "":
		if loaded, err = fromVariables(getenv); err != nil {
			return err
		}
		source = registryVariable
		if loaded.Env.Registry.Username != "" {
			c.CredentialSource = credentialVariables
		}
	default:
		home, err := environment.Home(getenv)
		if err != nil {
			return unnamed(err)
		}
		store := environment.Open(home)
		chosen, err := store.Resolve(environment.Request{Getenv: getenv})
		switch {
		case err != nil && contracts.AsError(err).Code == contracts.CodeEnvironmentNotFound:
			return unnamed(err)
		case err != nil:
			return err
		}
		loaded, source = chosen.Loaded, chosen.Why
		c.Reload = registryOf(func() (*environment.Loaded, error) { return store.Load(chosen.Name) })
	}
	if err := c.credentials(getenv, &loaded.Env.Registry); err != nil {
		return err
	}
	if err := agree(getenv, loaded.Env); err != nil {
		return err
	}
	if err := loaded.ApplyVariables(getenv); err != nil {
		return err
	}
	c.Environment, c.EnvironmentFile, c.Warnings = loaded.Env, cmp.Or(loaded.Path, source), loaded.Warnings
	c.note("environment", loaded.Env.Environment, source)
	return nil
}

// unnamed is the error of a worker that nobody told its registry, which is not at home.
func unnamed(err error) error {
	e := *contracts.AsError(err)
	e.Hint += "; where workers run, set " + registryVariable + ", or name an environment file in " + envFileVariable
	return &e
}

const credentialVariables = usernameVariable + " and " + passwordVariable

// credentials takes the user name and password of the variables for a registry whose file
// has none: for that login server, and no other.
func (c *Config) credentials(getenv func(string) string, registry *contracts.Registry) error {
	username, password := getenv(usernameVariable), getenv(passwordVariable)
	if registry.Username != "" || username == "" && password == "" {
		return nil
	}
	if username == "" || password == "" {
		return &contracts.Error{
			Code: contracts.CodeUsage, Stage: contracts.StageEnvironment,
			Message: "of " + credentialVariables + " only one is set",
			Hint:    "set both, or neither",
		}
	}
	registry.Username, registry.Password = username, contracts.Secret(password)
	c.CredentialSource, c.Reload = credentialVariables, nil // variables do not change
	return nil
}

// registryOf is the registry of a file that is read again.
func registryOf(load func() (*environment.Loaded, error)) func() (contracts.Registry, error) {
	return func() (contracts.Registry, error) {
		loaded, err := load()
		if err != nil {
			return contracts.Registry{}, err
		}
		return loaded.Env.Registry, nil
	}
}

// fromVariables is the environment of a worker that has no file. It is held against the
// same rules.
func fromVariables(getenv func(string) string) (*environment.Loaded, error) {
	env := &contracts.BundleEnvironment{Environment: "worker", Registry: contracts.Registry{
		LoginServer: getenv(registryVariable),
		Username:    getenv(usernameVariable),
		Password:    contracts.Secret(getenv(passwordVariable)),
	}}
	env.Registry.Provider = providerOf(env.Registry.LoginServer)
	env.Registry.RequiresAuth = env.Registry.Username != ""
	if connection := getenv(storageVariable); connection != "" {
		container := getenv(containerVariable)
		if container == "" {
			container = defaultContainer
		}
		env.Storage = &contracts.Storage{Provider: "azure", Container: container, ConnectionString: contracts.Secret(connection)}
	}
	if _, err := env.Marshal(); err != nil {
		e := *contracts.AsError(err)
		e.Message = "the worker's variables (" + registryVariable + " and others) do not make an environment"
		e.Hint = "set " + registryVariable + " to host[:port], or mount an environment file and name it in " + envFileVariable
		return nil, &e
	}
	return &environment.Loaded{Env: env}, nil
}

func providerOf(loginServer string) string {
	host, _, _ := strings.Cut(loginServer, "/")
	for suffix, provider := range map[string]string{
		".azurecr.io": "acr", ".azurecr.cn": "acr", ".azurecr.us": "acr",
		"ghcr.io": "ghcr", ".amazonaws.com": "ecr", "gcr.io": "gcr", ".pkg.dev": "gcr",
	} {
		if strings.HasSuffix(host, suffix) {
			return provider
		}
	}
	return "docker"
}

// agree stops when a variable says something else than the environment in force.
func agree(getenv func(string) string, env *contracts.BundleEnvironment) error {
	container := ""
	if env.Storage != nil {
		container = env.Storage.Container
	}
	for _, check := range []struct{ variable, field, value string }{
		{registryVariable, "registry.login_server", env.Registry.LoginServer},
		{usernameVariable, "registry.username", env.Registry.Username},
		{containerVariable, "storage.container", container},
	} {
		given := getenv(check.variable)
		if given == "" || given == check.value {
			continue
		}
		return &contracts.Error{
			Code: contracts.CodeEnvironmentMismatch, Stage: contracts.StageEnvironment,
			Message: fmt.Sprintf("%s is %s, and %s of environment %s is %s", check.variable, contracts.Quote(given), check.field, env.Environment, contracts.Quote(check.value)),
			Hint:    "unset the variable, or correct the environment file",
		}
	}
	return nil
}

func wrong(variable, value, problem string) error {
	return &contracts.Error{
		Code: contracts.CodeUsage, Stage: contracts.StageEnvironment,
		Message: variable + " is " + contracts.Quote(value) + ", which " + problem,
		Hint:    "correct " + variable + ", or unset it",
	}
}
