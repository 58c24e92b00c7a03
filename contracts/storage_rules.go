package contracts

import (
	"encoding/base64"
	"net/url"
	"path"
	"slices"
	"strings"
)

// storageFields are the optional fields that each provider's code honours. A field
// that is not here is refused for that provider: nothing is accepted and ignored.
func storageFields(provider string) []string {
	switch provider {
	case "azure", "azurite":
		return []string{"connection_string", "endpoint", "prefix"}
	case "s3", "minio":
		return []string{"endpoint", "access_key", "secret_key", "region", "prefix"}
	case "gcs":
		return []string{"access_key", "secret_key", "prefix"}
	case "fs":
		return []string{"prefix"}
	}
	return nil
}

var (
	azureContainerPattern = pattern(`\A[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]\z`)
	bucketPattern         = pattern(`\A[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]\z`)
	regionPattern         = pattern(`\A[a-z0-9][a-z0-9-]{0,62}\z`)
	prefixPattern         = pattern(`\A[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*\z`)
)

func (s *Storage) check(problems, warnings *problemList) {
	allowed := storageFields(s.Provider)
	if allowed == nil {
		return // the provider itself is reported
	}
	for _, given := range []struct{ key, value string }{
		{"connection_string", string(s.ConnectionString)}, {"endpoint", s.Endpoint}, {"access_key", s.AccessKey},
		{"secret_key", string(s.SecretKey)}, {"region", s.Region}, {"prefix", s.Prefix},
	} {
		if given.value != "" && !slices.Contains(allowed, given.key) {
			problems.add("storage."+given.key, "is not used with provider "+s.Provider, s.Provider+" takes container and "+strings.Join(allowed, ", "))
		}
	}
	s.checkContainer(problems)
	if s.Endpoint != "" && !problems.has("storage.endpoint") {
		s.checkEndpoint(problems, warnings)
	}
	if s.Region != "" && !regionPattern().MatchString(s.Region) {
		problems.add("storage.region", "is "+Quote(s.Region), "a region is lower-case letters, digits and '-', as in eu-central-1")
	}
	if s.Prefix != "" && (!prefixPattern().MatchString(s.Prefix) || path.Clean(s.Prefix) != s.Prefix || strings.HasPrefix(s.Prefix, "..")) {
		problems.add("storage.prefix", "is "+Quote(s.Prefix), "a prefix is letters, digits, '.', '_', '-' and '/' between them, as in team/seir")
	}
}

func (s *Storage) checkContainer(problems *problemList) {
	const field = "storage.container"
	if s.Container == "" {
		return
	}
	switch s.Provider {
	case "azure", "azurite":
		if !azureContainerPattern().MatchString(s.Container) || strings.Contains(s.Container, "--") {
			problems.add(field, "is "+Quote(s.Container)+", not a container's name", "3 to 63 lower-case letters, digits and single '-' between them")
		}
	case "fs":
		if problem := directoryProblem(s.Container); problem != "" {
			problems.add(field, "is "+Quote(s.Container)+", "+problem, "give the absolute path of a directory that holds nothing else, as in /var/lib/modelops")
		}
	default:
		if !bucketPattern().MatchString(s.Container) || strings.Contains(s.Container, "..") {
			problems.add(field, "is "+Quote(s.Container)+", not a bucket's name", "3 to 63 lower-case letters, digits, '.', '_' and '-'")
		}
	}
}

