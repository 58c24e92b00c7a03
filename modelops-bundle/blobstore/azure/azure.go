// Package azure keeps objects as block blobs in a container of an Azure storage account,
// or of its emulator Azurite.
//
// # Access
//
// The environment file's connection string holds the account's key or a shared access
// signature. Without one, provider azure uses the identity of the process, and azurite the
// emulator's public key. Where neither connection string nor endpoint are given, the
// variable AZURE_STORAGE_CONNECTION_STRING is read. Nothing is sent to another host than
// the account's: redirects are not followed.
//
// # Create
//
// A blob is created by a write that fails when it is there (If-None-Match: *). A write
// whose answer got lost is sent again and then meets its own blob: so each call of Create
// and Put writes a token of its own into the blob's metadata, and a Create that meets its
// own token has succeeded. When Create returns an error other than ErrExists, the object
// may be there all the same.
//
// # Faults
//
// Throttling and failures of the service are waited out with growing, random pauses, or as
// long as the service asks for; a read that breaks off goes on where it stopped, in the
// same version of the blob. A connection on which nothing moves is given up.
//
// The container is not made by a write: see [Store.Make].
package azure

import (
	"context"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

// Options are what a program gives to its stores. The zero value serves connection strings.
type Options struct {
	// Getenv reads the variables of the process; nil for none.
	Getenv func(string) string
	// Credential is the identity of the process to the host of an account; nil when the
	// program links none.
	Credential func(host string) (azcore.TokenCredential, error)
	// Limits of waiting; zero values are the usual ones.
	Limits Limits
}

// Limits bound how long an operation waits for a service in trouble.
type Limits = remote.Limits

// Openers open the storage of the providers azure and azurite.
func Openers(opts Options) blobstore.Openers {
	open := func(storage *contracts.Storage) (blobstore.Store, error) {
		store, err := Open(storage, opts)
		if err != nil {
			return nil, err
		}
		return store, nil
	}
	return blobstore.Openers{"azure": open, "azurite": open}
}

// Store is the objects of a container below a prefix.
type Store struct {
	client  *container.Client
	account string // host of the account, for messages
	name    string // of the container
	prefix  string // "" or with a "/" at its end
	access  access
	limits  Limits
}

// Open opens a storage. Nothing is sent yet. Errors are of
// [contracts.CodeInvalidEnvironment], or of [contracts.CodeUnauthenticated] without any
// credential.
func Open(storage *contracts.Storage, opts Options) (*Store, error) {
	account, how, err := findAccount(storage, opts)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(account.Endpoint)
	if err != nil || u.Host == "" {
		return nil, invalid("the endpoint of the storage is not a URL", "write https://ACCOUNT.blob.core.windows.net")
	}
	s := &Store{account: u.Host, name: storage.Container, access: how, limits: opts.Limits.WithDefaults()}
	if storage.Prefix != "" {
		s.prefix = storage.Prefix + "/"
	}
	client := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry:            policy.RetryOptions{MaxRetries: -1}, // ours, which goes by time, is in its place
		Transport:        newClient(s.limits.Stall),
		PerCallPolicies:  []policy.Policy{&retry{limits: s.limits}},
		PerRetryPolicies: []policy.Policy{&answers{host: u.Host}},
		Telemetry:        policy.TelemetryOptions{ApplicationID: "modelops"},
	}}
	address := account.Endpoint + "/" + storage.Container
	switch how {
	case byKey:
		key, keyErr := container.NewSharedKeyCredential(account.Name, account.Key.Reveal())
		if keyErr != nil {
			return nil, invalid("the account's key in the storage's connection string is not base64", "copy the key again, with the = at its end")
		}
		s.client, err = container.NewClientWithSharedKeyCredential(address, key, client)
	case bySignature:
		s.client, err = container.NewClientWithNoCredential(address+"?"+account.SAS.Reveal(), client)
	case byIdentity:
		var credential azcore.TokenCredential
		if credential, err = opts.Credential(u.Hostname()); err == nil {
			s.client, err = container.NewClient(address, &identity{credential}, client)
		} else {
			return nil, (&contracts.Error{Code: contracts.CodeUnauthenticated, Stage: contracts.StageStore,
				Message: "storage: there is no identity to use: " + contracts.Quote(err.Error()), Hint: loginHint}).Because(err)
		}
	}
	if err != nil {
		return nil, invalid("the storage cannot be addressed", "check storage.container and the connection string")
	}
	return s, nil
}

func invalid(problem, hint string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageEnvironment, Message: problem, Hint: hint}
}

// access is how the storage is opened.
type access int

const (
	byKey access = iota
	bySignature
	byIdentity
)

const connectionVariable = "AZURE_STORAGE_CONNECTION_STRING"

func findAccount(storage *contracts.Storage, opts Options) (*contracts.AzureAccount, access, error) {
	emulator := storage.Provider == "azurite"
	connection := storage.ConnectionString
	if connection == "" && storage.Endpoint == "" && opts.Getenv != nil {
		connection = contracts.Secret(opts.Getenv(connectionVariable))
	}
	switch {
	case connection != "":
		account, err := contracts.ParseAzureAccount(connection, emulator)
		if err != nil {
			return nil, 0, err
		}
		if account.Key == "" {
			return account, bySignature, nil
		}
		return account, byKey, nil
	case emulator:
		account := contracts.EmulatorAccount(storage.Endpoint)
		if u, err := url.Parse(account.Endpoint); err != nil || !isLoopback(u.Hostname()) {
			return nil, 0, invalid("storage.connection_string is missing", "without one, azurite is used on this machine only")
		}
		return account, byKey, nil
	case storage.Endpoint == "":
		return nil, 0, invalid("the storage has neither connection_string nor endpoint", "write one of them, or set "+connectionVariable)
	case opts.Credential == nil:
		return nil, 0, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageEnvironment,
			Message: "the storage is opened by an identity, which this program does not support", Hint: "write storage.connection_string"}
	}
	return &contracts.AzureAccount{Endpoint: strings.TrimRight(storage.Endpoint, "/")}, byIdentity, nil
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

const loginHint = "log in: az login; in a cluster, give the pod a workload identity; AZURE_TOKEN_CREDENTIALS names the credential to use"

// identity tells failures to get a token from those of the storage.
type identity struct{ credential azcore.TokenCredential }

// GetToken asks for a token of the storage.
func (i *identity) GetToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := i.credential.GetToken(ctx, opts)
	if err == nil || ctx.Err() != nil {
		return token, err
	}
	return token, (&contracts.Error{Code: contracts.CodeUnauthenticated, Stage: contracts.StageStore,
		Message: "storage: no token for it: " + contracts.Quote(remote.FirstLine(err.Error())), Hint: loginHint}).Because(err)
}

// Make makes the container if it is not there, without public access.
func (s *Store) Make(ctx context.Context) error {
	_, err := s.client.Create(ctx, nil)
	return contracts.Except(s.translate("make container", s.name, err), contracts.CodeConflict)
}
