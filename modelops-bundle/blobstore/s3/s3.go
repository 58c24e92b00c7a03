// Package s3 keeps objects in a bucket that is spoken to as Amazon's S3: there, in MinIO and
// what is like it, and in Google Cloud Storage with an HMAC key.
//
// # Access
//
// The environment file's access key and secret key open the bucket. Without them, provider
// s3 uses who the process is, as AWS's own programs find it: the variables AWS_*, the files
// in ~/.aws with the profile of AWS_PROFILE (single sign-on included), the identity of a pod
// or a machine. Provider minio reads MINIO_ACCESS_KEY and MINIO_SECRET_KEY, then AWS_*. Keys
// only sign: they are never sent, and redirects are not followed.
//
// # Create
//
// An object is created by a write that fails when it is there (If-None-Match: *; in Google's
// storage x-goog-if-generation-match: 0), in one request whatever its size. A write whose
// answer got lost is sent again and then meets its own object: so each call of Create and
// Put writes a token of its own into the object's metadata, and a Create that meets its own
// token has succeeded. When Create returns an error other than ErrExists, the object may be
// there all the same. A server that does not know the condition lets two creations succeed,
// which mops doctor finds out.
//
// # Faults
//
// Throttling and failures of the service are waited out with growing, random pauses; a read
// that breaks off goes on where it stopped, in the same version of the object. A connection
// on which nothing moves is given up.
//
// The bucket is not made by a write: see [Store.Make].
package s3

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

// Limits bound how long an operation waits for a service in trouble.
type Limits = remote.Limits

// Options are what a program gives to its stores. The zero value serves keys in the file.
type Options struct {
	// Getenv reads the variables of the process. Without it, only the file's keys are used;
	// with it, the client library also looks for who the process is.
	Getenv func(string) string
	// Limits of waiting; zero values are the usual ones.
	Limits Limits
}

// Openers open the storage of the providers s3, minio and gcs.
func Openers(opts Options) blobstore.Openers {
	open := func(storage *contracts.Storage) (blobstore.Store, error) {
		store, err := Open(storage, opts)
		if err != nil {
			return nil, err
		}
		return store, nil
	}
	return blobstore.Openers{"s3": open, "minio": open, "gcs": open}
}

// Store is the objects of a bucket below a prefix.
type Store struct {
	client minio.Core
	host   string // for messages
	bucket string
	region string
	prefix string // "" or with a "/" at its end
	static bool   // the file has the keys
	limits Limits
}

const (
	amazon = "https://s3.amazonaws.com"
	google = "https://storage.googleapis.com"
)

// Open opens a storage. Nothing is sent yet. Errors are of
// [contracts.CodeInvalidEnvironment], or of [contracts.CodeUnauthenticated] without any
// credential.
func Open(storage *contracts.Storage, opts Options) (*Store, error) {
	if storage.Provider == "gcs" {
		return openGoogle(storage, google, opts)
	}
	endpoint := storage.Endpoint
	if endpoint == "" && storage.Provider == "s3" {
		endpoint = amazon
	}
	if endpoint == "" {
		return nil, invalid("storage.endpoint is missing", "write the server's address, as in https://minio.example.com:9000")
	}
	s, settings, err := prepare(storage, endpoint, opts)
	if err != nil {
		return nil, err
	}
	if settings.Creds, err = keys(storage, opts); err != nil {
		return nil, err
	}
	s.region = storage.Region
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if s.region == "" && opts.Getenv != nil && storage.Provider == "s3" {
			s.region = opts.Getenv(name)
		}
	}
	if s.region == "" && endpoint != amazon {
		s.region = "us-east-1" // what servers of one region take; Amazon is asked for the bucket's
	}
	settings.Region = s.region
	return s.connect(settings)
}

// prepare is the store without its client, and the client's settings that all share.
func prepare(storage *contracts.Storage, endpoint string, opts Options) (*Store, *minio.Options, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, nil, invalid("the endpoint of the storage is not a URL", "write https://HOST or https://HOST:PORT")
	}
	if strings.Trim(u.Path, "/") != "" {
		return nil, nil, invalid("the endpoint of the storage has a path", "write https://HOST alone; the bucket is storage.container, and what is below it storage.prefix")
	}
	s := &Store{host: u.Host, bucket: storage.Container, static: storage.AccessKey != "", limits: opts.Limits.WithDefaults()}
	if storage.Prefix != "" {
		s.prefix = storage.Prefix + "/"
	}
	return s, &minio.Options{
		Secure:     u.Scheme == "https",
		Transport:  &answers{host: u.Host, next: remote.NewTransport(s.limits.Stall)},
		MaxRetries: 1, // ours, which go by time, are in their place
	}, nil
}

func (s *Store) connect(settings *minio.Options) (*Store, error) {
	client, err := minio.New(s.host, settings)
	if err != nil {
		return nil, invalid("the storage cannot be addressed", "check storage.endpoint and storage.container")
	}
	client.SetAppInfo("modelops", "1")
	s.client = minio.Core{Client: client}
	return s, nil
}

func invalid(problem, hint string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageEnvironment, Message: problem, Hint: hint}
}

// keys are the file's, or whoever the process is.
func keys(storage *contracts.Storage, opts Options) (*credentials.Credentials, error) {
	if storage.AccessKey != "" {
		return credentials.NewStaticV4(storage.AccessKey, storage.SecretKey.Reveal(), ""), nil
	}
	if opts.Getenv == nil {
		return nil, invalid("storage.access_key is missing", "write storage.access_key and storage.secret_key")
	}
	process := &identity{}
	if storage.Provider == "minio" {
		process.Providers = []credentials.Provider{&credentials.EnvMinio{}, &credentials.EnvAWS{}}
	} else {
		process.Providers = []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}}
	}
	return credentials.New(process), nil
}

// identity is who the process is. Where the library's chain goes on as nobody, it fails.
type identity struct{ credentials.Chain }

// Retrieve looks for keys.
func (i *identity) Retrieve() (credentials.Value, error) { return i.RetrieveWithCredContext(nil) }

// RetrieveWithCredContext looks for keys.
func (i *identity) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	if cc == nil {
		cc = &credentials.CredContext{Client: http.DefaultClient}
	}
	value, err := i.Chain.RetrieveWithCredContext(cc)
	if err == nil && value.SignerType == credentials.SignatureAnonymous {
		err = &contracts.Error{Code: contracts.CodeUnauthenticated, Stage: contracts.StageStore,
			Message: "storage: there are no keys for it", Hint: identityHint}
	}
	return value, err
}

const identityHint = "write storage.access_key and secret_key, or log in: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, aws sso login with AWS_PROFILE, or a role of the pod or machine"

// Make makes the bucket if it is not there.
func (s *Store) Make(ctx context.Context) error {
	return s.attempt(ctx, "make bucket", s.bucket, func(int) error {
		err := s.client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
		if has(err, "BucketAlreadyOwnedByYou") {
			return nil
		}
		return err
	})
}