// directoryProblem says why name cannot be a storage directory of its own. Paths of
// every system are judged alike, so that a file means the same wherever it is read.
func directoryProblem(name string) string {
	if windowsPath().MatchString(name) {
		rest := strings.ToLower(strings.ReplaceAll(name[2:], `\`, "/"))
		switch first, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(rest), "/"), "/"); {
		case strings.Contains(rest, "/../") || strings.HasSuffix(rest, "/.."):
			return "a path with .."
		case first == "", first == "windows", strings.HasPrefix(first, "program"):
			return "a system directory"
		}
		return ""
	}
	switch {
	case !path.IsAbs(name):
		return "not an absolute path"
	case path.Clean(name) != name:
		return "not a clean path: " + path.Clean(name) + " would be"
	}
	parts := strings.Split(name[1:], "/")
	whole := []string{"", "Applications", "Library", "System", "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr"}
	itself := []string{"Users", "Volumes", "home", "media", "mnt", "opt", "private", "root", "run", "srv", "tmp", "var"}
	switch {
	case slices.Contains(whole, parts[0]), len(parts) == 1 && slices.Contains(itself, parts[0]):
		return "a system directory"
	case len(parts) > 1 && parts[0] == "private" && (parts[1] == "etc" || len(parts) == 2):
		return "a system directory"
	case len(parts) == 2 && parts[0] == "var" && slices.Contains([]string{"cache", "lib", "log", "run", "spool", "tmp"}, parts[1]):
		return "a system directory"
	}
	return ""
}

func (s *Storage) checkEndpoint(problems, warnings *problemList) {
	const field = "storage.endpoint"
	u, problem := parseURL(s.Endpoint, "https", "http")
	switch {
	case problem != "":
		problems.add(field, problem, "write https://host, without user, query or fragment")
	case u.Scheme == "https" || isLoopback(u.Host):
	case s.Provider == "azurite" || s.Provider == "minio":
		warnings.add(field, "is not encrypted", "write https://")
	default:
		problems.add(field, "is not encrypted", "write https://; plain HTTP is for localhost, azurite and minio")
	}
}

// parseURL reads an address that carries nothing but scheme, host and path. The
// problem never repeats the address: it may hold a token.
func parseURL(raw string, schemes ...string) (*url.URL, string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, "is not a URL"
	case !slices.Contains(schemes, u.Scheme) || u.Opaque != "":
		return nil, "does not begin with " + strings.Join(schemes, ":// or ") + "://"
	case u.User != nil:
		return nil, "has a user or a password"
	case u.RawQuery != "" || u.ForceQuery:
		return nil, "has a query, which could be a secret"
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, "has a fragment"
	}
	if problem := checkHost(u.Host); problem != "" {
		return nil, problem
	}
	return u, ""
}

// checkConnection looks at what the credentials make of the file.
func (s *Storage) checkConnection(problems, warnings *problemList) {
	const field = "storage.connection_string"
	if s.ConnectionString != "" && !problems.has(field) {
		account, problem, hint := parseConnectionString(s.ConnectionString.Reveal(), s.Provider == "azurite")
		if problem != "" {
			problems.add(field, problem, hint)
			return
		}
		if s.Endpoint != "" && account != "" && !problems.has("storage.endpoint") && !namesAccount(s.Endpoint, account) {
			warnings.add(field, "names another account than endpoint", "the connection string decides; write the endpoint of the same account")
		}
		return
	}
	if problems.has("storage.endpoint") {
		return
	}
	switch {
	case (s.Provider == "azure" || s.Provider == "azurite") && s.ConnectionString == "" && s.Endpoint == "":
		warnings.add(field, "is missing, and endpoint too", "without one of them AZURE_STORAGE_CONNECTION_STRING must be set wherever the storage is used")
	case s.Provider == "minio" && s.Endpoint == "":
		warnings.add("storage.endpoint", "is missing", "minio has no address of its own; without one the storage cannot be used")
	}
}

// namesAccount says whether an endpoint is the account's: account.blob… in Azure,
// host/account with the emulator.
func namesAccount(endpoint, account string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && (strings.HasPrefix(u.Host, account+".") || strings.Trim(u.Path, "/") == account)
}

// connectionKeys are the settings of an Azure connection string that are understood,
// by their lower-case spelling.
func connectionKeys() []string {
	return []string{"accountkey", "accountname", "blobendpoint", "defaultendpointsprotocol", "endpointsuffix", "fileendpoint",
		"queueendpoint", "sharedaccesssignature", "tableendpoint", "usedevelopmentstorage"}
}

// parseConnectionString checks an Azure connection string and returns its account.
// Neither problem nor hint repeats anything of it but the names of settings.
func parseConnectionString(s string, emulator bool) (account, problem, hint string) {
	settings, problem, hint := connectionSettings(s, emulator)
	if settings["usedevelopmentstorage"] != "" {
		return "devstoreaccount1", "", ""
	}
	return settings["accountname"], problem, hint
}

// connectionSettings are the settings of an Azure connection string, by their lower-case
// names, or what is wrong with it.
func connectionSettings(s string, emulator bool) (settings map[string]string, problem, hint string) {
	const example = "it is KEY=VALUE;… as the Azure portal shows it"
	settings = map[string]string{}
	for part := range strings.SplitSeq(strings.TrimSuffix(s, ";"), ";") {
		key, value, found := strings.Cut(part, "=")
		name := strings.ToLower(key)
		_, twice := settings[name]
		switch {
		case !found || value == "":
			return nil, "has a part that is not KEY=VALUE", example
		case name == "developmentstorageproxyuri":
			return nil, "has DevelopmentStorageProxyUri", "leave it out: it sends the storage's traffic to another host"
		case !slices.Contains(connectionKeys(), name):
			return nil, "has a setting that is not known", example
		case twice:
			return nil, "has " + key + " twice", "keep one of the two"
		}
		settings[name] = value
	}
	switch {
	case settings["usedevelopmentstorage"] != "":
		if !strings.EqualFold(settings["usedevelopmentstorage"], "true") || len(settings) > 1 {
			return nil, "has UseDevelopmentStorage with something else", "write UseDevelopmentStorage=true alone"
		}
		return settings, "", ""
	case settings["accountname"] == "" && settings["blobendpoint"] == "":
		return nil, "has no AccountName", example
	case settings["accountkey"] == "" && settings["sharedaccesssignature"] == "":
		return nil, "has no AccountKey and no SharedAccessSignature", example
	}
	if _, err := base64.StdEncoding.DecodeString(settings["accountkey"]); err != nil {
		return nil, "has an AccountKey that is not base64", "copy the key again, with the = at its end"
	}
	if problem, hint := checkConnectionHosts(settings, emulator); problem != "" {
		return nil, problem, hint
	}
	return settings, "", ""
}

var accountPattern = pattern(`\A[a-z0-9]{1,24}\z`)

// checkConnectionHosts makes sure that the account's key goes to Azure, encrypted, or
// to this machine.
func checkConnectionHosts(settings map[string]string, emulator bool) (problem, hint string) {
	if name := settings["accountname"]; name != "" && !accountPattern().MatchString(name) {
		return "has an AccountName that is none", "3 to 24 lower-case letters and digits"
	}
	local := emulator
	if endpoint := settings["blobendpoint"]; endpoint != "" {
		u, problem := parseURL(endpoint, "https", "http")
		if problem != "" {
			return "has a BlobEndpoint that " + problem, "write https://host"
		}
		if local = local || isLoopback(u.Host); u.Scheme == "http" && !local {
			return "has a BlobEndpoint that is not encrypted", "write https://"
		}
	}
	switch protocol := settings["defaultendpointsprotocol"]; {
	case protocol != "" && protocol != "https" && protocol != "http":
		return "has an unknown DefaultEndpointsProtocol", "write DefaultEndpointsProtocol=https"
	case protocol == "http" && !local:
		return "asks for connections that are not encrypted", "write DefaultEndpointsProtocol=https"
	}
	if suffix := settings["endpointsuffix"]; suffix != "" && !hostPattern().MatchString(suffix) {
		return "has an EndpointSuffix that is no host", "write EndpointSuffix=core.windows.net"
	}
	return "", ""
}
