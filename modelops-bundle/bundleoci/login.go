package bundleoci

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	dockerconfig "oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Stored says where the credentials for a registry lie.
type Stored struct {
	Host  string // of the registry
	Place string // for people: a credential helper, or a file
	// Checked is that the registry asked for the credentials and took them. One that
	// shows itself to everybody asks nobody.
	Checked bool
}

// Login shows the registry its user name and password, and stores them where Docker and
// every other client look, once the registry has taken them: with the credential helper
// that the Docker configuration names, else in that configuration.
func Login(ctx context.Context, registry contracts.Registry, opts Options) (*Stored, error) {
	switch {
	case registry.Username == "" || registry.Password == "":
		return nil, badLogin("a user name and a password are needed")
	case strings.Contains(registry.Username, ":"):
		return nil, badLogin("a user name has no colon")
	}
	opts.CredentialSource, opts.Reload = "this login", nil
	// The name of the repository is in no request.
	r, err := Open(&contracts.BundleEnvironment{Registry: registry}, "login", opts)
	if err != nil {
		return nil, err
	}
	if err := r.ping(ctx); err != nil {
		e := contracts.AsError(err)
		if e.Code == contracts.CodeUnauthenticated {
			e.Hint = "check user name and password; many registries take an access token as the password, and not the password of the account"
		}
		return nil, e
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	store, place, err := dockerStore(canonical(r.Location.Host))
	if err != nil {
		return nil, err
	}
	credential := auth.Credential{Username: registry.Username, Password: registry.Password.Reveal()}
	if err := store.Put(ctx, address(r.Location.Host), credential); err != nil { // its text may quote the secret
		return nil, unstored(place, "cannot store the credentials")
	}
	if _, place, err = dockerStore(canonical(r.Location.Host)); err != nil { // the first login may have chosen a helper
		return nil, err
	}
	return &Stored{Host: r.Location.Host, Place: place, Checked: r.credentials.state().source != ""}, nil
}

// Logout removes what is stored for a registry's host, and says whether there was
// something.
func Logout(ctx context.Context, host string) (stored *Stored, removed bool, err error) {
	before, _, err := dockerCredential(ctx, canonical(host))
	if err != nil {
		return nil, false, err
	}
	store, place, err := dockerStore(canonical(host))
	if err != nil {
		return nil, false, err
	}
	stored = &Stored{Host: host, Place: place}
	plain, err := dockerconfig.NewFileStore(store.ConfigPath())
	if err != nil {
		return nil, false, badDocker("cannot be read")
	}
	older, err := plain.Get(ctx, address(host)) // of the time before there was a helper
	if err != nil {
		older = auth.Credential{Username: "?"} // it is removed nevertheless
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	if before != auth.EmptyCredential {
		if err := store.Delete(ctx, address(host)); err != nil {
			return nil, false, unstored(place, "cannot remove the credentials")
		}
	}
	if older != auth.EmptyCredential {
		if err := plain.Delete(ctx, address(host)); err != nil {
			return nil, false, unstored(store.ConfigPath(), "cannot be changed")
		}
	}
	return stored, before != auth.EmptyCredential || older != auth.EmptyCredential, nil
}

// dockerStore is the store of the Docker configuration, and where it keeps what belongs
// to the host.
func dockerStore(host string) (*dockerconfig.DynamicStore, string, error) {
	store, err := dockerconfig.NewStoreFromDocker(dockerconfig.StoreOptions{AllowPlaintextPut: true, DetectDefaultNativeStore: true})
	if err != nil {
		return nil, "", badDocker("cannot be read")
	}
	helper, err := helperFor(store.ConfigPath(), dockerconfig.ServerAddressFromHostname(host))
	if err != nil {
		return nil, "", err
	}
	if helper != "" {
		return store, "credential helper docker-credential-" + helper, nil
	}
	return store, store.ConfigPath(), nil
}

// address is what Docker's configuration calls a host.
func address(host string) string { return dockerconfig.ServerAddressFromRegistry(host) }

// ping asks the registry for nothing but whether it would answer.
func (r *Repository) ping(ctx context.Context) error {
	registry := remote.Registry{RepositoryOptions: remote.RepositoryOptions{
		Client: r.remote.Client, Reference: r.remote.Reference, PlainHTTP: r.remote.PlainHTTP,
	}}
	err := registry.Ping(ctx)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e := contracts.AsError(r.translate(err, contracts.StageResolve, r.Location.Host))
	if e.Code == contracts.CodeBundleNotFound {
		e.Code, e.Message = contracts.CodeUnavailable, "there is no registry at "+contracts.Quote(r.Location.Host)+": "+http.StatusText(http.StatusNotFound)
		e.Hint = "check the name of the registry"
	}
	return e
}

func badLogin(problem string) error {
	return &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageCommand, Message: problem}
}

func unstored(place, problem string) error {
	return &contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StageEnvironment, Message: place + " " + problem,
		Hint: "check credsStore and credHelpers in the Docker configuration, and that it can be written",
	}
}
