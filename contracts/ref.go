package contracts

import (
	"net"
	"strconv"
	"strings"
)

// BundleRef names exactly one bundle: a repository, relative to the registry of an
// environment, and the digest of a manifest in it. It is the only form that jobs,
// tasks and workers take.
type BundleRef struct {
	Repository string
	Digest     Digest
}

// String is "repository@sha256:…".
func (r BundleRef) String() string { return r.Repository + "@" + string(r.Digest) }

// MarshalText writes the reference as [BundleRef.String] does.
func (r BundleRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses as [ParseBundleRef] does.
func (r *BundleRef) UnmarshalText(text []byte) error {
	parsed, err := ParseBundleRef(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// Reference is what people may type on a command line. It is resolved to a
// [BundleRef] at once. Exactly one of Tag and Digest is set, or neither: then the
// caller's default tag is meant. Registry and Repository may be empty.
type Reference struct {
	Registry   string // host[:port]; empty when the environment decides
	Repository string // empty inside a project: the project's own
	Tag        string
	Digest     Digest
}

// Location is a repository and the registry it lies in, as the network sees them.
type Location struct {
	Host string // host[:port]
	Path string // the whole path under the host, with the login server's own path in front
}

// String is "host/path".
func (l Location) String() string { return l.Host + "/" + l.Path }

// maxLocation bounds host and repository together, as registries do.
const maxLocation = 255

var (
	repositoryPattern = pattern(`\A[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\z`)
	tagPattern        = pattern(`\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\z`)
	hostPattern       = pattern(`\A[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\z`)
)

// ParseBundleRef reads the canonical form, "repository@sha256:<64 lower-case hex>".
// Every other form is refused with an [Error] of [CodeInvalidReference] that says
// what would be valid.
func ParseBundleRef(s string) (BundleRef, error) {
	ref, err := ParseReference(s)
	switch {
	case err != nil:
		return BundleRef{}, err
	case ref.Registry != "":
		return BundleRef{}, invalidReference(s, "names a registry", "write repository@sha256:…; the environment says which registry it lies in")
	case ref.Repository == "":
		return BundleRef{}, invalidReference(s, "names no repository", "write repository@sha256:…")
	case ref.Digest == "":
		return BundleRef{}, invalidReference(s, "names no digest", "write repository@sha256:…; a tag can move, a digest cannot")
	}
	return BundleRef{Repository: ref.Repository, Digest: ref.Digest}, nil
}

// ParseReference reads every form that the command line takes:
//
//	repository@sha256:…   registry/repository@sha256:…
//	repository:tag        registry/repository:tag
//	repository/name       registry/repository      (more than one component)
//	sha256:…              tag                       (the project's own repository)
//
// Of several components the first is a registry if it contains "." or ":" or is
// "localhost". A single word is a tag. Everything else is refused with an [Error] of
// [CodeInvalidReference].
func ParseReference(s string) (Reference, error) {
	switch {
	case s == "":
		return Reference{}, invalidReference(s, "is empty", "")
	case strings.Contains(s, "://"):
		return Reference{}, invalidReference(s, "has a scheme", "leave out everything up to ://")
	case isDigest(s):
		return Reference{Digest: Digest(s)}, nil
	}
	name, digest, pinned := strings.Cut(s, "@")
	ref := Reference{}
	if pinned {
		if !isDigest(digest) {
			return Reference{}, invalidReference(s, "has no valid digest after @", "a digest is sha256: and 64 lower-case hexadecimal digits")
		}
		ref.Digest = Digest(digest)
	}
	if host, rest, several := strings.Cut(name, "/"); several && namesRegistry(host) {
		if err := checkHost(host); err != "" {
			return Reference{}, invalidReference(s, "names a registry that "+err, "")
		}
		ref.Registry, name = host, rest
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		if pinned {
			return Reference{}, invalidReference(s, "has a tag and a digest", "leave out the tag: the digest alone decides")
		}
		ref.Tag, name = name[i+1:], name[:i]
		if err := ValidateTag(ref.Tag); err != nil {
			return Reference{}, invalidReference(s, "has an invalid tag", "a tag is 1 to 128 letters, digits, '.', '_' or '-', and starts with none of '.' and '-'")
		}
	} else if !pinned && ref.Registry == "" && !strings.Contains(name, "/") {
		if err := ValidateTag(name); err != nil {
			return Reference{}, invalidReference(s, "is neither a tag nor a reference", "")
		}
		return Reference{Tag: name}, nil
	}
	if ref.Tag != "" && ref.Registry == "" && namesAlgorithm(name) {
		return Reference{}, invalidReference(s, "is not a digest", "a digest is sha256: and 64 lower-case hexadecimal digits")
	}
	if !repositoryPattern().MatchString(name) {
		return Reference{}, invalidReference(s, "has an invalid repository", "a repository is lower-case letters and digits, separated by '.', '_', '__', '-' or '/'")
	}
	if len(ref.Registry)+1+len(name) > maxLocation {
		return Reference{}, invalidReference(s, "is too long", "registry and repository together have at most 255 characters")
	}
	ref.Repository = name
	return ref, nil
}

// ValidateRepository checks a project's name, which is its repository. The error is
// an [Error] with [CodeInvalidName] whose hint is the nearest valid name.
func ValidateRepository(name string) error {
	problem := repositoryProblem(name)
	if problem == "" {
		return nil
	}
	e := &Error{Code: CodeInvalidName, Stage: StageProject, Message: "project name " + Quote(name) + " " + problem}
	if nearest := NearestRepository(name); nearest != "" {
		e.Hint = "use " + nearest
	}
	return e
}

func repositoryProblem(name string) string {
	switch first, _, several := strings.Cut(name, "/"); {
	case name == "":
		return "is empty"
	case !repositoryPattern().MatchString(name):
		return "is not a valid repository name (lower-case letters and digits, separated by '.', '_', '__', '-' or '/')"
	case len(name) > maxRepository:
		return "is longer than " + strconv.Itoa(maxRepository) + " characters"
	case several && namesRegistry(first):
		return "would be read as the registry " + strconv.Quote(first) + " and a repository"
	case namesAlgorithm(name):
		return "would be read as the algorithm of a digest"
	}
	return ""
}

// maxRepository leaves room in [maxLocation] for a registry's host.
const maxRepository = 200

// ValidateTag checks a tag as the OCI distribution specification does. The error is
// an [Error] with [CodeInvalidReference].
func ValidateTag(tag string) error {
	if !tagPattern().MatchString(tag) {
		return invalidReference(tag, "is not a valid tag", "a tag is 1 to 128 letters, digits, '.', '_' or '-', and starts with none of '.' and '-'")
	}
	return nil
}

// NearestRepository is a valid repository name that is as like name as can be, or
// "" when nothing of name can be kept.
func NearestRepository(name string) string {
	if repositoryProblem(name) == "" {
		return name
	}
	var parts []string
	components := strings.Split(strings.ToLower(name), "/")
	for i, part := range components {
		var b strings.Builder
		for _, r := range part {
			switch {
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
				b.WriteRune(r)
			case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
				if r == '.' && (i > 0 || len(components) == 1) || r == '_' { // a first component with a point is a registry
					b.WriteRune(r)
				} else {
					b.WriteByte('-')
				}
			}
		}
		part = strings.TrimRight(b.String(), "-._")
		for !repositoryPattern().MatchString(part) && strings.ContainsAny(part, "._-") {
			part = mixedSeparators().ReplaceAllString(part, "-")
		}
		if part != "" {
			parts = append(parts, part)
		}
	}
	nearest := strings.Join(parts, "/")
	if len(nearest) > maxRepository {
		nearest = strings.TrimRight(nearest[:maxRepository], "-._/")
	}
	if first, _, several := strings.Cut(nearest, "/"); several && namesRegistry(first) {
		nearest = strings.ReplaceAll(first, ".", "-") + "-" + nearest[len(first)+1:]
	}
	if repositoryProblem(nearest) != "" {
		return ""
	}
	return nearest
}

var mixedSeparators = pattern(`[._-]{2,}`)

// ParseLoginServer splits an environment's login server, "host[:port]" or
// "host[:port]/path", and checks both. The error says what is wrong with it, and
// names neither file nor field.
func ParseLoginServer(loginServer string) (host, path string, err error) {
	if strings.Contains(loginServer, "://") {
		return "", "", invalidReference(loginServer, "has a scheme", "leave out everything up to ://")
	}
	host, path, nested := strings.Cut(loginServer, "/")
	if problem := checkHost(host); problem != "" {
		return "", "", invalidReference(loginServer, problem, "a login server is host, host:port or host/path")
	}
	if nested && !repositoryPattern().MatchString(path) {
		return "", "", invalidReference(loginServer, "has an invalid path", "a login server is host, host:port or host/path")
	}
	return host, path, nil
}

// Join is where a repository lies: loginServer "ghcr.io/org" and repository
// "my-model" give ghcr.io and org/my-model. It is the only place where the two meet.
func Join(loginServer, repository string) (Location, error) {
	host, path, err := ParseLoginServer(loginServer)
	if err != nil {
		return Location{}, err
	}
	if !repositoryPattern().MatchString(repository) {
		return Location{}, invalidReference(repository, "is not a valid repository", "")
	}
	if path != "" {
		repository = path + "/" + repository
	}
	if len(host)+1+len(repository) > maxLocation {
		return Location{}, invalidReference(host+"/"+repository, "is too long", "registry and repository together have at most 255 characters")
	}
	return Location{Host: host, Path: repository}, nil
}

// Within is the reference as the environment with this login server sees it: without
// registry, and with the login server's path taken off the repository. It is false
// when the reference lies in another registry, or elsewhere in this one.
func (r Reference) Within(loginServer string) (Reference, bool) {
	if r.Registry == "" {
		return r, true
	}
	host, path, err := ParseLoginServer(loginServer)
	if err != nil || host != r.Registry {
		return Reference{}, false
	}
	if path != "" {
		rest, inside := strings.CutPrefix(r.Repository, path+"/")
		if !inside {
			return Reference{}, false
		}
		r.Repository = rest
	}
	r.Registry = ""
	return r, true
}

// namesRegistry decides, of the first of several components, whether it is a registry.
func namesRegistry(component string) bool {
	return component == "localhost" || strings.ContainsAny(component, ".:")
}

// namesAlgorithm decides, of what stands before a colon, whether a digest was meant.
func namesAlgorithm(name string) bool { return algorithmPattern().MatchString(name) }

var algorithmPattern = pattern(`\A(sha|md|blake)[0-9][0-9a-z-]*\z`)

// checkHost says what is wrong with host[:port], or nothing.
func checkHost(hostport string) string {
	host, port := hostport, ""
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !strings.HasSuffix(hostport, "]") {
		host, port = hostport[:i], hostport[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return "has an invalid port"
		}
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		if ip := net.ParseIP(host[1 : len(host)-1]); ip == nil || ip.To4() != nil {
			return "has an invalid IPv6 address"
		}
		return ""
	}
	if len(host) > 253 || !hostPattern().MatchString(host) {
		return "has an invalid host name"
	}
	return ""
}

func invalidReference(s, problem, hint string) *Error {
	if hint == "" {
		hint = "write repository@sha256:… or repository:tag"
	}
	return &Error{Code: CodeInvalidReference, Stage: StageResolve, Message: "reference " + Quote(s) + " " + problem, Hint: hint}
}
