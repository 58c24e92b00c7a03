package contracts

import (
	"net"
	"strconv"
	"strings"
)

// ContractVersion is the version of the contract that this module writes: of the
// environment file, and, by its major number, of tasks.
const ContractVersion = "1.1"

// BundleEnvironment is an environment file: where bundles are kept and jobs run.
// One is made by [ParseEnvironment], or by hand and then checked by
// [BundleEnvironment.Marshal].
type BundleEnvironment struct {
	Environment string   `json:"environment" validate:"required"`
	Registry    Registry `json:"registry"`
	Storage     *Storage `json:"storage,omitempty"`
	Compute     *Compute `json:"compute,omitempty"`
	Timestamp   string   `json:"timestamp,omitempty"`
	Version     string   `json:"version,omitempty"`

	// unknown are the keys that the contract does not have, by the mapping that they
	// lie in: "", "registry", "storage", "compute", "compute.tls", "compute.kubernetes".
	unknown  map[string][]Member
	redacted bool
}

// Registry is where bundles are pushed to and pulled from.
type Registry struct {
	Provider     string `json:"provider" validate:"required,oneof=docker acr ecr gcr ghcr"`
	LoginServer  string `json:"login_server" validate:"required"` // host[:port] or host/path, without a scheme
	RequiresAuth bool   `json:"requires_auth"`
	Username     string `json:"username,omitempty" validate:"required_with=Password"` // sent to LoginServer only
	Password     Secret `json:"password,omitempty" validate:"required_with=Username"`
	CAFile       string `json:"ca_file,omitempty"`  // PEM file, absolute
	Insecure     bool   `json:"insecure,omitempty"` // plain HTTP
}

// Storage is where large files, jobs and results are kept.
type Storage struct {
	Provider         string `json:"provider" validate:"required,oneof=azure azurite s3 minio gcs fs"`
	Container        string `json:"container" validate:"required"`
	ConnectionString Secret `json:"connection_string,omitempty"` // azure, azurite
	Endpoint         string `json:"endpoint,omitempty"`          // URL
	AccessKey        string `json:"access_key,omitempty" validate:"required_with=SecretKey"`
	SecretKey        Secret `json:"secret_key,omitempty" validate:"required_with=AccessKey"`
	Region           string `json:"region,omitempty"`
	Prefix           string `json:"prefix,omitempty"` // of every key, without slashes around it
}

// Compute is where jobs run.
type Compute struct {
	Provider   string             `json:"provider" validate:"required,oneof=dask"`
	Scheduler  string             `json:"scheduler,omitempty" validate:"required_without=Kubernetes"` // tls://host:port or tcp://host:port
	Dashboard  string             `json:"dashboard,omitempty"`                                        // URL
	TLS        *ComputeTLS        `json:"tls,omitempty"`
	Kubernetes *ComputeKubernetes `json:"kubernetes,omitempty"`
}

// ComputeTLS are PEM files, absolute, for a scheduler at tls://.
type ComputeTLS struct {
	CAFile   string `json:"ca_file,omitempty" validate:"required"`
	CertFile string `json:"cert_file,omitempty" validate:"required_with=KeyFile"`
	KeyFile  string `json:"key_file,omitempty" validate:"required_with=CertFile"`
}

// ComputeKubernetes is the cluster that the scheduler and the drivers run in.
type ComputeKubernetes struct {
	Context   string `json:"context,omitempty"` // of the kubeconfig; empty for the current one
	Namespace string `json:"namespace,omitempty" validate:"required"`
}

// PlainHTTP says whether the registry is spoken to without TLS: for the hosts
// localhost, 127.0.0.1 and [::1], exactly, and when the file says insecure. It is
// never a fallback.
func (r Registry) PlainHTTP() bool {
	if r.Insecure {
		return true
	}
	host, _, _ := strings.Cut(r.LoginServer, "/")
	return isLoopback(host)
}

func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
		if strings.Contains(h, ":") {
			host = "[" + h + "]"
		}
	}
	return host == "localhost" || host == "127.0.0.1" || host == "[::1]"
}

// ParseEnvironment reads an environment file. It is the only reader of that format:
// what it accepts is the contract.
//
// The error is an [Error] of [CodeInvalidEnvironment] with every problem, each with
// field, message and hint. Warnings are what a reader passes over and a writer would
// want to know: unknown keys, which [BundleEnvironment.Marshal] keeps, and settings
// that cannot work as they are. file only names the document in messages.
func ParseEnvironment(file string, data []byte) (env *BundleEnvironment, warnings []Problem, err error) {
	doc, problems := parseYAML(data)
	if len(problems) > 0 {
		return nil, nil, documentError(CodeInvalidEnvironment, StageEnvironment, "environment file", file, problems)
	}
	list := &problemList{}
	top := readMapping(doc, "", list)
	env, warnings = readEnvironment(top)
	if written := top.text("environment"); written != env.Environment {
		warnings = append(warnings, Problem{Field: "environment", Message: "is " + Quote(written) + ", read as " + Quote(env.Environment), Hint: "write it in lower case without blanks around it"})
	}
	warnings = append(warnings, env.check(list)...)
	if err := list.err(CodeInvalidEnvironment, StageEnvironment, "environment file", file); err != nil {
		return nil, warnings, err
	}
	return env, warnings, nil
}

