package contracts

import (
	"net"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-playground/validator/v10"
)

// newValidator checks the structure: what must be there, and which words a field
// takes. Rules with a reason of their own are written out below.
var newValidator = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(field reflect.StructField) string {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		return name
	})
	return v
})

// checkStructure reports what the tags of document's fields demand.
func checkStructure(document any, problems *problemList) {
	faults, _ := newValidator().Struct(document).(validator.ValidationErrors)
	for _, fault := range faults {
		_, field, _ := strings.Cut(fault.Namespace(), ".")
		switch parameter := fault.Param(); fault.Tag() {
		case "oneof":
			words := strings.Fields(parameter)
			slices.Sort(words)
			problems.add(field, "is "+Quote(stringOf(fault.Value())), "it is one of "+strings.Join(words, ", "))
		default:
			problems.add(field, "is missing", structureHint(field))
		}
	}
}

func stringOf(v any) string {
	s, _ := v.(string)
	return s
}

func structureHint(field string) string {
	switch field {
	case "environment":
		return "give the environment's name, as in environment: dev"
	case "registry.provider":
		return "it is one of acr, docker, ecr, gcr, ghcr"
	case "registry.login_server":
		return "give the registry's host, as in login_server: ghcr.io/org"
	case "registry.username", "registry.password":
		return "username and password go together; leave both out or give both"
	case "storage.provider":
		return "it is one of azure, azurite, fs, gcs, minio, s3"
	case "storage.container":
		return "give the container, the bucket or, for fs, the directory"
	case "storage.access_key", "storage.secret_key":
		return "access_key and secret_key go together; leave both out or give both"
	case "compute.provider":
		return "it is dask"
	case "compute.tls.ca_file":
		return "give the absolute path of the certificate that signed the scheduler's"
	case "compute.kubernetes.namespace":
		return "give the namespace that jobs run in, as in modelops-dask-dev"
	case "compute.scheduler":
		return "give the scheduler's address, or kubernetes with a namespace"
	case "compute.tls.cert_file", "compute.tls.key_file":
		return "cert_file and key_file go together"
	}
	return ""
}

// check reports every fault of the values, and returns warnings.
func (e *BundleEnvironment) check(problems *problemList) []Problem {
	checkStructure(e, problems)
	warnings := &problemList{}
	if e.Environment != "" && !environmentPattern().MatchString(e.Environment) {
		problems.add("environment", "is "+Quote(e.Environment)+" and "+environmentNameProblem(e.Environment), "use lower-case letters, digits and '-', as in dev or team-2")
	}
	e.Registry.check(problems)
	if !e.redacted {
		checkPlaceholder("registry.password", e.Registry.Password, problems)
	}
	if e.Storage != nil {
		e.Storage.check(problems, warnings)
		if !e.redacted {
			checkPlaceholder("storage.connection_string", e.Storage.ConnectionString, problems)
			checkPlaceholder("storage.secret_key", e.Storage.SecretKey, problems)
			e.Storage.checkConnection(problems, warnings)
		}
	}
	if e.Compute != nil {
		e.Compute.check(problems, warnings)
	}
	if e.Timestamp != "" {
		if _, ok := parseTimestamp(e.Timestamp); !ok {
			warnings.add("timestamp", "is "+Quote(e.Timestamp)+", not a time", `write RFC 3339 in UTC, as in "2026-01-15T10:30:00Z"`)
		}
	}
	checkVersion(e.Version, problems, warnings)
	return warnings.list
}

var versionPattern = pattern(`\A([0-9]{1,4})\.([0-9]{1,4})\z`)

func checkVersion(version string, problems, warnings *problemList) {
	if version == "" {
		return
	}
	match := versionPattern().FindStringSubmatch(version)
	major, minor, _ := strings.Cut(ContractVersion, ".")
	switch {
	case match == nil:
		problems.add("version", "is "+Quote(version), `it is major.minor in quotes, as in "`+ContractVersion+`"`)
	case match[1] != major:
		problems.add("version", "is "+version+", and this program reads "+major+".x", "use a program of that version, or write the file for "+ContractVersion)
	case atoi(match[2]) > atoi(minor):
		warnings.add("version", "is "+version+", newer than "+ContractVersion, "keys that came since have no effect here")
	}
}

