// Package bundleoci moves bundles to and from OCI registries: it pushes what package
// bundle builds, resolves tags, and fetches manifests and blobs, each held against its
// digest before anything is made of it.
//
// A bundle is an OCI image manifest with the artifact type [ArtifactType]. Its config
// is the index, its layers are the blobs of the index in their order, each once. A blob
// that is no layer lies in the environment's storage, under a key that its digest makes; see
// [StorageKey]. What comes from a registry is trusted in nothing; what goes there, credentials above all,
// goes to the environment's registry and nowhere else.
package bundleoci

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// The media types of the packed format, version 2. With "+zstd" the blob is
// compressed.
const (
	ArtifactType = "application/vnd.modelops.bundle.v2"
	indexType    = "application/vnd.modelops.bundle.index.v2+json+zstd"
	packType     = "application/vnd.modelops.bundle.pack.v2"
	chunkType    = "application/vnd.modelops.bundle.chunk.v2"
	zstdSuffix   = "+zstd"

	// pythonIndexType is the config of the Python suite's bundles.
	pythonIndexType = "application/vnd.modelops.bundle.index.v1+json"
)

// Options adjust a [Repository]. The zero value works.
type Options struct {
	// Identity is who the process is, for registries of provider acr; nil for nobody.
	Identity Identity
	// CredentialSource says where the environment's user name and password were read, if
	// it was not its file.
	CredentialSource string
	// Reload reads the environment's registry again, whose password may have been
	// replaced; nil when it cannot have been.
	Reload func() (contracts.Registry, error)
	// Storage opens the environment's storage, for the blobs that are no layers; nil when
	// this program reads none.
	Storage func() (blobstore.Store, error)
	// Note is told which credentials are used, as for fmt.Printf; never what they are.
	Note func(format string, args ...any)
	// Patience is how long a request is tried while nothing comes of it; zero for a
	// minute. A registry that says when to come back is waited for 15 times as long, one
	// that is not there an eighth.
	Patience time.Duration
	// UserAgent is sent with every request.
	UserAgent string
}

// Repository is a project's repository in an environment's registry.
type Repository struct {
	// Name is the repository as references name it: without the registry, and without
	// the login server's path.
	Name string
	// Location is where it lies.
	Location contracts.Location

	registry    contracts.Registry
	credentials *credentials
	remote      *remote.Repository
	patience    patience
	storage     *storage
	resolved    atomic.Pointer[resolved] // what was resolved last
}

// Open names a repository of the environment's registry. It sends nothing yet.
func Open(env *contracts.BundleEnvironment, repository string, opts Options) (*Repository, error) {
	location, err := contracts.Join(env.Registry.LoginServer, repository)
	if err != nil {
		return nil, err
	}
	repo, err := remote.NewRepository(location.String())
	if err != nil {
		return nil, (&contracts.Error{
			Code: contracts.CodeInvalidReference, Stage: contracts.StageResolve,
			Message: "repository " + contracts.Quote(location.String()) + " is not valid",
		}).Because(err)
	}
	patience := newPatience(opts.Patience)
	direct, err := newTransport(env.Registry, location.Host, patience)
	if err != nil {
		return nil, err
	}
	repo.PlainHTTP = env.Registry.PlainHTTP()
	repo.MaxMetadataBytes = maxManifest
	transport := &retrier{next: direct, patience: patience}
	found := &credentials{host: location.Host, registry: env.Registry, opts: opts, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c := &client{auth.Client{Client: &http.Client{Transport: transport}, Credential: found.find, Cache: &tokens{}}}
	if opts.UserAgent != "" {
		c.SetUserAgent(opts.UserAgent)
	}
	repo.Client = c
	return &Repository{Name: repository, Location: location, registry: env.Registry, credentials: found, remote: repo, patience: patience, storage: newStorage(env, opts.Storage)}, nil
}

const (
	headerTimeout  = 60 * time.Second
	maxConnections = 16
)

func newTransport(registry contracts.Registry, host string, patience patience) (http.RoundTripper, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // blobs are what their digests say
	transport.TLSHandshakeTimeout = patience.handshake
	transport.ResponseHeaderTimeout = headerTimeout
	transport.MaxIdleConnsPerHost = maxConnections
	if registry.CAFile != "" {
		pem, err := os.ReadFile(registry.CAFile)
		if err != nil {
			return nil, badAuthority(registry.CAFile, "cannot be read").Because(err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, badAuthority(registry.CAFile, "holds no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	scheme := "https"
	if registry.PlainHTTP() {
		scheme = "http"
	}
	return newGuard(host, scheme, transport), nil
}

func badAuthority(file, problem string) *contracts.Error {
	return &contracts.Error{
		Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageEnvironment,
		Message: "registry.ca_file " + contracts.Quote(file) + " " + problem,
		Hint:    "it names a file of PEM certificates",
	}
}