// readEnvironment reads the types; [BundleEnvironment.check] judges the values.
func readEnvironment(top *mapping) (*BundleEnvironment, []Problem) {
	env := &BundleEnvironment{unknown: map[string][]Member{}}
	var warnings []Problem
	keep := func(m *mapping) { // what the contract does not know, for the next rewrite
		if rest := m.unknown(); len(rest) > 0 {
			env.unknown[strings.TrimSuffix(m.field, ".")] = rest
			warnings = append(warnings, m.warnings(rest, "it is kept; the keys are listed in docs/environment-file.md")...)
		}
	}
	env.Environment = NormalizeEnvironmentName(top.text("environment"))
	const example = "registry: {provider: docker, login_server: localhost:5555}"
	if registry := top.sub("registry"); registry != nil {
		env.Registry = readRegistry(registry)
		keep(registry)
	} else if !top.problems.has("registry") {
		top.problems.add("registry", "is missing", "every environment has one, as in "+example)
	}
	if storage := top.sub("storage"); storage != nil {
		env.Storage = readStorage(storage)
		keep(storage)
	}
	if compute := top.sub("compute"); compute != nil {
		env.Compute = readCompute(compute, keep)
		keep(compute)
	}
	env.Timestamp = top.text("timestamp")
	env.Version = top.text("version")
	if env.Version == "" {
		env.Version = "1.0"
	}
	keep(top)
	return env, warnings
}

func readRegistry(m *mapping) Registry {
	return Registry{
		Provider:     m.text("provider"),
		LoginServer:  m.text("login_server"),
		RequiresAuth: m.flag("requires_auth"),
		Username:     m.text("username"),
		Password:     Secret(m.text("password")),
		CAFile:       m.text("ca_file"),
		Insecure:     m.flag("insecure"),
	}
}

func readStorage(m *mapping) *Storage {
	return &Storage{
		Provider:         m.text("provider"),
		Container:        m.text("container"),
		ConnectionString: Secret(m.text("connection_string")),
		Endpoint:         m.text("endpoint"),
		AccessKey:        m.text("access_key"),
		SecretKey:        Secret(m.text("secret_key")),
		Region:           m.text("region"),
		Prefix:           m.text("prefix"),
	}
}

func readCompute(m *mapping, keep func(*mapping)) *Compute {
	c := &Compute{Provider: m.text("provider"), Scheduler: m.text("scheduler"), Dashboard: m.text("dashboard")}
	if tls := m.sub("tls"); tls != nil {
		c.TLS = &ComputeTLS{CAFile: tls.text("ca_file"), CertFile: tls.text("cert_file"), KeyFile: tls.text("key_file")}
		keep(tls)
	}
	if kubernetes := m.sub("kubernetes"); kubernetes != nil {
		c.Kubernetes = &ComputeKubernetes{Context: kubernetes.text("context"), Namespace: kubernetes.text("namespace")}
		keep(kubernetes)
	}
	return c
}

// NormalizeEnvironmentName is name without blanks around it, in lower case: the way
// every name from a file, a flag or a variable is read.
func NormalizeEnvironmentName(name string) string {
	return strings.ToLower(strings.TrimSpace(name))
}

var environmentPattern = pattern(`\A[a-z][a-z0-9-]{0,39}\z`)

// ValidateEnvironmentName checks a normalised name; only one that passed is used in
// a path. The error is an [Error] with [CodeInvalidName].
func ValidateEnvironmentName(name string) error {
	if environmentPattern().MatchString(name) {
		return nil
	}
	return &Error{Code: CodeInvalidName, Stage: StageEnvironment,
		Message: "environment name " + Quote(name) + " " + environmentNameProblem(name),
		Hint:    "use lower-case letters, digits and '-', as in dev or team-2"}
}

func environmentNameProblem(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "is empty"
	case len(name) > 40:
		return "has " + strconv.Itoa(len(name)) + " characters; at most 40 are allowed"
	}
	return "is not valid: it starts with a lower-case letter and goes on with lower-case letters, digits and '-'"
}

// Equal says whether both files say the same, unknown keys included.
func (e *BundleEnvironment) Equal(other *BundleEnvironment) bool {
	if e == nil || other == nil {
		return e == other
	}
	return e.redacted == other.redacted && e.Version == other.Version && e.document().Equal(other.document())
}