func atoi(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return n
}

// timestampLayouts are what writers of the file are known to use; without a zone the
// Python suite means UTC.
func timestampLayouts() []string {
	return []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02"}
}

func parseTimestamp(s string) (time.Time, bool) {
	for _, layout := range timestampLayouts() {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// acrPattern is the host of an Azure registry: name, optionally with the hash of a
// domain name label, optionally a regional endpoint. Anchored: an identity's token is
// sent there.
var acrPattern = pattern(`\A[a-z0-9]{5,50}(-[a-z0-9]+)?(\.[a-z0-9]+\.geo)?\.azurecr\.(io|cn|us)\z`)

func (r Registry) check(problems *problemList) {
	if r.LoginServer != "" && !problems.has("registry.login_server") {
		r.checkLoginServer(problems)
	}
	if r.Insecure && r.Provider != "docker" && r.Provider != "" {
		problems.add("registry.insecure", "is true for provider "+r.Provider, "plain HTTP is for provider docker only: credentials of a cloud are never sent in the clear")
	}
	if r.CAFile != "" {
		checkFile("registry.ca_file", r.CAFile, problems)
		if r.PlainHTTP() {
			problems.add("registry.ca_file", "would have no effect: this registry is spoken to without TLS", "leave it out")
		}
	}
	if strings.Contains(r.Username, ":") {
		problems.add("registry.username", "has a colon", "a user's name in HTTP authentication has none")
	}
}

func (r Registry) checkLoginServer(problems *problemList) {
	const field = "registry.login_server"
	if strings.Contains(r.LoginServer, "@") { // not repeated: it may hold a password
		problems.add(field, "has a user or a password", "write the host alone; username and password are keys of their own")
		return
	}
	host, _, err := ParseLoginServer(r.LoginServer)
	if err != nil {
		hint := "write host, host:port or host/path, as in ghcr.io/org"
		if strings.Contains(r.LoginServer, "://") {
			hint = "leave out everything up to ://"
		}
		problems.add(field, "is "+Quote(r.LoginServer)+" and "+loginServerProblem(err, r.LoginServer), hint)
		return
	}
	if r.Provider == "acr" && !acrPattern().MatchString(host) {
		problems.add(field, "is "+Quote(r.LoginServer)+", not the host of an Azure registry", "it is NAME.azurecr.io (.cn, .us) without a port; use provider docker for any other registry")
		return
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && isMetadataService(ip) {
		problems.add(field, "is "+Quote(r.LoginServer)+", an address of the cloud's own services", "give the registry's host")
	}
}

// loginServerProblem is the reason in err, which repeats the value in front of it.
func loginServerProblem(err error, loginServer string) string {
	_, problem, _ := strings.Cut(AsError(err).Message, Quote(loginServer)+" ")
	return problem
}

// isMetadataService says whether ip hands out a machine's credentials: link-local
// addresses, and Azure's wire server.
func isMetadataService(ip netip.Addr) bool {
	return ip.Unmap().IsLinkLocalUnicast() || ip.Unmap() == netip.AddrFrom4([4]byte{168, 63, 129, 16})
}

// checkFile wants an absolute path: the file is read from whatever directory a
// program happens to run in.
func checkFile(field, name string, problems *problemList) {
	if !isAbsolute(name) {
		problems.add(field, "is "+Quote(name)+", not an absolute path", "write the whole path")
	}
}

func isAbsolute(name string) bool {
	return path.IsAbs(name) || windowsPath().MatchString(name)
}

var windowsPath = pattern(`\A[A-Za-z]:[\\/]`)

// checkPlaceholder refuses what a redacted listing shows in place of a secret.
func checkPlaceholder(field string, secret Secret, problems *problemList) {
	if secret == redacted {
		problems.add(field, "is "+Quote(redacted)+", which stands for a secret in a listing", "give the secret itself")
	}
}
